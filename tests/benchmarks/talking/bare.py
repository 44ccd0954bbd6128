"""Not a system but a measure of the machine: a process that wakes up once a second and does nothing."""

import asyncio

from tests.benchmarks.talking.ends import be_far


async def far(told: dict[str, str]) -> None:
    async def wake() -> None:
        while True:  # noqa: ASYNC110 - it is this that is measured
            await asyncio.sleep(1.0)

    waking = asyncio.create_task(wake())
    await be_far({})
    waking.cancel()
