"""Identifiers: one form of each name, and what is typed or sent that is none is refused with the right error."""

import ipaddress
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dhtchat.errors import BadName, BadUsage
from dhtchat.ids import (
    Endpoint,
    Login,
    NodeAddress,
    distance,
    fingerprint,
    fold_name,
    fold_room,
    is_folded_name,
    is_folded_room,
    is_ip_address,
    labelled_hash,
    node_id_of,
    parse_endpoint,
    parse_login,
    parse_node_address,
    parse_node_key,
    print_node_key,
)
from dhtchat.limits import NAME_CHARACTERS_MAX, RESERVED_NAMES, ROOM_NAME_CHARACTERS_MAX

# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("alice", "alice"),
        ("Alice", "alice"),
        ("ALICE_b-2", "alice_b-2"),
        ("  alice\n", "alice"),
        ("ａｌｉｃｅ", "alice"),  # full-width
        ("ⓐⓛⓘⓒⓔ", "alice"),  # circled
        ("ﬁona", "fiona"),  # a ligature
        ("bob²", "bob2"),
        ("\u212aim", "kim"),  # the Kelvin sign
        ("abc", "abc"),
        ("a" * NAME_CHARACTERS_MAX, "a" * NAME_CHARACTERS_MAX),
        ("-_-", "-_-"),
    ],
)
def test_a_name_folds_to_its_one_form(typed: str, name: str) -> None:
    """Names: 3-24 of `a-z 0-9 _ -`, after NFKC and lower-casing."""
    assert fold_name(typed) == name
    assert is_folded_name(name)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ab",
        "   ab   ",
        "a" * (NAME_CHARACTERS_MAX + 1),
        "al ice",
        "al\tice",
        "al\u200bice",  # a zero-width space
        "al\u00adice",  # a soft hyphen
        "alice\u202e",
        "alice\0",
        "аlice",  # a Cyrillic а
        "αlice",
        "alıce",  # a dotless ı
        "İlker",  # lower-cased it has a combining dot
        "straße",
        "älice",
        "alice!",
        "alice#abcd",
        "al.ice",
        "../alice",
        "a/b",
        "alice@home",
        "\udcff\udcfe\udcfd",
        "ab\ufdfa",  # one character that NFKC makes eighteen
    ],
)
def test_a_name_with_anything_else_in_it_is_refused(typed: str) -> None:
    """Refused if anything odd remains: look-alikes from other scripts, blanks, invisible and control characters."""
    with pytest.raises(BadName) as caught:
        fold_name(typed)
    assert str(caught.value).isprintable()
    assert not is_folded_name(typed)


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_reserved_names_are_nobodys(name: str) -> None:
    """In any spelling; and a record that claims one is refused as well."""
    for typed in (name, name.upper(), f" {name} ", name.translate(dict(zip(map(ord, "ao"), "ａｏ", strict=True)))):
        with pytest.raises(BadName, match="reserved"):
            fold_name(typed)
    assert not is_folded_name(name)


@settings(max_examples=500)
@given(typed=st.text(max_size=40) | st.text(string.ascii_letters + string.digits + "_-ﬁⓐ²", max_size=30))
@example(typed="ﬁﬁﬁ")
@example(typed="ǅabc")
def test_folding_twice_is_folding_once(typed: str) -> None:
    """What folding gives is the one form, recognised as such by those who only check; what it refuses is refused."""
    try:
        name = fold_name(typed)
    except BadName:
        assert not is_folded_name(typed)
        return
    assert fold_name(name) == name
    assert is_folded_name(name)
    assert is_folded_name(typed) == (typed == name)


@pytest.mark.parametrize(
    ("typed", "room"),
    [
        ("#lobby", "#lobby"),
        ("#Lobby", "#lobby"),
        (" #lobby ", "#lobby"),
        ("＃ｌｏｂｂｙ", "#lobby"),
        ("#1", "#1"),
        ("#" + "r" * ROOM_NAME_CHARACTERS_MAX, "#" + "r" * ROOM_NAME_CHARACTERS_MAX),
        ("#root", "#root"),  # reserved are the names of users only
    ],
)
def test_a_room_folds_to_its_one_form(typed: str, room: str) -> None:
    """Rooms: `#` and 1-31 of the same."""
    assert fold_room(typed) == room
    assert is_folded_room(room)


@pytest.mark.parametrize(
    "typed", ["", "#", "lobby", "##lobby", "# lobby", "#lob by", "#löbby", "#" + "r" * 32, "#lobby\u200b", "#а"]
)
def test_what_is_no_room_is_refused(typed: str) -> None:
    """Without its mark, too long, or with anything else in it."""
    with pytest.raises(BadName):
        fold_room(typed)
    assert not is_folded_room(typed)


@given(typed=st.text(max_size=40) | st.text("#aBz09_-ﬁ＃", max_size=34))
def test_folding_a_room_twice_is_folding_once(typed: str) -> None:
    """As for names."""
    try:
        room = fold_room(typed)
    except BadName:
        assert not is_folded_room(typed)
        return
    assert fold_room(room) == room
    assert is_folded_room(typed) == (typed == room)


# --- fingerprints and logins ------------------------------------------------------------------------------------------


def test_a_fingerprint_is_sixteen_characters_in_fours() -> None:
    """80 bits of base32: without 0, 1, 8 and 9, which people confuse."""
    printed = [fingerprint(bytes([number]) * 32) for number in range(50)]
    assert len(set(printed)) == 50
    for text in printed:
        assert [len(part) for part in text.split("-")] == [4, 4, 4, 4]
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyz234567-")


@pytest.mark.parametrize(
    ("typed", "login"),
    [
        ("alice", Login("alice", None)),
        (" Alice ", Login("alice", None)),
        ("alice#abcd-efgh-ijkl-mn23", Login("alice", "abcd-efgh-ijkl-mn23")),
        ("Alice#ABCDEFGHIJKLMN23", Login("alice", "abcd-efgh-ijkl-mn23")),
        (" alice#abcdefgh-ijklmn23 ", Login("alice", "abcd-efgh-ijkl-mn23")),
    ],
)
def test_a_login_is_a_name_and_perhaps_a_fingerprint(typed: str, login: Login) -> None:
    """Printed or compact, in any case: what `whois` shows can be typed."""
    assert parse_login(typed) == login


def test_a_printed_fingerprint_is_understood() -> None:
    """Round trip from a key to what is shown to what is typed."""
    shown = fingerprint(b"k" * 32)
    assert parse_login(f"alice#{shown}") == Login("alice", shown)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "#",
        "alice#",
        "alice#abcd",
        "alice#abcd-efgh-ijkl-mn2",
        "alice#abcd-efgh-ijkl-mn234",
        "alice#!!!!!!!!!!!!!!!!",
        "alice#abcd-efgh-ijkl-mn01",  # digits that base32 does not have
        "alice#ａｂｃｄefghijklmn23",
        "alice#abcd efgh ijkl mn",
        "alice##abcd-efgh-ijkl-mn2",
        "#abcd-efgh-ijkl-mn23",
        "root#abcd-efgh-ijkl-mn23",
    ],
)
def test_what_is_no_login_is_refused(typed: str) -> None:
    """A fingerprint that cannot exist is a typing error, not "no such account"."""
    with pytest.raises(BadName):
        parse_login(typed)


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("192.0.2.7:8468", Endpoint("192.0.2.7", 8468)),
        (" 192.0.2.7:1 ", Endpoint("192.0.2.7", 1)),
        ("localhost:65535", Endpoint("localhost", 65_535)),
        ("chat.example.org:8468", Endpoint("chat.example.org", 8468)),
        ("chat.example.org.:8468", Endpoint("chat.example.org.", 8468)),
        ("host_name-2:80", Endpoint("host_name-2", 80)),
        ("host:00080", Endpoint("host", 80)),
        ("[::1]:8468", Endpoint("::1", 8468)),
        ("[2001:db8::7]:8468", Endpoint("2001:db8::7", 8468)),
        ("[::ffff:192.0.2.7]:8468", Endpoint("::ffff:192.0.2.7", 8468)),
        ("[fe80::1%eth0]:8468", Endpoint("fe80::1%eth0", 8468)),
    ],
)
def test_an_address_is_host_and_port(text: str, endpoint: Endpoint) -> None:
    """`HOST:PORT`, `[IPv6]:PORT` (contract.md, "Commands"), and printing gives it back."""
    assert parse_endpoint(text) == endpoint
    assert parse_endpoint(str(endpoint)) == endpoint


BAD_ADDRESSES = [
    "",
    ":",
    ":8468",
    "192.0.2.7",
    "192.0.2.7:",
    "192.0.2.7:0",
    "192.0.2.7:65536",
    "192.0.2.7:-1",
    "192.0.2.7:+1",
    "192.0.2.7: 1",
    "192.0.2.7:8468x",
    "192.0.2.7:８４６８",
    "192.0.2.7:" + "9" * 5_000,
    "::1",
    "::1:8468",
    "2001:db8::7:8468",
    "[::1]",
    "[::1]8468",
    "[::1:8468",
    "::1]:8468",
    "[]:8468",
    "[localhost]:8468",
    "[192.0.2.7]:8468",
    "[::1%]:8468",
    "[::1%a b]:8468",
    "[:::1]:8468",
    "[[::1]]:8468",
    "http://host:8468",
    "user@host:8468",
    "ho st:8468",
    "host\0:8468",
    "host\x1b[31m:8468",
    "hôst:8468",
    ".:8468",
    "a..b:8468",
    ".host:8468",
    "a" * 64 + ":8468",
    "a." * 127 + ":8468",
    "host/path:8468",
]


@pytest.mark.parametrize("text", BAD_ADDRESSES, ids=lambda text: ascii(text[:24]))
def test_what_is_no_address_is_wrong_usage(text: str) -> None:
    """Said with an example of how to write it; the message shows no control character."""
    for parse in (parse_endpoint, parse_node_address):
        with pytest.raises(BadUsage) as caught:
            parse(text)
        assert caught.value.hint
        assert str(caught.value).isprintable()


@settings(max_examples=300)
@given(text=st.text(max_size=60) | st.text("[]:.%/0123456789abcdefxg-", max_size=60))
def test_any_text_is_an_address_or_wrong_usage(text: str) -> None:
    """No typed text raises anything else; what is understood prints as something that means the same."""
    try:
        address = parse_node_address(text)
    except BadUsage:
        return
    assert parse_node_address(str(address)) == address


KEY = bytes(range(32))


def test_a_node_key_is_printed_and_parsed() -> None:
    """52 letters and digits, in either case."""
    printed = print_node_key(KEY)
    assert len(printed) == 52
    assert printed == printed.lower()
    assert parse_node_key(printed) == parse_node_key(printed.upper()) == KEY


@pytest.mark.parametrize("address", ["192.0.2.7:8468", "[::1]:8468", "chat.example.org:8468"])
def test_a_bootstrap_address_may_pin_a_key(address: str) -> None:
    """`HOST:PORT/KEY`: what a bootstrap node prints can be given to `--bootstrap`."""
    pinned = parse_node_address(f"{address}/{print_node_key(KEY)}")
    assert pinned == NodeAddress(parse_endpoint(address), KEY)
    assert str(pinned) == f"{address}/{print_node_key(KEY)}"
    assert str(parse_node_address(address)) == address


@pytest.mark.parametrize(
    "key",
    [
        "",
        "a",
        print_node_key(KEY)[:-1],
        print_node_key(KEY) + "a",
        print_node_key(KEY)[:-1] + "b",  # the same bytes if the last bits are thrown away
        print_node_key(KEY)[:-1] + "1",
        print_node_key(KEY)[:-1] + "=",
        print_node_key(KEY).replace("a", "á"),
        "ı" * 52,
        "a" * 44 + "====" * 2,
    ],
)
def test_what_is_no_node_key_is_wrong_usage(key: str) -> None:
    """Every key has one spelling apart from case; another is a typing error."""
    with pytest.raises(BadUsage):
        parse_node_key(key)
    with pytest.raises(BadUsage):
        parse_node_address(f"192.0.2.7:8468/{key}")


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "192.0.2.7", "::", "::1", "2001:db8::7", "0000:0000:0000:0000:0000:ffff:255.255.255.255"]
)
def test_numeric_addresses_are_accepted_from_the_network(host: str) -> None:
    """All that `ipaddress` reads and that fits a record."""
    assert is_ip_address(host)


@pytest.mark.parametrize(
    "host",
    ["", "localhost", "example.org", "1", "127.1", "0x7f.0.0.1", "192.0.2.07", "１.2.3.4", "fe80::1%eth0", "[::1]"],
)
def test_nothing_else_is(host: str) -> None:
    """A stranger makes nobody resolve a name, nor guess at a notation."""
    assert not is_ip_address(host)


@given(address=st.ip_addresses())
def test_every_numeric_address_is_recognised(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """As Python prints it; with an interface behind it only when that is typed, never from the network."""
    assert is_ip_address(str(address)) == ("%" not in str(address))


# --- hashes and distances ---------------------------------------------------------------------------------------------


def test_labelled_hashes_do_not_run_together() -> None:
    """Moving a byte from one part to the next, or from label to part, is another hash."""
    hashes = [
        labelled_hash("key"),
        labelled_hash("key", b""),
        labelled_hash("key", b"ab"),
        labelled_hash("key", b"a", b"b"),
        labelled_hash("key", b"", b"ab"),
        labelled_hash("keya", b"b"),
        labelled_hash("other", b"ab"),
    ]
    assert len(set(hashes)) == len(hashes)


id_bytes = st.binary(min_size=20, max_size=20)


@given(a=id_bytes, b=id_bytes, c=id_bytes)
def test_distance_is_a_metric(a: bytes, b: bytes, c: bytes) -> None:
    """Kademlia paper (2002), §2.1: zero only for itself, symmetric, and the triangle inequality."""
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, b) == distance(b, a)
    assert distance(a, b) <= distance(a, c) + distance(c, b)


def test_a_node_id_comes_from_its_key() -> None:
    """160 bits; nobody chooses it but by choosing keys."""
    assert len(node_id_of(KEY)) == 20
    assert node_id_of(KEY) != node_id_of(KEY[::-1])
