"""`dhtchat` for the tutorial's test: all of it, but the usual port is another one, and nothing leaves this machine."""

import os
import sys

import dhtchat.app.entry
import dhtchat.app.neighbourhood
import dhtchat.cli.first_steps
from dhtchat.__main__ import main
from dhtchat.ids import Endpoint, NodeAddress

PORT_VARIABLE = "DHTCHAT_TUTORIAL_PORT"

if __name__ == "__main__":
    port = int(os.environ[PORT_VARIABLE])
    dhtchat.app.entry.LOCAL_NODE = NodeAddress(Endpoint("127.0.0.1", port), None)
    dhtchat.app.neighbourhood.interfaces_of = lambda host: ()
    dhtchat.cli.first_steps.own_address = lambda: "127.0.0.1"
    dhtchat.cli.first_steps.FirstSteps.__init__.__kwdefaults__["door_port"] = port
    sys.exit(main())
