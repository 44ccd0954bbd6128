"""`dhtchat bootstrap`: runs the service from the `bootstrap` folder, or checks one from outside."""

import asyncio
import sys
from typing import TYPE_CHECKING

from dhtchat import companions
from dhtchat.app.client import bare_node
from dhtchat.chat.events import Notice
from dhtchat.cli.output import Output
from dhtchat.cli.running import run_until_done
from dhtchat.ids import parse_node_address, print_node_key
from dhtchat.runtime import real_runtime

if TYPE_CHECKING:
    from dhtchat.app.settings import Settings


def serve(settings: "Settings", *, advertise: str | None, metrics: str | None, json: bool) -> int:
    """Until SIGINT or SIGTERM, which end it with 0: that is how such a service is stopped."""
    service = companions.load("bootstrap", "service")
    output = Output(json=json)

    async def work() -> int:
        try:
            await service.serve(settings, real_runtime(), advertise=advertise, metrics=metrics, on_ready=output.show)
        except asyncio.CancelledError:
            return 0
        return 0

    return run_until_done(work())


def check(settings: "Settings", address: str, *, json: bool) -> int:
    """Whether a node of this network answers at `address`: exit code 0, else 3."""
    node = parse_node_address(address)
    output = Output(json=json)

    async def work() -> int:
        runtime = real_runtime()
        async with bare_node(settings, runtime) as dht:
            endpoints = await runtime.network.resolve(node.endpoint.host, node.endpoint.port)
            answer = await dht.hello(endpoints[0], pinned=node.node_key)
        output.show(Notice(message=f"{node.endpoint} answers; its key is {print_node_key(answer.node_key)}"))
        return 0

    sys.stdout.flush()
    return run_until_done(work())
