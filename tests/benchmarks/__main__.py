"""`make bench`: every benchmark once, ratios first. `--json` prints one object a line; names pick some of them."""

import argparse
import json
import sys

from tests.benchmarks import dht, idle, links, passwords, screen, startup, talk
from tests.benchmarks.figures import Figure

BENCHMARKS = {
    "startup": startup.measure,
    "passwords": passwords.measure,
    "links": links.measure,
    "idle": idle.measure,
    "screen": screen.measure,
}
NETWORKED = {"talk": talk, "dht": dht}
"""Those that start processes, have options and print a table of their own."""
NAMES = (*BENCHMARKS, *NETWORKED)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(NAMES)}; default: all")
    parser.add_argument("--json", action="store_true")
    for module in NETWORKED.values():
        module.add_arguments(parser)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    wanted = [name for name in NAMES if name in arguments.names or not arguments.names]
    failed = False
    for name in wanted:
        if not arguments.json:
            module = NETWORKED[name] if name in NETWORKED else sys.modules[BENCHMARKS[name].__module__]
            print(f"\n{name}: {module.__doc__}", flush=True)
        if name in NETWORKED:
            failed = bool(NETWORKED[name].measure(arguments)) or failed
            continue
        for figure in BENCHMARKS[name]():
            print(json.dumps({"benchmark": name, **figure._asdict()}) if arguments.json else _in_words(figure))
    return failed


def _in_words(figure: Figure) -> str:
    ratio = "" if figure.ratio is None else f"{figure.ratio:8.2f} x  "
    return f"  {ratio:12}{figure.what}: {figure.value:.4g} {figure.unit}" + (
        f" against {figure.reference:.4g} {figure.unit} ({figure.against})" if figure.reference is not None else ""
    )


if __name__ == "__main__":
    raise SystemExit(main())
