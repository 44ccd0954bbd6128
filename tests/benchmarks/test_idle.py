"""The benchmark of idle peers runs, and makes figures."""

import math

from tests.benchmarks import idle


async def test_it_runs_for_a_moment() -> None:
    """With all its processes: a peer, who is linked to it, the door, and the bare one."""
    peers, bare = await idle.idle_percent((1,), 0.1, 0.2)
    assert len(peers) == 1
    assert all(map(math.isfinite, [*peers, bare]))
