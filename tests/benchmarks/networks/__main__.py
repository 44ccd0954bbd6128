"""One system in this process, its figures as one JSON object on stdout. `make bench` starts it; so does a profiler."""

import argparse
import asyncio
import importlib
import json
import logging
import os
import resource
import sys

from tests.benchmarks.networks.driver import NotInstalled
from tests.benchmarks.networks.measuring import IN_FLIGHT, Course

SYSTEMS = {
    "stock": ("stock", "StockNetwork", False),
    "opendht": ("open_dht", "OpenDhtNetwork", False),
    "ours": ("ours", "SoftNetwork", False),
    "durable": ("ours", "DurableNetwork", False),
    "uvloop": ("ours", "SoftNetwork", True),
}
"""Module, class, and whether it runs on uvloop."""
NOT_INSTALLED = 2
"""Exit code."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.networks", description=__doc__)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--values", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--profile", choices=("set", "get", "lookup"), help=f"cProfile of these, {IN_FLIGHT} in flight")
    arguments = parser.parse_args()
    _allow_many_sockets()
    module, name, on_uvloop = SYSTEMS[arguments.system]
    try:
        loop_factory = importlib.import_module("uvloop").new_event_loop if on_uvloop else None
        network = getattr(importlib.import_module(f"tests.benchmarks.networks.{module}"), name)(arguments.seed)
    except NotInstalled as missing:
        print(missing, file=sys.stderr)
        return NOT_INSTALLED
    except ModuleNotFoundError as missing:
        print(f"{arguments.system} is left out ({missing})", file=sys.stderr)
        return NOT_INSTALLED
    if arguments.system == "stock":
        logging.disable(logging.CRITICAL)  # it reports each silent peer, and each task that it forgot
    course = Course(network, nodes=arguments.nodes, values=arguments.values, seed=arguments.seed)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        if arguments.profile:
            print(runner.run(course.run_profiled(arguments.profile)), flush=True)
        else:
            runner.run(course.run(lambda step: print(f"  {arguments.system}: {step}", file=sys.stderr)))
            print(json.dumps(course.figures), flush=True)
        os._exit(0)  # to end hundreds of nodes in good order is not measured, and not every system can


def _allow_many_sockets() -> None:
    """A node is a socket at least, and many systems let a process have 256 files unless it asks for more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    raise SystemExit(main())
