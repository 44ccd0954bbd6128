"""What every end-to-end test stands on, and what it must leave behind: no process, no traceback."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from tests.e2e.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World, None]:
    """A network that costs nothing, still without a node."""
    async with World(tmp_path) as world:
        yield world
    world.assert_no_bug_was_met()


@pytest.fixture
async def main_world(tmp_path: Path) -> AsyncGenerator[World, None]:
    """The same with the real costs of `main`."""
    async with World(tmp_path, network=None) as world:
        yield world
    world.assert_no_bug_was_met()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Beside a failure, what each process said last."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for world in item.funcargs.values():
            if isinstance(world, World):
                report.sections += world.last_words()
    return report
