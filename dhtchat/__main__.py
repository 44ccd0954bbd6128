"""The console script, and `python -m dhtchat`.

At module level nothing may be imported but what `python -c pass` has loaded already: `dhtchat --version` is promised in
at most 2.5 times its time, and tests/test_packaging.py lists what was loaded. Everything else is in `dhtchat.cli`.
"""

import sys

from dhtchat import __version__

INTERRUPTED = 130
"""Exit code: 128 + SIGINT, as a shell reports it."""


def main(arguments: list[str] | None = None) -> int:
    """Run `dhtchat` with these arguments (default: those of the process) and return its exit code."""
    if arguments is None:
        arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        print(f"dhtchat {__version__}")
        return 0
    try:
        from dhtchat.cli.main import run

        return run(arguments)
    except KeyboardInterrupt:  # also while the imports above still go on
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
