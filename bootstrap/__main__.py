"""`python -m bootstrap ...` is `dhtchat bootstrap ...`."""

import sys

from dhtchat.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["bootstrap", *sys.argv[1:]]))
