"""What a modified peer writes never reaches anybody's terminal as anything but text.

Issue 2, "What it must show", 7: control characters, OSC, bidirectional overrides in messages, names and topics never reach
the other side's terminal, also when a modified peer sends them. Our own client's checks are bypassed: every text here is
signed as it is.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from dhtchat.chat.events import Event, MessageArrived, TopicChanged, to_json
from dhtchat.chat.markup import clean
from dhtchat.cli.render import Renderer
from dhtchat.cli.terminal import PLAIN, Terminal
from dhtchat.ids import PeerId
from dhtchat.limits import (
    AWAY_BYTES_MAX,
    AWAY_CHARACTERS_MAX,
    TEXT_BYTES_MAX,
    TEXT_CHARACTERS_MAX,
    TOPIC_BYTES_MAX,
    TOPIC_CHARACTERS_MAX,
)
from dhtchat.parameters import SIM
from dhtchat.peer.messages import Announce, Lines, Tell
from dhtchat.records.device import DeviceCertificate
from dhtchat.records.envelope import Envelope
from dhtchat.records.listing import RoomListing
from dhtchat.records.message import SetTopic
from tests.app.town import Person, Town
from tests.app.villain import TTL_S, Villain, villain_in
from tests.chat.hostile import HOSTILE_TEXTS, objections
from tests.cli.test_render import OUR_SEQUENCES

ROOM = "#lobby"
TERMINALS = (PLAIN, Terminal(colours=True), Terminal(colours=True, many_colours=True, links=True))
FLOODS = (
    "\u202e" * 2_000,
    "a" + "\u0301" * 1_999,
    "\U0001f469\u200d" * 900,
    "\x1b[31m" * 400,
    "\n" * 2_000,
    "x" * 1_999 + "\x9b",
)


def fitting(text: str, characters_max: int, bytes_max: int) -> str:
    """As much of a text as the wire takes, without the halves of characters that it does not take."""
    text = "".join(c for c in text if not "\ud800" <= c <= "\udfff")[:characters_max]
    while len(text.encode()) > bytes_max:
        text = text[:-1]
    return text


def corpus(characters_max: int, bytes_max: int) -> list[str]:
    texts = (fitting(text, characters_max, bytes_max) for text in (*HOSTILE_TEXTS.values(), *FLOODS))
    return [text for text in dict.fromkeys(texts) if text]


def strings_in(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON value, keys too, with where it stands."""
    match tree:
        case str():
            yield path, tree
        case dict():
            for key, value in tree.items():
                yield f"{path}, a key", key
                yield from strings_in(value, f"{path}.{key}")
        case list():
            for value in tree:
                yield from strings_in(value, path)


def check_everything_shown(person: Person) -> None:
    """All events so far: their fields, the JSON line, and what each kind of terminal gets."""
    for event in person.events:
        line = to_json(event)
        assert "\n" not in line.rstrip("\n")
        assert not objections(line.rstrip("\n")), event
        for path, text in strings_in(msgspec.json.decode(line)):
            assert not objections(text), (path, text)
            assert "\n" not in text or path.endswith(".text"), (path, text)
        for terminal in TERMINALS:
            check_rendered(event, terminal, person.name)


def check_rendered(event: Event, terminal: Terminal, user: str) -> None:
    drawn = Renderer(terminal, user).render(event)
    assert terminal.colours or drawn == OUR_SEQUENCES.sub("", drawn), "a pipe gets no sequence at all"
    assert not objections(OUR_SEQUENCES.sub("", drawn)), (event, drawn)


async def test_hostile_messages_arrive_as_text(tmp_path: Path, seed: int) -> None:
    """Every text of the corpus, said in the room and in private, new and as a page of history: it is shown cleaned, the
    same before and after a restart, and no event, JSON line or drawn line has anything in it that a terminal obeys."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = await mallory.enter(ROOM, alice, bob)
        texts = corpus(TEXT_CHARACTERS_MAX, TEXT_BYTES_MAX)
        in_room = [mallory.statement(text, room=room) for text in texts]
        page = [mallory.statement(text, room=room) for text in texts[:20]]
        await mallory.tell(alice, *in_room)
        await mallory.say_to(alice, Lines(room, [statement.raw for statement in page], [], [], more=False))
        for text in texts:
            private = mallory.statement(text, to=PeerId(alice.identity), recipient="alice")
            await mallory.tell(alice, private)
        await mallory.fence(alice)
        cleaned = [clean(text) for text in texts]
        assert [line.text for line in alice.seen(MessageArrived, room=ROOM)] == [*cleaned, *cleaned[:20]]
        assert [line.text for line in alice.seen(MessageArrived, kind="direct")][:-1] == cleaned
        before = [line.text for line in await alice.history(ROOM)]
        check_everything_shown(alice)

        await alice.crash()
        await alice.come_online()
        await alice.say(f"/join {ROOM}")
        assert [line.text for line in await alice.history(ROOM)] == before
        await bob.expect(MessageArrived, text=cleaned[-1])  # from alice, by comparison
        check_everything_shown(alice)
        check_everything_shown(bob)


async def test_hostile_topics_and_away_texts_arrive_as_one_line_of_text(tmp_path: Path, seed: int) -> None:
    """The same for topics, told to members and listed for those outside, and for away texts, announced and stored."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, carol = await town.newcomers("alice", "carol")
        await alice.say(f"/join {ROOM}")
        room = await mallory.enter(ROOM, alice)
        for topic in corpus(TOPIC_CHARACTERS_MAX, TOPIC_BYTES_MAX):
            await mallory.tell(alice, mallory.statement(SetTopic(topic), room=room))
        await mallory.fence(alice)
        topics = [event.topic for event in alice.seen(TopicChanged, by="mallory")]
        assert topics == [clean(topic, single_line=True) for topic in corpus(TOPIC_CHARACTERS_MAX, TOPIC_BYTES_MAX)]

        await mallory.store_everywhere(mallory.listing())
        for number, away in enumerate(corpus(AWAY_CHARACTERS_MAX, AWAY_BYTES_MAX)):
            presence = mallory.presence(away=away)
            await mallory.say_to(alice, Announce([presence.raw]))
            await mallory.fence(alice)
            shown = {user.name: user.away for user in await alice.users()}["mallory"]
            assert shown == clean(away, single_line=True)
            assert (await alice.whois("mallory")).away == shown
            if number % 10 == 0:  # for carol, who has no link: through the replicas
                await mallory.store_everywhere(presence)
                assert (await carol.whois("mallory")).away == shown

        for topic in corpus(TOPIC_CHARACTERS_MAX, TOPIC_BYTES_MAX)[::5]:
            now_s = int(mallory.runtime.clock.wall())
            for _ in range(2):
                listing = RoomListing(ROOM, room, topic, 2, mallory.next_sequence(), now_s, TTL_S, False)
                await mallory.store_everywhere(mallory.sign(listing))
            assert ROOM in await carol.rooms()
        for person in (alice, carol):
            check_everything_shown(person)


def with_bytes(mallory: Villain, body: Any, old: bytes, new: bytes, *, key: Any = None) -> bytes:
    """A signed record in whose body other bytes of the same length stand than our own classes would let in."""
    assert len(old) == len(new)
    encoded = msgspec.msgpack.encode(body)
    assert encoded.count(old) == 1
    signer = key or mallory.identity
    encoded = encoded.replace(old, new)
    signature = signer.sign(body.KIND, SIM.network_id, encoded)
    return msgspec.msgpack.encode(Envelope(body.KIND, signer.public, encoded, signature))


async def test_what_is_no_text_or_no_name_does_not_come_in_at_all(tmp_path: Path, seed: int) -> None:
    """Half characters, which are no UTF-8, and names with newlines, sequences, overrides or capitals: such statements,
    certificates and records are refused as a whole, wherever they are told or stored."""
    names = ["mal\nory", "ma\x1b[2Jy", "m\u202ealry", "MALLORY", "mal\x9bry", "mal ory", "<\u200b>ory", "alice\n\n"]
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = await mallory.enter(ROOM, alice, bob)
        marks = [person.mark() for person in (alice, bob)]
        halves = [text for text in HOSTILE_TEXTS.values() if text != fitting(text, 2_000, 8_000)]
        assert halves
        for text in [*halves, "\udcff", "a\ud83d"]:
            encoded = text.encode("utf-8", "surrogatepass")
            line = mallory.statement("X" * len(encoded), room=room, counter=1)
            raw = with_bytes(mallory, line.body, b"X" * len(encoded), encoded, key=mallory.device)
            await mallory.attack(alice, Tell(raw), Lines(room, [raw], [], [], more=False))
            presence = mallory.presence(away="X" * len(encoded))
            hostile = with_bytes(mallory, presence.body, b"X" * len(encoded), encoded)
            await mallory.attack(alice, Announce([hostile]))
        for name in names:
            encoded = name.encode()[:8].ljust(8, b"\n")
            place = b"mallor-y"
            certificate = with_bytes(
                mallory, DeviceCertificate(place.decode(), mallory.device.public, 0), place, encoded
            )
            line = mallory.statement("by nobody", room=room, counter=1, certificate=certificate)
            private = mallory.statement("by nobody", to=PeerId(alice.identity), certificate=certificate, counter=1)
            await mallory.attack(alice, Tell(line.raw), Tell(private.raw), Lines(room, [line.raw], [], [], more=False))
            for body in (
                mallory.presence(name=place.decode()).body,
                mallory.listing(name=place.decode()).body,
                mallory.membership(room, name=place.decode()).body,
            ):
                hostile = with_bytes(mallory, body, place, encoded)
                kept = await mallory.store_everywhere(hostile, body.place(mallory.identity.public))
                assert {answer.verdict for answer in kept} == {"refused"}
                await mallory.attack(alice, Announce([hostile]))
        assert {user.name for user in await alice.users()} == {"alice", "bob", "mallory"}
        for person, mark in zip((alice, bob), marks, strict=True):
            assert not person.seen(MessageArrived, after=mark, kind="room")
            check_everything_shown(person)
