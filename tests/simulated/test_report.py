"""`dhtchat simulate --report`: one page, readable without a network."""

import re
from pathlib import Path

import pytest

from dhtchat.errors import BadUsage
from simulations import report
from simulations.command import simulate

OUTSIDE = re.compile(r"""(?:src|href)\s*=\s*["'](?!#)|@import|url\((?!["']?#)""")
"""What would make a browser fetch something."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "page.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "_SWEEP_SIZES", (4, 8))  # the sweep is the slow part, and small ones show as much
        code = simulate(
            "steady-chat",
            list_them=False,
            nodes=4,
            seed=3,
            runs=1,
            report=path,
            sockets=False,
            json=True,
            quiet=True,
        )
    assert code == 0
    return path.read_text("utf-8")


def test_the_page_has_every_plot(page: str) -> None:
    """Latency distributions, success over time, traffic per node, network size against hops, room spread."""
    assert page.count("<svg") == page.count("</svg>") == 7
    for title in (
        "how long",
        "over time",
        "Traffic per node",
        "Network size against hops",
        "size against datagrams",
        "how a line spreads",
    ):
        assert title in page


def test_the_page_needs_nothing_else(page: str) -> None:
    """Readable without a network: no script, no image, no style sheet, no font from anywhere."""
    assert "<script" not in page
    assert not OUTSIDE.search(re.sub(r'xlink:href="#', 'xlink:href-here="#', page))


def test_the_page_says_how_to_repeat_the_run(page: str) -> None:
    """The command, the verdict and the trace are on it."""
    assert "dhtchat simulate steady-chat --nodes 4 --seed 3" in page
    assert "All invariants hold." in page
    assert re.search(r"[0-9a-f]{32}", page)


def test_a_report_of_real_sockets_is_refused(tmp_path: Path) -> None:
    """`--report` is about virtual time."""
    with pytest.raises(BadUsage):
        simulate(
            "steady-chat",
            list_them=False,
            nodes=4,
            seed=1,
            runs=1,
            report=tmp_path / "page.html",
            sockets=True,
            json=True,
            quiet=True,
        )
