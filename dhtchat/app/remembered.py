"""Nodes that were good the last time: the bootstrap node is needed once."""

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from dhtchat.app.paths import write_private
from dhtchat.errors import BadUsage
from dhtchat.ids import Endpoint, NodeAddress, parse_endpoint
from dhtchat.limits import CONTACTS_REMEMBERED_MAX

log = logging.getLogger(__name__)


def load_remembered(path: Path) -> list[NodeAddress]:
    """Most recently good first. A missing or damaged file is an empty list: it is only a memory."""
    try:
        texts = msgspec.json.decode(path.read_bytes(), type=list[str])
        return [NodeAddress(parse_endpoint(text), None) for text in texts[:CONTACTS_REMEMBERED_MAX]]
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, BadUsage) as error:
        log.warning("cannot read %s: %s", path, error)
        return []


def save_remembered(path: Path, endpoints: Iterable[Endpoint]) -> None:
    """Nothing is written when nobody is known: the last good memory is better than an empty one."""
    texts = [str(endpoint) for endpoint in endpoints][:CONTACTS_REMEMBERED_MAX]
    if texts:
        write_private(path, msgspec.json.encode(texts))
