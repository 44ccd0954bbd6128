"""What every test of links must leave behind: nothing."""

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest


@pytest.fixture
async def nothing_left(caplog: pytest.LogCaptureFixture) -> AsyncGenerator[None, None]:
    """No task, no call of the loop's exception handler, nothing in asyncio's log, no forgotten transport.

    A forgotten transport or exception shows when it is collected: as a warning, which pytest turns into a failure, or as
    a call of the exception handler.
    """
    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    trouble: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: trouble.append(context))
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        yield
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        gc.collect()
        await asyncio.sleep(0)
    assert not left
    assert not trouble
    assert not [record for record in caplog.records if record.name == "asyncio"]
