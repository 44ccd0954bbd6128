"""`make bench`: every benchmark once, ratios first. `--json` prints one object a line; names pick some of them."""

import argparse
import json
import sys

from tests.benchmarks import dht, links, passwords, startup
from tests.benchmarks.figures import Figure

BENCHMARKS = {"startup": startup.measure, "passwords": passwords.measure, "links": links.measure, "dht": dht.measure}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    for name, measure in BENCHMARKS.items():
        if arguments.names and name not in arguments.names:
            continue
        if not arguments.json:
            print(f"\n{name}: {sys.modules[measure.__module__].__doc__}")
        for figure in measure():
            print(json.dumps({"benchmark": name, **figure._asdict()}) if arguments.json else _in_words(figure))
    return 0


def _in_words(figure: Figure) -> str:
    ratio = "" if figure.ratio is None else f"{figure.ratio:8.2f} x  "
    return f"  {ratio:12}{figure.what}: {figure.value:.4g} {figure.unit}" + (
        f" against {figure.reference:.4g} {figure.unit} ({figure.against})" if figure.reference is not None else ""
    )


if __name__ == "__main__":
    raise SystemExit(main())
