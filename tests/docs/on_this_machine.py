"""`dhtchat` for the tutorial's test: all of it, but the usual port is another one, and nothing leaves this machine."""

import os
import sys

import msgspec

import dhtchat.app.entry
import dhtchat.app.neighbourhood
import dhtchat.cli.background
import dhtchat.cli.first_steps
from dhtchat.__main__ import main
from dhtchat.ids import Endpoint, NodeAddress

PORT_VARIABLE = "DHTCHAT_TUTORIAL_PORT"

if __name__ == "__main__":
    port = int(os.environ[PORT_VARIABLE])
    here = NodeAddress(Endpoint("127.0.0.1", port), None)
    up = dhtchat.cli.background.up
    dhtchat.app.entry.LOCAL_NODE = here
    # The peer in the background is a program of its own, that would look at the usual port.
    dhtchat.cli.background.up = lambda settings, *rest, **more: up(
        msgspec.structs.replace(settings, bootstrap=(here,)), *rest, **more
    )
    dhtchat.app.neighbourhood.interfaces_of = lambda host: ()
    dhtchat.cli.first_steps.own_address = lambda: "127.0.0.1"
    dhtchat.cli.first_steps.FirstSteps.__init__.__kwdefaults__["door_port"] = port
    sys.exit(main())
