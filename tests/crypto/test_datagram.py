"""Sealed datagrams: they open for one node, once, and as what they were sealed."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.crypto import datagram as datagram_module
from dhtchat.crypto.datagram import NodeKey, Opened, Sealer, kind_of, sender_of
from dhtchat.errors import MalformedMessage
from dhtchat.ids import puzzle_bits
from dhtchat.limits import BOOT_ID_BYTES, REPLAY_WINDOW, SEALED_HEADER_BYTES
from dhtchat.parameters import MAIN, SIM

ALICE, BOB, EVE = (NodeKey(bytes([seed]) * 32) for seed in (1, 2, 3))
SMALL_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    b"\xec" + b"\xff" * 30 + b"\x7f",
    b"\xed" + b"\xff" * 30 + b"\x7f",
    b"\xee" + b"\xff" * 30 + b"\x7f",
]
"""All u-coordinates below 2^255 of points of small order (RFC 7748 §6.1; https://cr.yp.to/ecdh.html lists them)."""


def sealer(key: NodeKey, boot: int = 1, network_id: bytes = SIM.network_id) -> Sealer:
    return Sealer(key, boot.to_bytes(BOOT_ID_BYTES, "big"), network_id)


def opens(by: Sealer, datagram: bytes) -> bool:
    """Whether it opens, and not as a replay."""
    try:
        return by.open(datagram) is not None
    except MalformedMessage:
        return False


def changed(datagram: bytes, at: int, new: bytes) -> bytes:
    return datagram[:at] + new + datagram[at + len(new) :]


# --- for whom it opens ------------------------------------------------------------------------------------------------


@given(kind=st.integers(0, 15), plaintext=st.binary(max_size=1_200))
def test_what_is_sealed_opens_for_its_receiver_as_what_it_was(kind: int, plaintext: bytes) -> None:
    datagram = sealer(ALICE).seal(BOB.public, kind, plaintext)
    assert len(datagram) == len(plaintext) + SEALED_HEADER_BYTES
    assert (kind_of(datagram), sender_of(datagram)) == (kind, ALICE.public)
    assert sealer(BOB).open(datagram) == Opened(kind, ALICE.public, plaintext)


@pytest.mark.parametrize(
    "reader",
    [sealer(EVE), sealer(ALICE), sealer(BOB, network_id=MAIN.network_id)],
    ids=["another node", "the sender itself", "another network"],
)
def test_it_opens_for_nobody_else(reader: Sealer) -> None:
    """Nor for who sent it: what is reflected is nothing."""
    datagram = sealer(ALICE).seal(BOB.public, 0, b"between us")
    with pytest.raises(MalformedMessage):
        reader.open(datagram)
    assert not reader.knows(ALICE.public)


def test_each_direction_and_each_boot_has_its_own_key() -> None:
    """What the other said under the same counter is no answer, and an old boot id makes no new datagram."""
    text = bytes(32)
    there, back = sealer(ALICE).seal(BOB.public, 1, text), sealer(BOB).seal(ALICE.public, 1, text)
    again = sealer(ALICE, boot=2).seal(BOB.public, 1, text)
    hidden = {datagram[SEALED_HEADER_BYTES - 16 : -16] for datagram in (there, back, again)}
    assert len(hidden) == 3, "the same key stream twice"
    assert not opens(sealer(BOB), changed(back, 1, ALICE.public))
    assert not opens(sealer(BOB), changed(there, 33, again[33:41]))


@given(bit=st.integers(0, 8 * (SEALED_HEADER_BYTES + 20) - 1))
def test_every_bit_counts(bit: int) -> None:
    datagram = bytearray(sealer(ALICE).seal(BOB.public, 1, b"twenty bytes of text"))
    datagram[bit // 8] ^= 1 << bit % 8
    bob = sealer(BOB)
    with pytest.raises(MalformedMessage):
        bob.open(bytes(datagram))


@given(cut=st.integers(0, SEALED_HEADER_BYTES + 19), more=st.binary(min_size=1, max_size=20))
def test_it_cannot_be_cut_or_made_longer(cut: int, more: bytes) -> None:
    datagram = sealer(ALICE).seal(BOB.public, 1, b"twenty bytes of text")
    for other in (datagram[:cut], datagram + more):
        with pytest.raises(MalformedMessage):
            sealer(BOB).open(other)


@given(datagram=st.one_of(st.binary(max_size=200), st.binary(min_size=80, max_size=200).map(lambda b: b"\x10" + b)))
def test_any_bytes_are_malformed_and_nothing_else(datagram: bytes) -> None:
    bob = sealer(BOB)
    for read in (bob.open, kind_of, sender_of):
        try:
            read(datagram)
        except MalformedMessage:
            continue
        assert read is not bob.open


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", SMALL_ORDER, ids=lambda key: key.hex()[:8])
def test_a_key_that_agrees_with_everybody_on_the_same_is_refused(key: bytes) -> None:
    bob = sealer(BOB)
    for use in (
        lambda: BOB.agree(key),
        lambda: bob.seal(key, 0, b""),
        lambda: bob.reply(key, 0, b""),
        lambda: bob.open(b"\x10" + key + bytes(60)),
    ):
        with pytest.raises(MalformedMessage):
            use()
    assert not bob.knows(key)


def test_a_key_has_one_form() -> None:
    """X25519 ignores the highest bit (RFC 7748 §5): who set it would be a second node for the price of one."""
    twin = ALICE.public[:-1] + bytes([ALICE.public[-1] | 0x80])
    with pytest.raises(MalformedMessage):
        BOB.agree(twin)
    key = NodeKey(ALICE.seed)
    key.public = twin
    assert not opens(sealer(BOB), sealer(key).seal(BOB.public, 0, b""))


def test_a_key_that_solves_the_puzzle_is_found_and_recognized() -> None:
    assert puzzle_bits(NodeKey.generate(random.Random(1), 6).public) >= 6


# --- replays ----------------------------------------------------------------------------------------------------------


def test_nothing_is_taken_twice() -> None:
    alice, bob = sealer(ALICE), sealer(BOB)
    datagrams = [alice.seal(BOB.public, 0, bytes([n])) for n in range(3 * REPLAY_WINDOW)]
    assert all(opens(bob, datagram) for datagram in datagrams)
    assert [bob.open(datagram) for datagram in datagrams] == [None] * len(datagrams)


@given(st.permutations(range(REPLAY_WINDOW)))
def test_datagrams_may_overtake_each_other_within_the_window(order: list[int]) -> None:
    alice, bob = sealer(ALICE), sealer(BOB)
    datagrams = [alice.seal(BOB.public, 0, bytes([n])) for n in range(REPLAY_WINDOW)]
    assert all(opens(bob, datagrams[n]) for n in order)
    assert not any(opens(bob, datagram) for datagram in datagrams)


def test_what_comes_later_than_the_window_allows_is_not_taken() -> None:
    """It cannot be told from a replay."""
    alice, bob = sealer(ALICE), sealer(BOB)
    late, last_in_time = alice.seal(BOB.public, 0, b"late"), alice.seal(BOB.public, 0, b"just in time")
    for n in range(REPLAY_WINDOW - 1):
        assert opens(bob, alice.seal(BOB.public, 0, bytes([n])))
    assert bob.open(late) is None
    assert opens(bob, last_in_time)
    assert bob.open(last_in_time) is None


@given(st.data())
def test_any_order_with_any_repetitions_takes_each_at_most_once(data: st.DataObject) -> None:
    alice, bob = sealer(ALICE), sealer(BOB)
    datagrams = [alice.seal(BOB.public, 0, bytes([n])) for n in range(150)]
    arrivals = data.draw(st.lists(st.integers(0, 149), max_size=80))
    taken: list[int] = []
    for n in arrivals:
        fresh = n not in taken and n > max(taken, default=-1) - REPLAY_WINDOW
        assert opens(bob, datagrams[n]) == fresh
        taken += [n] if fresh else []


def test_after_a_restart_the_last_boot_is_still_remembered() -> None:
    """A restart overtakes its own last datagrams."""
    before, after, bob = sealer(ALICE, 1), sealer(ALICE, 2), sealer(BOB)
    early, late = before.seal(BOB.public, 0, b"early"), before.seal(BOB.public, 0, b"late")
    first = after.seal(BOB.public, 0, b"first")
    assert [opens(bob, datagram) for datagram in (early, first, late)] == [True, True, True]
    assert [bob.open(datagram) for datagram in (early, first, late)] == [None] * 3


def test_of_a_third_boot_the_first_is_forgotten() -> None:
    """What the memory's bound costs, in so many words: the bytes of a life before the last one can be said again."""
    bob = sealer(BOB)
    firsts = [sealer(ALICE, boot).seal(BOB.public, 0, b"x") for boot in (1, 2, 3)]
    assert all(opens(bob, datagram) for datagram in firsts)
    assert [opens(bob, datagram) for datagram in firsts[::-1]] == [False, False, True]


def test_what_does_not_open_changes_nothing() -> None:
    """Forged counters and boot ids of somebody known, in every state of knowledge of it."""
    alice, bob = sealer(ALICE), sealer(BOB)
    datagrams = [alice.seal(BOB.public, 0, bytes([n])) for n in range(6)]
    for n, datagram in enumerate(datagrams):
        for forged in (
            changed(datagram, 41, b"\xff" * 12),
            changed(datagram, 41, (n + 40).to_bytes(12, "big")),
            changed(datagram, 33, bytes(8)),
            changed(datagram, 33, b"\xff" * 8),
            datagram[:-1],
        ):
            assert not opens(bob, forged)
            assert bob.knows(ALICE.public) == (n > 0)
        assert opens(bob, datagram)
    assert not any(opens(bob, datagram) for datagram in datagrams)


# --- agreements -------------------------------------------------------------------------------------------------------


def _counter(datagram: bytes) -> int:
    return int.from_bytes(datagram[41:53], "big")


@pytest.mark.parametrize("seed", range(20))
def test_no_counter_comes_twice_under_one_key(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when an agreement was dropped and made anew, under the same key, and whoever spoke first."""
    monkeypatch.setattr(datagram_module, "AGREEMENTS_MAX", 3)
    source = random.Random(seed)
    others = [NodeKey(bytes([seed, n]) * 16) for n in range(10)]
    sealers = [sealer(key) for key in others]
    alice = sealer(ALICE)
    used: set[tuple[bytes, int]] = set()
    for _ in range(400):
        n = source.randrange(10)
        speak: Callable[[bytes, int, bytes], bytes] = source.choice([alice.seal, alice.reply])
        if source.random() < 0.3:
            assert opens(alice, sealers[n].seal(ALICE.public, 0, b""))
            continue
        datagram = speak(others[n].public, 0, b"")
        assert (others[n].public, _counter(datagram)) not in used
        used.add((others[n].public, _counter(datagram)))
        assert len(alice._partners) <= 3
        assert len(alice._visitors) <= 3


def test_to_oneself_too() -> None:
    """Somebody names our own address as a bootstrap node: question and answer share one direction."""
    alice = sealer(ALICE)
    datagrams = [speak(ALICE.public, 0, b"") for speak in (alice.seal, alice.reply, alice.seal)]
    assert len(set(map(_counter, datagrams))) == 3
    assert all(opens(alice, datagram) for datagram in datagrams)


def test_a_flood_of_strangers_drops_no_partner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagram_module, "AGREEMENTS_MAX", 10)
    bob = sealer(BOB)
    partners = [NodeKey(bytes([1, n]) * 16) for n in range(10)]
    said = [sealer(key).seal(BOB.public, 0, b"") for key in partners]
    for key, datagram in zip(partners, said, strict=True):
        bob.seal(key.public, 0, b"")
        assert opens(bob, datagram)
    for n in range(100):
        stranger = NodeKey(bytes([2, n]) * 16)
        assert opens(bob, sealer(stranger).seal(BOB.public, 0, b""))
        bob.reply(NodeKey(bytes([3, n]) * 16).public, 0, b"")
    assert all(bob.knows(key.public) for key in partners)
    assert len(bob._visitors) == 10
    assert [bob.open(datagram) for datagram in said] == [None] * 10, "and what they said is still known"


def test_who_is_spoken_to_stops_being_a_visitor() -> None:
    alice, bob = sealer(ALICE), sealer(BOB)
    said = alice.seal(BOB.public, 0, b"")
    assert opens(bob, said)
    counters = [_counter(bob.reply(ALICE.public, 1, b"")), _counter(bob.seal(ALICE.public, 0, b""))]
    assert counters == [0, 1]
    assert bob.open(said) is None
    assert (len(bob._partners), len(bob._visitors)) == (1, 0)
