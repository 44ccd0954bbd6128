"""Serverless chat for the terminal.

Nothing may be imported here when this file is loaded: `dhtchat --version` and every other start of the program pays for it.
"""

TYPE_CHECKING = False  # as typing has it, without loading typing
if TYPE_CHECKING:
    from dhtchat.app.attached import connect as connect

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`from dhtchat import connect` loads what it needs then (PEP 562)."""
    if name == "connect":
        from dhtchat.app.attached import connect

        return connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
