"""The benchmark of the DHT measures what it says: figures would be believed although they were wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from tests.benchmarks import dht
from tests.benchmarks.networks import measuring
from tests.benchmarks.networks.driver import VALUE_BYTES, Network, content_of
from tests.benchmarks.networks.measuring import Course, timed
from tests.benchmarks.networks.ours import DurableNetwork, SoftNetwork
from tests.benchmarks.networks.stock import StockNetwork

SEED = 1
NODES = 12


class Ideal(Network):
    """A network of which the right figures are known: all know everything at once, and a lookup finds `finds` nodes."""

    nearest_count = 4

    def __init__(self, *, finds: int = 4) -> None:
        super().__init__(SEED)
        self.dead: set[int] = set()
        self.asked: list[tuple[str, int, int]] = []
        self._finds = finds
        self._stored: set[int] = set()

    async def start(self, count: int) -> None:
        self._ids = [self.random.randbytes(20) for _ in range(count)]

    def node_ids(self) -> list[bytes]:
        return self._ids

    def contacts(self) -> int:
        return len(self._ids)

    async def set(self, node: int, value: int) -> bool:
        self._ask("set", node, value)
        self._stored.add(value)
        return True

    async def get(self, node: int, value: int) -> bool:
        self._ask("get", node, value)
        return value in self._stored

    async def lookup(self, node: int, target: bytes) -> list[bytes]:
        self._ask("lookup", node, int.from_bytes(target, "big"))
        others = [id_ for number, id_ in enumerate(self._ids) if number != node and number not in self.dead]
        goal = int.from_bytes(target, "big")
        return sorted(others, key=lambda id_: int.from_bytes(id_, "big") ^ goal)[: self._finds]

    async def kill(self, nodes: Sequence[int]) -> None:
        assert self.dead.isdisjoint(nodes)
        self.dead.update(nodes)

    def _ask(self, what: str, node: int, value: int) -> None:
        assert node not in self.dead, "the dead do not ask"
        self.asked.append((what, node, value))


@pytest.fixture(autouse=True)
def _settle_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "SETTLE_POLL_S", 0.0)
    monkeypatch.setattr(measuring, "SETTLE_CPU_SHARE", 2.0)


async def _figures(network: Network) -> dict[str, float]:
    course = Course(network, nodes=NODES, values=5, seed=SEED)
    await course.run(lambda step: None)
    return course.figures


async def test_the_course_asks_every_network_the_same() -> None:
    """Who asks, for what, and who dies, does not depend on what a network answers."""
    good, bad = Ideal(), Ideal(finds=1)
    await _figures(good)
    await _figures(bad)
    assert good.asked == bad.asked
    assert good.dead == bad.dead
    assert len(good.dead) == NODES // 2


@pytest.mark.parametrize("finds, share", [(4, 1.0), (2, 0.5), (0, 0.0)])
async def test_the_true_nearest_are_the_living_without_the_asker(finds: int, share: float) -> None:
    figures = await _figures(Ideal(finds=finds))
    assert [figures[f"nearest{when}_share"] for when in ("", "_20", "_50")] == [share] * 3


async def test_every_value_is_set_before_it_is_read_and_read_once_after_each_loss() -> None:
    network = Ideal()
    figures = await _figures(network)
    assert [figures[f"get{when}_share"] for when in ("", "_20", "_50")] == [1.0] * 3
    read = [value for what, _, value in network.asked if what == "get"]
    assert read == [0, 1, 2, 3, 4] * 2 + list(range(5, 15))


async def test_failures_are_counted_and_not_lost_among_many_at_once() -> None:
    """Operations that overlap: each outcome counts once."""

    def operation(number: int) -> Callable[[], Awaitable[bool]]:
        async def run() -> bool:
            await asyncio.sleep(0)
            if number % 4 == 0:
                raise ValueError("a rival failed")
            return number % 4 != 1

        return run

    timings = await timed([operation(number) for number in range(100)], 10)
    assert len(timings.latencies_s) == 100
    assert timings.good == 50


async def test_an_operation_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "OPERATION_BOUND_S", 0.01)

    async def never() -> bool:
        await asyncio.Event().wait()
        return True

    timings = await timed([never] * 3, 2)
    assert (len(timings.latencies_s), timings.good) == (3, 0)


@pytest.mark.parametrize("system", [SoftNetwork, DurableNetwork, StockNetwork])
async def test_a_driver_stores_reads_looks_up_and_kills(system: type[Network]) -> None:
    """Those that are always installed, on real sockets."""
    network = system(SEED)
    await network.start(NODES)
    try:
        await network.prepare(2)
        assert await network.set(3, 1)
        assert await network.get(7, 1)
        ids = network.node_ids()
        assert set(await network.lookup(5, bytes(20))) <= set(ids) - {ids[5]}
        assert network.contacts() >= NODES
        assert network.value_bytes >= VALUE_BYTES
    finally:
        await network.kill(range(NODES))
        await asyncio.sleep(0)  # the transports close in the next turn of the loop
    assert network.contacts() == 0


def test_values_differ_and_repeat() -> None:
    assert content_of(1) != content_of(2)
    assert content_of(1) == content_of(1)
    assert len(content_of(1)) == VALUE_BYTES


# --- what is made of the figures --------------------------------------------------------------------------------------

OURS = {"set_p50_ms": 2.0, "set_per_s": 300.0, "get_p50_ms": 4.0, "contacts": 50.0}
STOCK = {"set_p50_ms": 20.0, "set_per_s": 30.0, "get_p50_ms": 2.0, "contacts": 60.0}
RUN = dht.Run(200, {"ours": OURS, "stock": STOCK})


def test_above_one_is_better_whatever_the_unit() -> None:
    """Ten times quicker and ten times as many a second are both 10; twice as slow is a half; contacts are no merit."""
    assert dht.ratios(RUN) == {("ours", "stock"): {"set_p50_ms": 10.0, "set_per_s": 10.0, "get_p50_ms": 0.5}}


def test_the_table_begins_with_ratios_and_says_what_is_unlike() -> None:
    lines = dht.table([RUN])
    ratios = next(number for number, line in enumerate(lines) if "how many times better" in line)
    figures = next(number for number, line in enumerate(lines) if "figures behind it" in line)
    assert ratios < figures
    assert "ours:stock" in lines[ratios + 1]
    assert "8 against 20" in "\n".join(lines)


def test_the_json_has_all_that_the_table_has() -> None:
    larger = dht.Run(400, {"ours": {**OURS, "set_p50_ms": 2.5}})
    lines = list(dht.json_lines([RUN, larger], SEED))
    assert [line["figures"] for line in lines if "figures" in line] == [OURS, STOCK, larger.by_system["ours"]]
    assert [line["times_better"]["set_per_s"] for line in lines if line.get("against") == "stock"] == [10.0]
    grown = [line for line in lines if "times_as_much" in line]
    assert [(line["from_nodes"], line["to_nodes"], line["times_as_much"]["set_p50_ms"]) for line in grown] == [
        (200, 400, 1.25)
    ]


@pytest.mark.parametrize("suffix, head", [(".svg", b"<?xml"), (".png", b"\x89PNG")])
def test_the_plot_is_one_file(tmp_path: Path, suffix: str, head: bytes) -> None:
    file = tmp_path / f"plot{suffix}"
    dht.plot([RUN, dht.Run(400, {"ours": OURS})], file)
    drawn = file.read_bytes()
    assert drawn.startswith(head)
    assert b"<image" not in drawn
