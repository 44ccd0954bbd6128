"""`dhtchat bootstrap`: runs the service from the `bootstrap` folder, or checks one from outside."""

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

import msgspec

from dhtchat import companions
from dhtchat.app.client import bare_node
from dhtchat.chat.events import Notice
from dhtchat.cli.output import Output
from dhtchat.cli.running import run_until_done
from dhtchat.dht.node import DhtNode, HelloAnswer
from dhtchat.errors import NetworkTrouble, NoBootstrapAnswered, ProofRefused
from dhtchat.ids import NodeAddress, parse_node_address, print_node_key
from dhtchat.runtime import Runtime, real_runtime

if TYPE_CHECKING:
    from dhtchat.app.settings import Settings


_REACHABLE = (
    "people on other machines need an address of this one in place of 127.0.0.1: --advertise HOST:PORT shows it"
)


def serve(
    settings: "Settings", *, advertise: str | None, metrics: str | None, json: bool, log_as_json: bool, log_level: int
) -> int:
    """Until SIGINT or SIGTERM, which end it with 0: that is how such a service is stopped."""
    service = companions.load("bootstrap", "service")
    logs = companions.load("bootstrap", "logs")
    logs.set_up(sys.stderr, as_json=log_as_json, level=log_level, environment=os.environ)
    output = Output(json=json)

    async def work() -> int:
        try:
            if settings.host is None and advertise is None and not json:
                output.show(Notice(message=_REACHABLE))
            await service.serve(settings, real_runtime(), advertise=advertise, metrics=metrics, on_ready=output.show)
        except asyncio.CancelledError:
            return 0
        return 0

    return run_until_done(work())


def check(settings: "Settings", address: str, *, json: bool) -> int:
    """Whether a node of this network answers at `address`: exit code 0, else 3."""
    node = parse_node_address(address)
    # From a free port and in the address's family: the node in question may well be the one that listens on `--port`.
    asking = msgspec.structs.replace(settings, bootstrap=(node,), port=None)
    output = Output(json=json)

    async def work() -> int:
        runtime = real_runtime()
        async with bare_node(asking, runtime) as dht:
            try:
                answer = await _hello(dht, runtime, node)
            except ProofRefused as error:
                raise NoBootstrapAnswered([node], why=str(error)) from error
        output.show(Notice(message=f"{node.endpoint} answers; its key is {print_node_key(answer.node_key)}"))
        return 0

    return run_until_done(work())


async def _hello(dht: DhtNode, runtime: Runtime, node: NodeAddress) -> HelloAnswer:
    """Of the numeric addresses behind a host the first where a node answers. Raises `NetworkTrouble` or `ProofRefused`."""
    host, port = node.endpoint
    try:
        endpoints = await runtime.network.resolve(host, port)
    except OSError as error:
        why = f"{host} cannot be resolved: {error.strerror or error}"
        raise NoBootstrapAnswered([node.endpoint], why=why) from error
    for endpoint in endpoints[:-1]:
        with contextlib.suppress(NetworkTrouble):
            return await dht.hello(endpoint, pinned=node.node_key)
    return await dht.hello(endpoints[-1], pinned=node.node_key)
