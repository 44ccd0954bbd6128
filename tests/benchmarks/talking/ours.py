"""Ours: two whole peers and the node they know each other through, each in a process of its own; from what a face calls to
say a line to the event that it is delivered. The pace of our own client is lifted, through the argument of `ChatNode`."""

import asyncio
import random
from pathlib import Path

from dhtchat.app.node import ChatNode
from dhtchat.app.settings import Settings
from dhtchat.chat.events import Event, MessageArrived, StatusChanged
from dhtchat.chat.intents import OpenQuery, SayTo
from dhtchat.chat.pacing import Pacer
from dhtchat.crypto.datagram import NodeKey
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.ids import Endpoint, Login, parse_node_address
from dhtchat.parameters import SIM
from dhtchat.runtime import real_runtime
from tests.benchmarks.talking.ends import DISK_FIRST_LINES, START_BOUND_S, FarEnd, Talk, be_far, number_of, text_of

_LOOPBACK = "127.0.0.1"
_PASSWORD = "mokita-luberi-sapodu-venika"
_LINK_POLL_S = 0.05


class OurTalk(Talk):
    first_lines = DISK_FIRST_LINES
    _door: FarEnd | None = None

    async def start(self) -> None:
        self._door = await FarEnd.start("ours", role="door")
        address = self._door.hello["address"]
        self.far = await FarEnd.start("ours", role="peer", door=address, folder=str(self.folder / "far"))
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._numbers: dict[str, int] = {}
        """Ids of own lines that are under way."""
        self._node = peer_at(self.folder / "near", address)
        await self._node.__aenter__()
        self._reader = asyncio.create_task(self._read())
        await come_online(self._node, "near")
        await self._node.perform(OpenQuery("far"))
        async with asyncio.timeout(START_BOUND_S):
            await self.say(99_999_999)  # makes the link
            while not self._node.inspection.sizes().links:  # noqa: ASYNC110 - only at the start
                await asyncio.sleep(_LINK_POLL_S)

    async def say(self, number: int) -> bool:
        done = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._node.perform(SayTo(text_of(number)))
        return await done

    async def stop(self) -> None:
        if self._door is not None:
            await self._door.stop()

    async def _read(self) -> None:
        async for event in self._node.events():
            self._on_event(event)

    def _on_event(self, event: Event) -> None:
        match event:
            case MessageArrived(id=line, text=text):
                self._numbers[line] = number_of(text)
            case StatusChanged(id=line, state="delivered"):
                done = self._waiting.pop(self._numbers.pop(line, -1), None)
                if done is not None and not done.done():
                    done.set_result(True)
            case _:
                pass


def peer_at(folder: Path, door: str) -> ChatNode:
    settings = Settings(data_dir=folder, parameters=SIM, bootstrap=(parse_node_address(door),), host=_LOOPBACK)
    return ChatNode(settings, real_runtime(), pacer=Pacer(10**9, 1e9))


async def come_online(node: ChatNode, name: str) -> None:
    await node.connect(name)
    await node.register(name, _PASSWORD)
    await node.log_in(Login(name, None), _PASSWORD)
    await node.go_online()


async def far(told: dict[str, str]) -> None:
    if told["role"] == "door":
        await _be_door()
        return
    async with peer_at(Path(told["folder"]), told["door"]) as node:
        reader = asyncio.create_task(read_all(node))
        await come_online(node, "far")
        await be_far({})
        reader.cancel()


async def read_all(node: ChatNode) -> None:
    async for _ in node.events():
        pass


async def _be_door() -> None:
    runtime = real_runtime()
    storage = RecordStorage(path=None, parameters=SIM, clock=runtime.clock)
    key = NodeKey.generate(random.SystemRandom())
    async with DhtNode(runtime=runtime, parameters=SIM, node_key=key, storage=storage) as door:
        address = await door.listen(Endpoint(_LOOPBACK, 0))
        await be_far({"address": str(address)})
