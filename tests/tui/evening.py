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
