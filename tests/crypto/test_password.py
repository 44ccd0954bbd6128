"""Passwords: what is good enough, what is said when it is not, and that they open what they sealed and nothing else."""

import random
import traceback

import pytest
from argon2.exceptions import HashingError

from dhtchat.crypto import password as module
from dhtchat.crypto.password import Kdf, check_policy, generate_phrase, lock_seed, normalise, unlock_seed
from dhtchat.errors import MalformedRecord, TooLittleMemory, WeakPassword, WrongPassword
from dhtchat.limits import PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN

CHEAP = Kdf(8, 1, 1)
SEED = b"s" * 32
SALT = b"0123456789abcdef"

# --- policy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "0 characters"),
        ("short", "5 characters"),
        ("x7!Qp#9zL", "9 characters"),
        ("ﬁﬁﬁﬁ", "8 characters"),  # counted as they are used: after NFKC
        ("password123", "too weak"),
        ("qwertyuiop", "too weak"),
        ("1234567890", "too weak"),
        ("aaaaaaaaaaaaaaaaaaaa", "repeats"),
        ("abcabcabcabcabc", "repeats"),
        ("letmein2024", "too weak"),
        ("dhtchatdhtchat", "too weak"),
        ("p@ssw0rd123", "too weak"),
        ("x" * (PASSWORD_CHARACTERS_MAX + 1), "longer than 1000"),
    ],
)
def test_a_weak_password_is_refused_with_reason_and_advice(password: str, why: str) -> None:
    """Promise of the contract: refused by policy, with advice. The advice never is the password itself."""
    with pytest.raises(WeakPassword, match=why) as caught:
        check_policy(password)
    assert caught.value.hint
    assert (caught.value.code, caught.value.exit_code) == ("weak-password", 6)


@pytest.mark.parametrize(
    "password", ["alice12345", "Alice-2024!", "alice_password", "ecila12345", "AlIcEaLiCeAlIcE", "4lice4lice4lice"]
)
def test_a_password_made_of_the_name_is_refused(password: str) -> None:
    """Whoever guesses knows the name: it adds nothing."""
    with pytest.raises(WeakPassword):
        check_policy(password, name="alice")


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "mokita-luberi-sapodu-venika",
        "vEry-0dd;Thing",
        "zażółć gęślą jaźń",
        "小さな青い自転車と赤い傘",
        "kettle.orbit.mango.7",
        "Xk9#mQ2$vL" * 100,
    ],
)
def test_a_good_password_passes(password: str) -> None:
    """Words that have nothing to do with each other, other scripts, and up to 1,000 characters."""
    check_policy(password, name="alice")


def test_a_name_inside_a_good_password_does_not_spoil_it() -> None:
    """What is left without the name is judged; here it is plenty."""
    check_policy("kettle.orbit.alice.mango.7", name="alice")


def test_generated_phrases_always_pass(seed: int) -> None:
    """What we offer, we accept: many phrases, with names that could get in their way."""
    source = random.Random(seed)
    phrases = [generate_phrase(source) for _ in range(150)]
    assert len(set(phrases)) == len(phrases)
    for phrase in phrases:
        check_policy(phrase, name=phrase[:3])


def test_the_advice_is_a_phrase_that_would_do() -> None:
    """The generated example in the hint is a fresh one each time, and passes."""
    offered = []
    for _ in range(2):
        with pytest.raises(WeakPassword) as caught:
            check_policy("password123")
        offered.append(caught.value.hint.rpartition(" ")[2])
    assert offered[0] != offered[1]
    for phrase in offered:
        check_policy(phrase)


@pytest.mark.parametrize("password", ["hunter2", "letmein2024", "alice-alice-77", "x" * 2_000])
def test_no_exception_shows_the_password(password: str) -> None:
    """Neither message nor hint nor repr, nor the traceback that a bug report would carry."""
    sealed = lock_seed(SEED, "mokita-luberi-sapodu-venika", salt=SALT, kdf=CHEAP, public=b"p")
    for attempt in (
        lambda: check_policy(password, name="alice"),
        lambda: unlock_seed(sealed, password, kdf=CHEAP, public=b"p"),
    ):
        with pytest.raises((WeakPassword, WrongPassword)) as caught:
            attempt()
        error = caught.value
        for text in (str(error), repr(error), error.hint, "".join(traceback.format_exception(error))):
            assert password not in text


# --- sealing ----------------------------------------------------------------------------------------------------------


def test_what_a_password_sealed_it_opens() -> None:
    """Round trip; also with parameters below argon2's own minimum of 8 KiB a lane."""
    for kdf in (CHEAP, Kdf(16, 2, 2), Kdf(8, 1, 4)):
        sealed = lock_seed(SEED, "pass word", salt=SALT, kdf=kdf, public=b"p")
        assert (len(sealed.salt), len(sealed.verifier), len(sealed.sealed_seed)) == (16, 32, 48)
        assert unlock_seed(sealed, "pass word", kdf=kdf, public=b"p") == SEED


def test_nfkc_passwords_are_one() -> None:
    """The same characters typed on another keyboard are the same password; another case is not."""
    assert normalise("ﬁ①é") == normalise("fi1e\u0301") == "fi1é"
    sealed = lock_seed(SEED, "caf\u00e9", salt=SALT, kdf=CHEAP, public=b"p")
    assert unlock_seed(sealed, "cafe\u0301", kdf=CHEAP, public=b"p") == SEED
    with pytest.raises(WrongPassword):
        unlock_seed(sealed, "CAF\u00c9", kdf=CHEAP, public=b"p")


def test_other_costs_are_another_key() -> None:
    """Parameters cannot be lowered beneath a seal to make guessing cheaper."""
    sealed = lock_seed(SEED, "pass word", salt=SALT, kdf=Kdf(64, 2, 1), public=b"p")
    for kdf in (Kdf(32, 2, 1), Kdf(64, 1, 1), Kdf(64, 2, 2)):
        with pytest.raises(WrongPassword):
            unlock_seed(sealed, "pass word", kdf=kdf, public=b"p")


def test_a_seal_bound_to_other_public_data_does_not_open() -> None:
    """The right password, and still: `MalformedRecord`, because somebody changed what is around the seal."""
    sealed = lock_seed(SEED, "pass word", salt=SALT, kdf=CHEAP, public=b"p")
    with pytest.raises(MalformedRecord):
        unlock_seed(sealed, "pass word", kdf=CHEAP, public=b"q")
    with pytest.raises(MalformedRecord):
        unlock_seed(sealed._replace(sealed_seed=bytes(48)), "pass word", kdf=CHEAP, public=b"p")


def test_an_undecodable_password_is_a_password() -> None:
    """Bytes of standard input that are no UTF-8 arrive as lone surrogates: they open what they sealed."""
    sealed = lock_seed(SEED, "caf\udce9 \udcff", salt=SALT, kdf=CHEAP, public=b"p")
    assert unlock_seed(sealed, "caf\udce9 \udcff", kdf=CHEAP, public=b"p") == SEED


def test_too_little_memory_is_said_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record may ask for up to 1 GiB: a machine without it says so instead of showing a traceback."""

    def fails(*_: object, **__: object) -> bytes:
        raise HashingError("Memory allocation error")

    monkeypatch.setattr(module, "hash_secret_raw", fails)
    with pytest.raises(TooLittleMemory, match="64 MiB"):
        lock_seed(SEED, "pass word", salt=SALT, kdf=Kdf(65_536, 3, 4), public=b"p")


def test_the_limits_leave_room_for_a_phrase() -> None:
    """A generated phrase is longer than the minimum."""
    assert len(generate_phrase(random.Random(1))) > PASSWORD_CHARACTERS_MIN
