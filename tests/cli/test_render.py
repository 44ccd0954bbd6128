"""Events as lines: what they say, that nobody can forge one, and that only our own escape sequences leave the house."""

import re
import time
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dhtchat.chat import events
from dhtchat.chat.events import (
    Bye,
    Disconnected,
    ErrorShown,
    Event,
    Found,
    HandMoved,
    Hands,
    Help,
    History,
    Invited,
    Joined,
    Kicked,
    LinesRead,
    MemberEntry,
    MessageArrived,
    ModeChanged,
    Names,
    Notice,
    Parted,
    PasswordChanged,
    PeerStatus,
    PresenceChanged,
    Reaction,
    Ready,
    Reconnected,
    Registered,
    RoleChanged,
    RoomEntry,
    Rooms,
    StatusChanged,
    TargetChanged,
    TopicChanged,
    UserEntry,
    Users,
    Warned,
    WhoIsAnswer,
)
from dhtchat.cli.render import Renderer
from dhtchat.cli.terminal import PLAIN, Terminal
from tests.chat.hostile import HOSTILE_TEXTS, any_text, objections

SENT_AT = "2026-05-01T12:03:59.5Z"
TERMINALS = {
    "pipe": PLAIN,
    "16 colours": Terminal(colours=True),
    "256 colours": Terminal(colours=True, many_colours=True),
    "links": Terminal(colours=True, many_colours=True, links=True),
}
FULL = TERMINALS["links"]
OUR_SEQUENCES = re.compile(r"\x1b\[[0-9;]*m|\x1b\]8;;[!-~]*\x1b\\")
"""SGR, and OSC 8 with a printable ASCII address: all that may be left to a terminal to obey."""


@pytest.fixture(autouse=True)
def _in_india(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Five and a half hours ahead of UTC, all year round."""
    monkeypatch.setenv("TZ", "IST-5:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def message(text: str = "hello", **changes: object) -> MessageArrived:
    fields: dict[str, object] = {
        "id": "0123456789abcdef",
        "kind": "room",
        "room": "#lobby",
        "sender": "alice",
        "recipient": None,
        "text": text,
        "sent_at": SENT_AT,
        "delayed": False,
        "own": False,
    }
    return MessageArrived(**{**fields, **changes})  # type: ignore[arg-type]


def private(text: str = "psst", **changes: object) -> MessageArrived:
    return message(text, **{"kind": "direct", "room": None, "recipient": "bob", **changes})


def everything(text: str, *, words: str | None = None) -> list[Event]:
    """Each kind of event, with `text` wherever somebody else's words can be, and `words` where a name stands."""
    name = text if words is None else words
    entry = UserEntry(name=name, fingerprint=name, online=True, away=text)
    return [
        message(text, sender=name, room=name),
        message(text, sender=name, room=name, action=True, mentioned=True),
        message(text, own=True, delayed=True, sent_at=text),
        private(text, sender=name),
        private(text, sender=name, action=True),
        private(text, recipient=name, own=True),
        History(target=name, messages=[message(text, sender=name), private(text, sender=name)]),
        message(text, sender=name, room=name, reply_to=text),
        message(text, sender=name, room=name, edits=text, edited=True),
        message(text, sender=name, room=name, edits="0123456789abcdef", edited=True),
        message("", sender=name, room=name, deletes=text),
        message(text, sender=name, room=name, reacts_to="0123456789abcdef", removed=False),
        private(text, sender=name, reacts_to=text, removed=True),
        Found(
            target=name,
            messages=[message(text, sender=name, reactions=[Reaction(emoji=text, users=[name])], edited=True)],
        ),
        LinesRead(target=name, ids=[name]),
        StatusChanged(id=name, state="delivered", delivered_to=3, members=4),
        StatusChanged(id=name, state="failed"),
        PresenceChanged(user=name, online=True, away=text),
        PresenceChanged(user=name, online=False),
        Joined(room=name, user=name),
        Parted(room=name, user=name),
        Users(users=[entry, entry]),
        Rooms(rooms=[RoomEntry(name=name, topic=text, members=3, mode=text, joined=True)]),
        Names(room=name, members=[MemberEntry(name=name, role="owner", online=True, hand=True)]),
        WhoIsAnswer(
            name=name, fingerprint=name, key_changed=True, online=True, rooms=[name, name], since=text, away=text
        ),
        TopicChanged(room=name, user=name, by=name, topic=text),
        TopicChanged(room=name, user=None, by=None, topic=text),
        RoleChanged(room=name, user=name, by=name, role="speaker"),
        RoleChanged(room=name, user=name, by=None, role="owner"),
        Invited(room=name, user=name, by=name),
        Kicked(room=name, user=name, by=name, reason=text),
        Kicked(room=name, user=name, by=None, reason=text, banned=True),
        ModeChanged(room=name, user=name, by=name, mode="+m"),
        HandMoved(room=name, user=name, by=name, up=True),
        Hands(room=name, hands=[name, name], open=False),
        Hands(room=name, hands=[], open=False, by=name),
        TargetChanged(target=name),
        Disconnected(reason=text),
        Reconnected(after_s=31.4),
        PeerStatus(user=name, address=text, peers=1, links=2, rooms=[name], since=text),
        Warned(code="key-changed", message=text, hint=text),
        ErrorShown(code=text, message=text, hint=text),
        Help(commands=[(text, text)]),
        Notice(message=text),
        Ready(user=name, fingerprint=name, address=text, peers=3, version=text, via="bootstrap"),
        Ready(user=None, fingerprint=None, address=text, peers=0, version=text, node_key=text),
        Registered(user=name, fingerprint=name),
        PasswordChanged(user=name, fingerprint=name),
        Bye(),
        Younger(what=text),
    ]


class Younger(Event, frozen=True, kw_only=True, tag="younger"):
    """A kind of event that a later version may bring."""

    what: str


def check_harmless(output: str) -> None:
    stripped = OUR_SEQUENCES.sub("", output)
    assert objections(stripped) == []
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", stripped)
    assert not output.endswith("\n")
    for line in output.split("\n"):  # no look or link reaches beyond its line
        assert re.findall(r"\x1b\[[0-9;]*m", line)[-1:] in ([], ["\x1b[0m"])
        assert re.findall(r"\x1b\]8;;([!-~]*)\x1b\\", line)[-1:] in ([], [""])


# --- nothing gets through ---------------------------------------------------------------------------------------------


def test_every_event_is_among_those_tried() -> None:
    kinds = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)}
    assert kinds - {Event} <= {type(event) for event in everything("")}


@pytest.mark.parametrize("terminal", TERMINALS.values(), ids=TERMINALS.keys())
@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS.keys())
def test_only_our_own_sequences_leave(terminal: Terminal, text: str) -> None:
    for event in everything(text):
        output = Renderer(terminal, "bob").render(event)
        check_harmless(output)
        assert terminal.colours or "\x1b" not in output
        assert terminal.links or "\x1b]" not in output


@given(any_text, st.sampled_from(list(TERMINALS.values())))
@example("0" * 28 + "\U0001f308\u200d\U0001f308", PLAIN)  # a quote ends within the emoji
def test_any_text_is_drawn_harmless(text: str, terminal: Terminal) -> None:
    renderer = Renderer(terminal, "bob")
    for event in everything(text):
        check_harmless(renderer.render(event))


@given(any_text)
def test_looks_change_nothing_but_the_looks(text: str) -> None:
    """Where nothing is marked up, the lines with and without colours are the same once our sequences are gone."""
    plain_text = re.sub(r"[*~`:]", "", text)
    for event in everything(plain_text):
        drawn = Renderer(FULL, "bob").render(event)
        assert OUR_SEQUENCES.sub("", drawn) == Renderer(PLAIN, "bob").render(event)


@given(any_text)
def test_nobody_else_begins_a_line(text: str) -> None:
    """The first characters of each line are ours: a time, two dashes, a bar, blanks, a mark or a fixed word."""
    for event in everything(text, words="carol"):
        for line in Renderer(PLAIN, "bob").render(event).split("\n"):
            assert re.match(
                r"(\d\d:\d\d|--:--|\d{4}-\d\d-\d\d \d\d:\d\d) (\[.{1,13}\] )?(#lobby|carol|You) |-- |   |      \| |!! |error: ",
                line,
            ), line


def test_a_forged_line_stands_behind_a_bar() -> None:
    drawn = Renderer(PLAIN, "bob").render(message("hi\n12:04 #lobby <bob> forged\n-- bob joined #lobby\n"))
    assert drawn == (
        "17:33 #lobby <alice> hi\n"
        "      | 12:04 #lobby <bob> forged\n"
        "      | -- bob joined #lobby"
    )  # fmt: skip


def test_operations_say_which_line_is_meant() -> None:
    """By how it begins while it is on this screen, else by its id. What was deleted is not repeated."""
    screen = Renderer(PLAIN, "bob")
    first, other = "0123456789abcdef", "fedcba9876543210"
    screen.render(message("shall we meet at the old place, or at the new one?"))
    drawn = [
        screen.render(message("the old one", id=other, sender="bob", own=True, reply_to=first)),
        screen.render(message("\U0001f44d", id="1", sender="carol", reacts_to=other, removed=False)),
        screen.render(message("\U0001f44d", id="2", sender="carol", reacts_to=other, removed=True)),
        screen.render(message("where?", id="3", edits=first, edited=True)),
        screen.render(message("", id="4", deletes=first)),
        screen.render(private("yes", id="5", reply_to=first)),
    ]
    assert drawn == [
        "17:33 #lobby <You> (to: shall we meet at the old place...) the old one",
        "-- carol reacted \U0001f44d to the old one in #lobby",
        "-- carol took back \U0001f44d from the old one in #lobby",
        "17:33 #lobby <alice> (changed: shall we meet at the old place...) where?",
        "-- alice deleted message 01234567 in #lobby",
        "17:33 alice -> you: (to: message 01234567) yes",
    ]


# --- what they say ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (message(), "17:33 #lobby <alice> hello"),
        (message(own=True), "17:33 #lobby <You> hello"),
        (message(delayed=True), "2026-05-01 17:33 #lobby <alice> hello"),
        (message("waves", action=True), "17:33 #lobby * alice waves"),
        (message("waves", action=True, own=True), "17:33 #lobby * You waves"),
        (message(sent_at="nonsense"), "--:-- #lobby <alice> hello"),
        (message(sent_at="9999-12-31T23:59:59Z"), "--:-- #lobby <alice> hello"),
        (message("**typed** `as` is"), "17:33 #lobby <alice> **typed** `as` is"),
        (message("\n\n"), "17:33 #lobby <alice> (unprintable)"),
        (message(sender="alice#abcd-efgh-ijkl-mnop"), "17:33 #lobby <alice#abcd-efgh-ijkl-mnop> hello"),
        (private(), "17:33 alice -> you: psst"),
        (private(own=True), "17:33 You -> bob: psst"),
        (private("waves", action=True), "17:33 alice -> you: * waves"),
        (StatusChanged(id="0123456789abcdef", state="queued"), "-- message 01234567 waits to be sent"),
        (
            StatusChanged(id="0123456789abcdef", state="failed", reason="nobody came"),
            "-- message 01234567 could not be delivered: nobody came",
        ),
        (
            StatusChanged(id="0123456789abcdef", state="delivered", delivered_to=3, members=4),
            "-- message 01234567 was delivered to 3 of 4",
        ),
        (PresenceChanged(user="alice", online=True), "-- alice is online"),
        (PresenceChanged(user="alice", online=True, away="at\nlunch"), "-- alice is away: at lunch"),
        (PresenceChanged(user="alice", online=False), "-- alice is offline"),
        (PresenceChanged(user="carol", online=True), "-- You are online"),
        (Joined(room="#lobby", user="alice"), "-- alice joined #lobby"),
        (Joined(room="#lobby", user="carol"), "-- You joined #lobby"),
        (Parted(room="#lobby", user="alice"), "-- alice left #lobby"),
        (TopicChanged(room="#lobby", user="alice", by="alice", topic="cats"), "-- alice set the topic of #lobby: cats"),
        (TopicChanged(room="#lobby", user="alice", by="alice", topic=""), "-- alice removed the topic of #lobby"),
        (TopicChanged(room="#lobby", user=None, by=None, topic="cats"), "-- topic of #lobby: cats"),
        (TopicChanged(room="#lobby", user=None, by=None, topic=""), "-- #lobby has no topic"),
        (RoleChanged(room="#a", user="bob", by="alice", role="moderator"), "-- alice made bob a moderator of #a"),
        (RoleChanged(room="#a", user="carol", by=None, role="listener"), "-- You are a listener of #a"),
        (RoleChanged(room="#a", user="bob", by=None, role="owner"), "-- bob is the owner of #a"),
        (Invited(room="#a", user="bob", by="carol"), "-- You invited bob to #a"),
        (Invited(room="#a", user="carol", by="bob"), "-- bob invites you to #a: enter it with /join #a"),
        (Kicked(room="#a", user="bob", by="alice", reason="too loud"), "-- alice threw bob out of #a: too loud"),
        (Kicked(room="#a", user="carol", by="alice", reason="", banned=True), "-- alice banned You from #a"),
        (
            ModeChanged(room="#a", user="bob", by="bob", mode="+m"),
            "-- bob set #a +m: only those who have the floor speak",
        ),
        (ModeChanged(room="#a", user=None, by=None, mode="-m"), "-- #a -m: everybody speaks"),
        (HandMoved(room="#a", user="bob", by="bob", up=True), "-- bob raised a hand in #a"),
        (HandMoved(room="#a", user="carol", by="carol", up=False), "-- You lowered the hand in #a"),
        (ModeChanged(room="#a", user="bob", by="bob", mode="+i"), "-- bob set #a +i: only those enter who are invited"),
        (ModeChanged(room="#a", user=None, by=None, mode="-i"), "-- #a -i: everybody may enter"),
        (Hands(room="#a", hands=["bob", "carol"], open=True), "-- 2 hands up in #a:\n   bob\n   carol (you)"),
        (Hands(room="#a", hands=[], open=False), "-- nobody raises a hand in #a; the queue is closed"),
        (Hands(room="#a", hands=[], open=False, by="bob"), "-- bob closed the queue of raised hands in #a"),
        (TargetChanged(target="#lobby"), "-- you talk to #lobby now"),
        (TargetChanged(target=None), "-- you talk to nobody now"),
        (
            Users(
                users=[
                    UserEntry(name="alice", fingerprint="abcd-efgh", online=True),
                    UserEntry(name="carol", fingerprint="ijkl-mnop", online=True, away="lunch"),
                    UserEntry(name="dave", fingerprint="qrst-uvwx", online=False),
                ]
            ),
            "-- 3 users:\n"
            "   alice        online       abcd-efgh\n"
            "   carol (you)  away: lunch  ijkl-mnop\n"
            "   dave         offline      qrst-uvwx",
        ),
        (Users(users=[]), "-- no users found"),
        (
            Rooms(
                rooms=[
                    RoomEntry(name="#lobby", topic="all about cats", members=12, joined=True),
                    RoomEntry(name="#b", topic="", members=1),
                    RoomEntry(name="#talks", topic="one at a time", members=2, mode="+m"),
                ]
            ),
            "-- 3 rooms:\n"
            "   #lobby  12 members, joined  all about cats\n"
            "   #b      1 member\n"
            "   #talks  2 members           +m one at a time",
        ),
        (Rooms(rooms=[]), "-- no rooms found; /join #name creates one"),
        (
            Names(
                room="#lobby",
                members=[
                    MemberEntry(name="alice", role="owner", online=True),
                    MemberEntry(name="carol", role="speaker", online=False, hand=True),
                ],
            ),
            "-- #lobby has 2 members:\n   alice        owner    online\n   carol (you)  speaker  offline, hand up",
        ),
        (
            WhoIsAnswer(
                name="alice",
                fingerprint="abcd-efgh",
                key_changed=True,
                online=True,
                rooms=["#a", "#b"],
                since="2026-05-01T12:00:00Z",
                away="lunch",
            ),
            "-- alice\n"
            "   fingerprint: abcd-efgh\n"
            "   key: HAS CHANGED since you first met\n"
            "   state: away: lunch\n"
            "   rooms: #a, #b\n"
            "   since: 2026-05-01 17:30",
        ),
        (
            WhoIsAnswer(name="alice", fingerprint="abcd", key_changed=False, online=False, rooms=[], since=None),
            "-- alice\n   fingerprint: abcd\n   state: offline",
        ),
        (
            History(target="#lobby", messages=[message("one"), message("two", own=True)]),
            "-- history of #lobby:\n"
            "2026-05-01 17:33 [01234567] #lobby <alice> one\n"
            "2026-05-01 17:33 [01234567] #lobby <You> two\n"
            "-- end of the history of #lobby",
        ),
        (History(target="dave", messages=[]), "-- dave: nothing has been said yet"),
        (Disconnected(reason="no node answers"), "-- disconnected: no node answers"),
        (Reconnected(after_s=31.4), "-- connected again after 31 s"),
        (
            PeerStatus(
                user="carol", address="192.0.2.7:4000", peers=5, links=2, rooms=["#lobby"], since="2026-05-01T12:00:00Z"
            ),
            "-- this peer\n"
            "   user: carol\n"
            "   address: 192.0.2.7:4000\n"
            "   peers: 5\n"
            "   links: 2\n"
            "   rooms: #lobby\n"
            "   since: 2026-05-01 17:30",
        ),
        (
            Warned(code="key-changed", message="alice has another key", hint="Ask alice on another way."),
            "!! WARNING (key-changed): alice has another key\n!! Ask alice on another way.",
        ),
        (
            ErrorShown(code="no-such-room", message="there is no room #x", hint="See /rooms."),
            "error: there is no room #x\n   See /rooms.",
        ),
        (
            Help(commands=[("/part [#room]", "leave a room"), ("/me text", "say what you do")]),
            "-- commands:\n   /part [#room]  leave a room\n   /me text       say what you do",
        ),
        (Notice(message="you ignore bob now"), "-- you ignore bob now"),
        (
            Ready(user="carol", fingerprint="abcd", address="0.0.0.0:4000", peers=3, version="0.1.0", via="remembered"),
            "-- online as carol, dhtchat 0.1.0\n"
            "   fingerprint: abcd\n"
            "   address: 0.0.0.0:4000\n"
            "   peers: 3\n"
            "   network: through peers remembered from last time",
        ),
        (
            Ready(user=None, fingerprint=None, address="0.0.0.0:8468", peers=0, version="0.1.0", node_key="k3y"),
            "-- bootstrap node ready, dhtchat 0.1.0: 0.0.0.0:8468/k3y",
        ),
        (Registered(user="carol", fingerprint="abcd"), "-- registered carol, fingerprint abcd"),
        (PasswordChanged(user="carol", fingerprint="abcd"), "-- changed the password of carol, fingerprint abcd"),
        (Bye(), "-- bye"),
        (Younger(what="news"), "-- younger\n   what: news"),
    ],
)
def test_lines_by_example(event: Event, lines: str) -> None:
    assert Renderer(PLAIN, "carol").render(event) == lines
    assert OUR_SEQUENCES.sub("", Renderer(FULL, "carol").render(event)).replace("**", "").replace("`", "") == (
        lines.replace("**", "").replace("`", "")
    )


def test_markup_is_drawn_where_there_are_colours() -> None:
    text = "**b** *i* ~~s~~ `c` https://a.example"
    drawn = Renderer(FULL, "bob").render(message(text)).partition("> ")[2]
    assert drawn == (
        "\x1b[1mb\x1b[0m \x1b[3mi\x1b[0m \x1b[9ms\x1b[0m \x1b[36mc\x1b[0m "
        "\x1b]8;;https://a.example\x1b\\\x1b[4mhttps://a.example\x1b[0m\x1b]8;;\x1b\\"
    )
    assert Renderer(TERMINALS["16 colours"], "bob").render(message(text)).endswith("\x1b[4mhttps://a.example\x1b[0m")
    assert Renderer(PLAIN, "bob").render(message(text)).endswith(text)


def test_a_look_over_two_lines_is_ended_and_begun_anew() -> None:
    drawn = Renderer(FULL, "bob").render(message("**one\ntwo** three"))
    assert drawn.split("\n") == [
        "\x1b[2m17:33\x1b[0m #lobby <\x1b[38;5;165malice\x1b[0m> \x1b[1mone\x1b[0m",
        "      | \x1b[1mtwo\x1b[0m three",
    ]


def test_own_lines_and_mentions_look_different() -> None:
    renderer = Renderer(FULL, "bob")
    assert "<\x1b[1mYou\x1b[0m>" in renderer.render(message(own=True))
    assert "<\x1b[38;5;165m\x1b[7malice\x1b[0m>" in renderer.render(message(mentioned=True))


def test_somebody_called_you_is_not_taken_for_the_reader() -> None:
    """`you` is a name anybody may take; the reader's own lines say `You`, which nobody can be called."""
    renderer = Renderer(PLAIN, "bob")
    assert renderer.render(message(sender="you")) == "17:33 #lobby <you> hello"
    assert renderer.render(message(own=True)) == "17:33 #lobby <You> hello"
