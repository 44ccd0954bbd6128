"""`--report FILE.html`: one page with plots that needs no network and no other file. Charts by matplotlib (extra `report`)."""

import html
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from dhtchat.errors import BadUsage

from .measuring import measure_lookups
from .result import Result
from .runner import Judgement
from .world import World

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SWEEP_SIZES = (10, 20, 50, 100, 200)
"""Network sizes for the plots of hops and datagrams: bare DHT nodes, a few seconds in all."""
_SWEEP_LOOKUPS = 40
_FIGURE_INCHES = (6.0, 3.2)
_BUCKETS = 20


class Observations(NamedTuple):
    """What the plots show, taken from the world while it was still there."""

    lookups: list[tuple[float, float, int, bool]]
    """When (virtual s), how long (ms), hops, whether right."""
    line_delays_ms: list[float]
    bytes_per_s: list[float]
    """Per host that sent anything."""


def observe(world: World, judgement: Judgement) -> Observations:
    took_s = max(1.0, world.loop.time())
    return Observations(
        [(sample.at_s, 1000 * sample.took_s, sample.hops, sample.success) for sample in world.recorder.lookups],
        [1000 * delay_s for delay_s in judgement.delivery.delays_s],
        [size / took_s for _, size in sorted(world.fabric.bytes_by_host.items())],
    )


def require_charts() -> None:
    """Say it before minutes of simulation, not after. Raises `BadUsage`."""
    try:
        import matplotlib  # noqa: F401 - only whether it is there
    except ImportError:
        raise BadUsage(
            "a report needs matplotlib", hint="Install it with: pip install 'dhtchat[report]', or leave --report out."
        ) from None


def write_report(path: Path, result: Result, seen: Observations, question: str) -> None:
    """Raises `BadUsage` when the file cannot be written."""
    sizes = cost_by_size(result.seed, _SWEEP_SIZES)
    plots = [
        ("Lookups: how long", _chart(lambda axes: _distribution(axes, [ms for _, ms, _, _ in seen.lookups]), "ms")),
        ("Lookups: share that was right, over time", _chart(lambda axes: _success(axes, seen), "virtual s")),
        ("Lines: how long until on a screen", _chart(lambda axes: _distribution(axes, seen.line_delays_ms), "ms")),
        ("Rooms: how a line spreads", _chart(lambda axes: _spread(axes, seen.line_delays_ms), "ms after it was typed")),
        ("Traffic per node", _chart(lambda axes: _histogram(axes, seen.bytes_per_s), "bytes/s sent")),
        ("Network size against hops", _chart(lambda axes: _sweep(axes, sizes, "hops"), "nodes")),
        ("Network size against datagrams", _chart(lambda axes: _sweep(axes, sizes, "datagrams"), "nodes")),
    ]
    try:
        path.write_text(_page(result, question, plots), encoding="utf-8")
    except OSError as error:
        raise BadUsage(f"cannot write {path}: {error.strerror or error}", hint="Name another file.") from error


class Cost(NamedTuple):
    """Of lookups in a network of `nodes`, each the mean."""

    nodes: int
    hops: float
    datagrams: float


def cost_by_size(seed: int, sizes: Sequence[int]) -> list[Cost]:
    """Lookups in networks of bare nodes: both should grow with the logarithm of the size (Kademlia paper, §3)."""
    found: list[Cost] = []
    for size in sizes:
        world = World(seed)

        async def play(world: World = world, size: int = size) -> None:
            await world.start_bootstrap()
            for number in range(size - 1):
                await world.start_bare_node(f"node-{number}")
            await measure_lookups(world, _SWEEP_LOOKUPS)

        world.run(play())
        samples = world.recorder.lookups
        hops = sum(sample.hops for sample in samples) / len(samples)
        found.append(Cost(size, hops, 2 * sum(sample.asked for sample in samples) / len(samples)))
    return found


# --- charts -----------------------------------------------------------------------------------------------------------


def _chart(draw: "Callable[[Axes], bool]", label: str) -> str:
    """One chart as an SVG element."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "dhtchat"  # the same run, the same page
    figure, axes = pyplot.subplots(figsize=_FIGURE_INCHES)
    try:
        if not draw(axes):
            axes.text(0.5, 0.5, "nothing of this kind happened", ha="center", va="center", transform=axes.transAxes)
            axes.set_axis_off()
        else:
            axes.set_xlabel(label)
            axes.grid(alpha=0.3)
        figure.tight_layout()
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    finally:
        pyplot.close(figure)
    text = drawn.getvalue()
    return text[text.index("<svg") :]


def _distribution(axes: "Axes", values: list[float]) -> bool:
    """The share that took at most so long."""
    if values:
        ordered = sorted(values)
        axes.plot(ordered, [(n + 1) / len(ordered) for n in range(len(ordered))])
        axes.set_xscale("symlog")
        axes.set_ylabel("share at most")
        axes.set_ylim(0, 1.02)
    return bool(values)


def _spread(axes: "Axes", delays_ms: list[float]) -> bool:
    """The share of all screens that a line has reached."""
    if delays_ms:
        axes.hist(delays_ms, bins=_BUCKETS, cumulative=True, density=True, histtype="step")
        axes.set_ylabel("share of screens")
    return bool(delays_ms)


def _success(axes: "Axes", seen: Observations) -> bool:
    if seen.lookups:
        first, last = seen.lookups[0][0], seen.lookups[-1][0]
        width_s = max(1e-9, (last - first) / _BUCKETS)
        buckets: dict[int, list[bool]] = {}
        for at_s, _, _, right in seen.lookups:
            buckets.setdefault(int((at_s - first) / width_s), []).append(right)
        axes.plot(
            [first + width_s * number for number in sorted(buckets)],
            [sum(buckets[number]) / len(buckets[number]) for number in sorted(buckets)],
            marker=".",
        )
        axes.set_ylim(0, 1.05)
        axes.set_ylabel("share right")
    return bool(seen.lookups)


def _histogram(axes: "Axes", values: list[float]) -> bool:
    if values:
        axes.hist(values, bins=_BUCKETS)
        axes.set_ylabel("nodes")
    return bool(values)


def _sweep(axes: "Axes", points: Sequence[Cost], what: Literal["hops", "datagrams"]) -> bool:
    axes.plot([cost.nodes for cost in points], [getattr(cost, what) for cost in points], marker="o")
    axes.set_xscale("log")
    axes.set_ylabel(f"{what} a lookup, mean")
    return True


# --- the page ---------------------------------------------------------------------------------------------------------

_STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; background: #fff; }
table { border-collapse: collapse; } td, th { padding: .2em 1em .2em 0; text-align: left; vertical-align: top; }
.bad { color: #a00; } figure { margin: 1.5em 0; } svg { max-width: 100%; height: auto; } code { background: #eee; }
"""


def _page(result: Result, question: str, plots: list[tuple[str, str]]) -> str:
    lookups, messages = result.lookups, result.messages
    rows = {
        "nodes, seed": f"{result.nodes}, {result.seed}",
        "time": f"{result.virtual_s:g} virtual s in {result.wall_s:g} s",
        "memory": f"{result.rss_mib:g} MiB",
        "datagrams": str(result.datagrams),
        "lookups": f"{lookups.count}, {lookups.success:.1%} right, {lookups.hops_mean:g} hops, "
        f"p50 {lookups.p50_ms:g} ms, p95 {lookups.p95_ms:g} ms, p99 {lookups.p99_ms:g} ms",
        "lines": f"{messages.sent} typed, {messages.delivered} of {messages.expected} shown, {messages.lost} lost, "
        f"{messages.duplicates} twice, p50 {messages.p50_ms:g} ms, p99 {messages.p99_ms:g} ms",
        **{name.replace("_", " "): f"{value:g}" for name, value in result.figures.items()},
        "invariants": ", ".join(result.invariants),
        "trace": result.trace,
    }
    table = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in rows.items())
    wrong = "".join(f"<li class=bad>{html.escape(violation)}</li>" for violation in result.violations)
    verdict = f"<ul>{wrong}</ul>" if wrong else "<p>All invariants hold.</p>"
    charts = "".join(f"<figure><figcaption>{html.escape(title)}</figcaption>{svg}</figure>" for title, svg in plots)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>dhtchat: {html.escape(result.scenario)}</title>"
        f"<style>{_STYLE}</style><h1>{html.escape(result.scenario)}</h1><p>{html.escape(question)}</p>{verdict}"
        f"<table>{table}</table><p>Again: <code>{html.escape(result.repeat)}</code></p>{charts}</html>\n"
    )
