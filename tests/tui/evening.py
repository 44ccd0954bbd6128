"""What the pictures of the screen show."""

from dhtchat.chat import events
from tests.tui.screens import line


def told() -> list[events.Event]:
    """A small evening: a room with talk, a private line elsewhere."""
    names = [
        events.MemberEntry(name="alice", role="owner", online=True),
        events.MemberEntry(name="bob", role="speaker", online=True),
        events.MemberEntry(name="carol", role="speaker", online=False),
    ]
    return [
        events.Ready(user="alice", fingerprint="ab12", address="127.0.0.1:4000", peers=3, version="0"),
        events.TargetChanged(target="#lobby"),
        events.TopicChanged(room="#lobby", user=None, by=None, topic="Talk about everything"),
        events.Names(room="#lobby", members=names),
        line("hello, **everybody**", number=1),
        line("hi bob, see https://example.org", number=2, own=True),
        events.StatusChanged(id=f"{2:064x}", state="delivered"),
        line(
            "a much longer line that surely does not fit into one row of a terminal of usual size, so it is wrapped",
            number=3,
        ),
        line("yes, that is so", number=4, sender="carol", reply_to=f"{3:064x}"),
        line("👍", number=5, reacts_to=f"{2:064x}"),
        line("are you there?", number=6, sender="dora", room=None),
        line("日本語 and שלום", number=7),
    ]


def stage() -> list[events.Event]:
    """A room in which one has to be given the floor."""
    roles = [("alice", "listener"), ("bob", "owner"), ("carol", "moderator"), ("dora", "speaker"), ("emil", "listener")]
    names = [
        events.MemberEntry(name=name, role=role, online=name != "dora", hand=name in ("alice", "emil"))  # type: ignore[arg-type]
        for name, role in roles
    ]
    return [
        *told()[:2],
        events.TopicChanged(room="#lobby", user=None, by=None, topic="Questions at the end"),
        events.Names(room="#lobby", members=names),
        events.ModeChanged(room="#lobby", user=None, by="bob", mode="+m"),
        line("welcome, everybody"),
        events.PresenceChanged(user="carol", online=True, away="lunch"),
        events.HandMoved(room="#lobby", user="emil", by="emil", up=True),
    ]


def marked_up() -> list[events.Event]:
    """What markup looks like."""
    return [
        *told()[:4],
        line("> ask the **owner**\nand so I do: *how*, ~~when~~, `x = 1`"),
        line(
            "```python\ndef answer() -> int:\n    return 42  # **not bold**\n```\nlike that", sender="carol", number=2
        ),
    ]


def cut_off() -> events.Event:
    return events.Disconnected(reason="nobody has answered for 20 s")
