"""The status line: what it says, and what it says first where there is little room."""

from typing import Literal

import pytest
from rich.cells import cell_len

from dhtchat.chat import events
from dhtchat.tui.status import status_line
from dhtchat.tui.talks import Talks
from tests.tui.screens import line


def some_talks(*told: events.Event) -> Talks:
    talks = Talks("alice")
    for event in (
        events.Ready(user="alice", fingerprint="ab", address="127.0.0.1:1", peers=3, version="0"),
        events.TargetChanged(target="#lobby"),
        *told,
    ):
        talks.take(event)
    return talks


def test_the_hint_is_the_last_to_go() -> None:
    talks = some_talks(line("psst", room=None))
    assert status_line(talks, 80) == " alice · online, 3 peers known   Alt+A: bob (1)"
    assert status_line(talks, 45) == " online, 3 peers known   Alt+A: bob (1)"
    assert status_line(talks, 30) == " online   Alt+A: bob (1)"
    assert status_line(talks, 16) == " Alt+A: bob (1)"


def test_trouble_is_said_before_anything_else() -> None:
    talks = some_talks(line("psst", room=None), events.Disconnected(reason="x"))
    assert status_line(talks, 80) == " alice · reconnecting, 3 peers known   Alt+A: bob (1)"
    assert status_line(talks, 15) == " reconnecting"


@pytest.mark.parametrize("cells", [20, 40, 80])
def test_a_long_name_does_not_push_the_rest_away(cells: int) -> None:
    talks = some_talks(line("hi", room="#" + "漢" * 31))
    assert "(1)" in status_line(talks, cells) or cells == 20
    assert cell_len(status_line(talks, cells)) <= max(cells, 35)


@pytest.mark.parametrize(
    ("role", "hands", "said"),
    [
        ("owner", [], " alice · online, 3 peers known · owner here"),
        ("moderator", ["bob"], " alice · online, 3 peers known · moderator here   1 hand up: /hands"),
        ("owner", ["bob", "carol"], " alice · online, 3 peers known · owner here   2 hands up: /hands"),
        ("speaker", ["bob"], " alice · online, 3 peers known"),
        ("listener", ["bob"], " alice · online, 3 peers known   you listen: /hand asks for the floor"),
        ("listener", ["alice"], " alice · online, 3 peers known   your hand is up"),
    ],
)
def test_the_role_in_the_room_and_who_wants_the_floor(
    role: Literal["owner", "moderator", "speaker", "listener"], hands: list[str], said: str
) -> None:
    """Issue 7: "member list with roles, raised hands, presence"; decision 20 has who may do what."""
    members = [
        events.MemberEntry(name=name, role=role if name == "alice" else "listener", online=True, hand=name in hands)
        for name in ("alice", "bob", "carol")
    ]
    assert status_line(some_talks(events.Names(room="#lobby", members=members)), 100) == said
    assert status_line(some_talks(events.Names(room="#zoo", members=members)), 100) == " alice · online, 3 peers known"
