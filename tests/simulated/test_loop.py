"""The virtual-time loop: order, time, deadlock, executors, complaints, and the private parts of asyncio it stands on."""

import asyncio
import gc
import inspect
import time
from asyncio import base_events

import pytest

from simulations.loop import Deadlock, VirtualLoop


def test_time_jumps_to_the_next_timer_and_costs_none() -> None:
    loop = VirtualLoop()
    started_s = time.monotonic()

    async def play() -> float:
        await asyncio.sleep(3_600.0)
        async with asyncio.timeout(10.0):
            await asyncio.sleep(5.0)
        return loop.time()

    assert loop.run(play()) == 3_605.0
    assert time.monotonic() - started_s < 60.0
    assert loop.complaints == []


def test_timers_fire_in_order_of_time_and_then_of_setting() -> None:
    loop = VirtualLoop()
    fired: list[str] = []

    async def play() -> None:
        for name, delay_s in (("late", 2.0), ("first", 1.0), ("second", 1.0), ("third", 1.0)):
            loop.call_later(delay_s, fired.append, name)
        await asyncio.sleep(3.0)

    loop.run(play())
    assert fired == ["first", "second", "third", "late"]


def test_what_is_ready_runs_before_time_moves() -> None:
    loop = VirtualLoop()
    seen_s: list[float] = []

    async def play() -> None:
        loop.call_later(0.001, lambda: None)
        for _ in range(1_000):
            await asyncio.sleep(0)
        seen_s.append(loop.time())

    loop.run(play())
    assert seen_s == [0.0]


def test_cancelled_timers_neither_fire_nor_hold_time_nor_memory() -> None:
    loop = VirtualLoop()

    async def play() -> None:
        for _ in range(50_000):
            loop.call_later(1_000.0, pytest.fail, "it was cancelled").cancel()
        await asyncio.sleep(1.0)
        await asyncio.sleep(1.0)
        assert loop.time() == 2.0
        assert len(loop._timers) < 50_000

    loop.run(play())


def test_a_deadlock_names_those_who_wait() -> None:
    loop = VirtualLoop()

    async def play() -> None:
        helper = loop.create_task(asyncio.Event().wait(), name="waits-for-godot")
        await helper

    with pytest.raises(Deadlock, match="waits-for-godot"):
        loop.run(play())


def test_executors_run_inline_and_hand_on_what_is_raised() -> None:
    loop = VirtualLoop()

    def divide(a: int, b: int) -> float:
        return a / b

    async def play() -> None:
        assert await loop.run_in_executor(None, divide, 6, 3) == 2.0
        assert await asyncio.to_thread(divide, 1, 2) == 0.5
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, divide, 1, 0)

    loop.run(play())
    assert loop.time() == 0.0


def test_tasks_left_running_are_a_complaint_and_are_ended() -> None:
    loop = VirtualLoop()

    async def play() -> None:
        loop.create_task(asyncio.Event().wait(), name="forgotten")
        await asyncio.sleep(0)

    loop.run(play())
    assert loop.complaints == ["left running: forgotten"]


def test_exceptions_that_nobody_retrieved_are_complaints() -> None:
    loop = VirtualLoop()

    async def fail() -> None:
        raise ValueError("nobody looks")

    async def play() -> None:
        loop.create_task(fail())
        await asyncio.sleep(0)
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(1.0)

    loop.run(play())
    gc.collect()
    assert any("nobody looks" in text for text in loop.complaints)
    assert any("ZeroDivisionError" in text for text in loop.complaints)


def test_an_error_of_the_play_comes_out() -> None:
    async def play() -> None:
        raise RuntimeError("as it is")

    with pytest.raises(RuntimeError, match="as it is"):
        VirtualLoop().run(play())


def test_asyncio_still_has_the_private_parts_we_stand_on() -> None:
    """A new Python that changes one of these needs a look at simulations/loop.py and network.py."""
    loop = VirtualLoop()
    assert hasattr(loop, "_ready")
    assert loop._stopping is False
    assert "self._run_once()" in inspect.getsource(base_events.BaseEventLoop.run_forever)
    assert "_stopping" in inspect.getsource(base_events.BaseEventLoop.run_forever)
    assert "_write_to_self" in inspect.getsource(base_events.BaseEventLoop.call_soon_threadsafe)
    assert "_timer_handle_cancelled" in inspect.getsource(asyncio.TimerHandle.cancel)
    assert "_start_tls_compatible" in inspect.getsource(base_events.BaseEventLoop.start_tls)
    for name in ("_run", "_cancelled", "_scheduled"):
        assert hasattr(loop.call_later(1.0, print), name), name
    loop.close()
