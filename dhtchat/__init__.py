"""Serverless chat for the terminal.

Nothing may be imported here: `dhtchat --version` and every other start of the program pays for it.
"""

__version__ = "0.1.0"
