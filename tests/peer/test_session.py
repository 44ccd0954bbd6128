"""Goal: nobody gets a link in somebody else's name. Method: two machines joined by hand, an attacker in between.

Each attack is a test of its own, and each fails when the check that stops it is taken out. What is quoted is design.md,
"Links between peers".
"""

import hashlib
import random
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from dhtchat.crypto.identity import SigningKey
from dhtchat.errors import MalformedMessage, ProofRefused
from dhtchat.ids import DeviceId, PeerId
from dhtchat.limits import KEEPALIVE_TICKS, LINK_VERSION, NONCE_BYTES
from dhtchat.parameters import MAIN, SIM
from dhtchat.peer.link_limits import LinkLimits
from dhtchat.peer.messages import (
    AnyMessage,
    Bye,
    ClientProof,
    Hello,
    Ping,
    Pong,
    ServerProof,
    Tell,
    Welcome,
    decode,
    encode,
)
from dhtchat.peer.session import (
    CLIENT_PURPOSE,
    SERVER_PURPOSE,
    Answered,
    ClientSession,
    Heard,
    KeepAlive,
    Left,
    Opened,
    Outcome,
    Proved,
    Reply,
    ServerSession,
    State,
)
from dhtchat.records.device import Author
from tests.peer.fakes import Person, certify, unframe
from tests.peer.samples import ONE_OF_EACH, TALK

_source = random.Random(20)
ALICE = Person("alice", _source)
BOB = Person("bob", _source)
MALLORY = Person("mallory", _source)
BOB_TLS = b"DER of bob's TLS certificate"
MALLORY_TLS = b"DER of mallory's TLS certificate"
NONCE_A = b"a" * NONCE_BYTES
NONCE_B = b"b" * NONCE_BYTES
NONCE_C = b"c" * NONCE_BYTES


def reply(outcome: Outcome) -> bytes:
    """What a session said in answer, as it goes on the wire."""
    assert isinstance(outcome, Reply)
    return outcome.wire


def open_pair() -> tuple[ClientSession, ServerSession]:
    """Alice has dialled Bob, undisturbed, at time 0."""
    client, server = ALICE.client(NONCE_A), BOB.server(NONCE_B, BOB_TLS)
    server_proof = reply(server.receive(unframe(client.start(BOB_TLS)), 0.0))
    client.receive(unframe(server_proof), 0.0)
    server.receive(unframe(client.prove()), 0.0)
    confirm(client, server)
    return client, server


def confirm(client: ClientSession, server: ServerSession) -> None:
    """From the proofs to an open link."""
    opened = client.receive(unframe(server.welcome(0.0)), 0.0)
    assert isinstance(opened, Opened)
    pong = server.receive(unframe(opened.wire), 0.0)
    assert isinstance(client.receive(unframe(reply(pong)), 0.0), Answered)


# --- the proof --------------------------------------------------------------------------------------------------------


def test_both_sides_learn_who_the_other_is() -> None:
    client = ALICE.client(NONCE_A, expected_device=BOB.device, expected_peer=BOB.peer)
    server = BOB.server(NONCE_B, BOB_TLS)
    proof = reply(server.receive(unframe(client.start(BOB_TLS)), 0.0))
    seen_by_client = client.receive(unframe(proof), 0.0)
    seen_by_server = server.receive(unframe(client.prove()), 0.0)
    assert isinstance(seen_by_client, Proved)
    assert isinstance(seen_by_server, Proved)
    for seen, person in ((seen_by_client, BOB), (seen_by_server, ALICE)):
        assert (seen.author.peer, seen.author.device, seen.author.name) == (person.peer, person.device, person.name)
    # "Nothing counts as sent before `welcome`."
    assert (client.state, server.state) == (State.PROOF_SENT, State.CLIENT_PROVED)
    opened = client.receive(unframe(server.welcome(0.0)), 0.0)
    assert isinstance(opened, Opened)
    assert (client.state, server.state) == (State.OPEN, State.WELCOMED)
    # Nor before the client's first word.
    with pytest.raises(ValueError, match="nothing can be said before the client's first word"):
        server.say(Tell(b"x"))
    server.receive(unframe(opened.wire), 0.0)
    assert (client.state, server.state) == (State.OPEN, State.OPEN)


def test_what_is_signed_is_what_design_md_says() -> None:
    """ "T = SHA-256(server certificate DER || all frames so far, exact bytes)", written out without our own code."""
    client, server = ALICE.client(NONCE_A), BOB.server(NONCE_B, BOB_TLS)
    hello = client.start(BOB_TLS)
    server_proof = reply(server.receive(unframe(hello), 0.0))
    client.receive(unframe(server_proof), 0.0)
    client_proof = client.prove()

    by_server, by_client = decode(unframe(server_proof)), decode(unframe(client_proof))
    assert isinstance(by_server, ServerProof)
    assert isinstance(by_client, ClientProof)
    t = hashlib.sha256(BOB_TLS + hello).digest()
    Ed25519PublicKey.from_public_bytes(BOB.device).verify(
        by_server.signature, b"dhtchat/link-server/v1\0" + SIM.network_id + t
    )
    t = hashlib.sha256(BOB_TLS + hello + server_proof).digest()
    Ed25519PublicKey.from_public_bytes(ALICE.device).verify(
        by_client.signature, b"dhtchat/link-client/v1\0" + SIM.network_id + t + BOB.device
    )


def test_the_hello_says_nothing_about_the_caller() -> None:
    hello = ALICE.client(NONCE_A).start(BOB_TLS)
    for secret in (ALICE.peer, ALICE.device, ALICE.certificate, ALICE.name.encode()):
        assert secret not in hello


# --- attacks ----------------------------------------------------------------------------------------------------------


def test_a_man_in_the_middle_with_his_own_certificate_gets_nothing_from_the_client() -> None:
    """ "Someone in the middle has another certificate": Alice sees Mallory's, Bob has his own, the frames are Bob's."""
    client, server = ALICE.client(NONCE_A, expected_device=BOB.device), BOB.server(NONCE_B, BOB_TLS)
    proof = reply(server.receive(unframe(client.start(MALLORY_TLS)), 0.0))
    with pytest.raises(ProofRefused, match="does not hold on this channel"):
        client.receive(unframe(proof), 0.0)


class Credulous(ClientSession):
    """Believes any server, so that only the server's own checks are left."""

    def _judge(self, proof: ServerProof) -> Author:
        return self._open_certificate(proof.certificate)


def test_a_man_in_the_middle_with_his_own_certificate_gets_nothing_from_the_server() -> None:
    """The same with a client that signs whatever it is shown: Bob's own check must stop it."""
    client = Credulous(network_id=SIM.network_id, key=ALICE.key, certificate=ALICE.certificate, nonce=NONCE_A)
    server = BOB.server(NONCE_B, BOB_TLS)
    client.receive(unframe(reply(server.receive(unframe(client.start(MALLORY_TLS)), 0.0))), 0.0)
    with pytest.raises(ProofRefused, match="does not hold on this channel"):
        server.receive(unframe(client.prove()), 0.0)


def test_a_proof_cannot_be_reflected() -> None:
    """ "A reflected proof [has] the wrong role": what the server signed comes back as the client's."""
    server = BOB.server(NONCE_B, BOB_TLS)
    hello = ALICE.client(NONCE_A).start(BOB_TLS)
    proof = decode(unframe(reply(server.receive(unframe(hello), 0.0))))
    assert isinstance(proof, ServerProof)
    with pytest.raises(ProofRefused, match="oneself"):
        server.receive(encode(ClientProof(proof.certificate, proof.signature)), 0.0)


def test_the_two_roles_sign_under_two_labels() -> None:
    """The same, were it not for the refusal to link to oneself: a signature for one role is none for the other."""
    client = ALICE.client(NONCE_A)
    t = hashlib.sha256(BOB_TLS + client.start(BOB_TLS)).digest()
    signature = BOB.key.sign(CLIENT_PURPOSE, SIM.network_id, t)
    with pytest.raises(ProofRefused, match="does not hold on this channel"):
        client.receive(encode(ServerProof(BOB.certificate, NONCE_B, signature)), 0.0)

    server = BOB.server(NONCE_B, BOB_TLS)
    hello = ALICE.client(NONCE_A).start(BOB_TLS)
    proof = reply(server.receive(unframe(hello), 0.0))
    t = hashlib.sha256(BOB_TLS + hello + proof).digest()
    signature = ALICE.key.sign(SERVER_PURPOSE, SIM.network_id, t + BOB.device)
    with pytest.raises(ProofRefused, match="does not hold on this channel"):
        server.receive(encode(ClientProof(ALICE.certificate, signature)), 0.0)


def test_a_recorded_client_proof_is_worthless() -> None:
    """ "A replayed one [has] the wrong nonces": the server's, in this case."""
    client, server = ALICE.client(NONCE_A), BOB.server(NONCE_B, BOB_TLS)
    hello = client.start(BOB_TLS)
    client.receive(unframe(reply(server.receive(unframe(hello), 0.0))), 0.0)
    recorded = client.prove()
    assert isinstance(server.receive(unframe(recorded), 0.0), Proved)

    again = BOB.server(NONCE_C, BOB_TLS)
    again.receive(unframe(hello), 0.0)
    with pytest.raises(ProofRefused, match="does not hold on this channel"):
        again.receive(unframe(recorded), 0.0)


def test_a_recorded_server_proof_is_worthless() -> None:
    """The client's nonce is another one: even who has stolen Bob's TLS key cannot use an old proof of his device."""
    recorded = reply(BOB.server(NONCE_B, BOB_TLS).receive(unframe(ALICE.client(NONCE_A).start(BOB_TLS)), 0.0))
    again = ALICE.client(NONCE_C)
    again.start(BOB_TLS)
    with pytest.raises(ProofRefused, match="does not hold on this channel"):
        again.receive(unframe(recorded), 0.0)


def test_a_peer_cannot_pass_on_somebody_elses_server_proof() -> None:
    """Alice dials Mallory, who is a peer like any other; Mallory dials Bob with Alice's hello and hands her his proof."""
    client, server = ALICE.client(NONCE_A), BOB.server(NONCE_B, BOB_TLS)
    proof = reply(server.receive(unframe(client.start(MALLORY_TLS)), 0.0))
    with pytest.raises(ProofRefused, match="does not hold on this channel"):
        client.receive(unframe(proof), 0.0)


@pytest.mark.parametrize("tls_certificate", [MALLORY_TLS, BOB_TLS], ids=["own certificate", "stolen TLS key"])
def test_a_peer_cannot_pass_on_a_proof_that_was_made_for_it(tls_certificate: bytes) -> None:
    """ "A forwarded one [has] the wrong server key": Alice proves herself to Mallory, who uses that proof with Bob.

    Mallory shows Alice her own certificate or even Bob's, and Bob's nonce.
    """
    at_bob = BOB.server(NONCE_B, BOB_TLS)
    client, at_mallory = ALICE.client(NONCE_A), MALLORY.server(NONCE_B, tls_certificate)
    hello = client.start(tls_certificate)
    at_bob.receive(unframe(hello), 0.0)
    client.receive(unframe(reply(at_mallory.receive(unframe(hello), 0.0))), 0.0)
    made_for_mallory = client.prove()
    with pytest.raises(ProofRefused, match="does not hold on this channel"):
        at_bob.receive(unframe(made_for_mallory), 0.0)


def test_a_client_proof_names_the_server_it_is_for() -> None:
    """The transcript alone, without the server's device key behind it, or with another one, is not enough."""
    for behind in (b"", MALLORY.device):
        server = BOB.server(NONCE_B, BOB_TLS)
        hello = ALICE.client(NONCE_A).start(BOB_TLS)
        proof = reply(server.receive(unframe(hello), 0.0))
        t = hashlib.sha256(BOB_TLS + hello + proof).digest()
        signature = ALICE.key.sign(CLIENT_PURPOSE, SIM.network_id, t + behind)
        with pytest.raises(ProofRefused, match="does not hold on this channel"):
            server.receive(encode(ClientProof(ALICE.certificate, signature)), 0.0)


@pytest.mark.parametrize("expected", ["device", "peer"])
def test_a_client_that_meets_somebody_else_leaves_without_a_word(expected: str) -> None:
    """ "The client checks, and leaves if it expected somebody else." """
    other_device = Person("bob", random.Random(1), identity=BOB.identity)
    wanted: dict[str, bytes] = (
        {"expected_device": other_device.device} if expected == "device" else {"expected_peer": ALICE.peer}
    )
    client, server = ALICE.client(NONCE_A, **wanted), BOB.server(NONCE_B, BOB_TLS)
    proof = reply(server.receive(unframe(client.start(BOB_TLS)), 0.0))
    with pytest.raises(ProofRefused, match=r"another (device|identity)"):
        client.receive(unframe(proof), 0.0)
    with pytest.raises(ValueError, match="no proof"):
        client.prove()


def test_a_link_to_oneself_is_refused_by_both_roles() -> None:
    client, server = BOB.client(NONCE_A), BOB.server(NONCE_B, BOB_TLS)
    hello = client.start(BOB_TLS)
    proof = reply(server.receive(unframe(hello), 0.0))
    with pytest.raises(ProofRefused, match="oneself"):
        client.receive(unframe(proof), 0.0)
    t = hashlib.sha256(BOB_TLS + hello + proof).digest()
    signature = BOB.key.sign(CLIENT_PURPOSE, SIM.network_id, t + BOB.device)
    with pytest.raises(ProofRefused, match="oneself"):
        server.receive(encode(ClientProof(BOB.certificate, signature)), 0.0)


def test_another_device_of_the_same_person_is_another_end() -> None:
    second = Person("bob", random.Random(1), identity=BOB.identity)
    client, server = second.client(NONCE_A), BOB.server(NONCE_B, BOB_TLS)
    client.receive(unframe(reply(server.receive(unframe(client.start(BOB_TLS)), 0.0))), 0.0)
    seen = server.receive(unframe(client.prove()), 0.0)
    assert isinstance(seen, Proved)
    assert (seen.author.peer, seen.author.device) == (BOB.peer, second.device)


def bad_certificates() -> dict[str, bytes]:
    """Certificates that Mallory can show, none of which makes her device anybody's but hers."""
    raw = bytearray(ALICE.certificate)
    raw[-1] ^= 1
    return {
        "of alice's device": ALICE.certificate,
        "of alice for mallory, signed by mallory": certify(MALLORY.identity, ALICE.key.public, "mallory"),
        "with a broken signature": bytes(raw),
        "of another network": certify(MALLORY.identity, MALLORY.key.public, "mallory", MAIN.network_id),
        "that is none": b"certificate",
        "that is empty": b"",
    }


@pytest.mark.parametrize("which", bad_certificates())
def test_a_certificate_that_is_not_ones_own_is_refused(which: str) -> None:
    certificate = bad_certificates()[which]
    client, server = BOB.client(NONCE_A), MALLORY.server(NONCE_B, MALLORY_TLS, certificate=certificate)
    proof = reply(server.receive(unframe(client.start(MALLORY_TLS)), 0.0))
    with pytest.raises(ProofRefused):
        client.receive(unframe(proof), 0.0)

    client, server = MALLORY.client(NONCE_A, certificate=certificate), BOB.server(NONCE_B, BOB_TLS)
    client.receive(unframe(reply(server.receive(unframe(client.start(BOB_TLS)), 0.0))), 0.0)
    with pytest.raises(ProofRefused):
        server.receive(unframe(client.prove()), 0.0)


def test_another_network_is_refused() -> None:
    client = ALICE.client(NONCE_A, network_id=MAIN.network_id)
    with pytest.raises(ProofRefused, match="another network"):
        BOB.server(NONCE_B, BOB_TLS).receive(unframe(client.start(BOB_TLS)), 0.0)


def test_a_server_of_another_network_cannot_hide_it() -> None:
    """It accepts our hello; its certificate and its signature are still of its own network."""
    client = ALICE.client(NONCE_A)
    hello = client.start(BOB_TLS)
    signature = BOB.key.sign(SERVER_PURPOSE, MAIN.network_id, hashlib.sha256(BOB_TLS + hello).digest())
    with pytest.raises(ProofRefused):
        client.receive(encode(ServerProof(BOB.certificate, NONCE_B, signature)), 0.0)


def test_another_version_is_refused() -> None:
    hello = encode(Hello(LINK_VERSION + 1, SIM.network_id, NONCE_A))
    with pytest.raises(ProofRefused, match="version 2"):
        BOB.server(NONCE_B, BOB_TLS).receive(hello, 0.0)


@given(st.sampled_from(["hello", "server-proof", "client-proof"]), st.integers(0, 10_000), st.integers(0, 7))
@settings(max_examples=300)
def test_one_bit_changed_on_the_way_and_there_is_no_link(which: str, place: int, bit: int) -> None:
    def pass_on(name: str, wire: bytes) -> bytes:
        message = bytearray(unframe(wire))
        if name == which:
            message[place % len(message)] ^= 1 << bit
        return bytes(message)

    def shake_hands() -> None:
        client, server = ALICE.client(NONCE_A), BOB.server(NONCE_B, BOB_TLS)
        proof = reply(server.receive(pass_on("hello", client.start(BOB_TLS)), 0.0))
        client.receive(pass_on("server-proof", proof), 0.0)
        server.receive(pass_on("client-proof", client.prove()), 0.0)

    with pytest.raises((ProofRefused, MalformedMessage)):
        shake_hands()


# --- states -----------------------------------------------------------------------------------------------------------

CLIENT_STATES = (State.AWAITING_SERVER, State.SERVER_PROVED, State.PROOF_SENT, State.OPEN, State.LEAVING, State.OVER)
SERVER_STATES = (
    State.AWAITING_HELLO,
    State.AWAITING_CLIENT,
    State.CLIENT_PROVED,
    State.OPEN,
    State.LEAVING,
    State.OVER,
)


def client_in(state: State) -> ClientSession:
    """Alice's session with Bob, brought to a state."""
    client, server = ALICE.client(NONCE_A), BOB.server(NONCE_B, BOB_TLS)
    hello = client.start(BOB_TLS)
    if state is not State.AWAITING_SERVER:
        client.receive(unframe(reply(server.receive(unframe(hello), 0.0))), 0.0)
    if state not in (State.AWAITING_SERVER, State.SERVER_PROVED):
        server.receive(unframe(client.prove()), 0.0)
    if state in (State.OPEN, State.LEAVING, State.OVER):
        confirm(client, server)
    finish(client, state)
    return client


def server_in(state: State) -> ServerSession:
    """Bob's session with Alice, brought to a state."""
    client, server = ALICE.client(NONCE_A), BOB.server(NONCE_B, BOB_TLS)
    if state is not State.AWAITING_HELLO:
        client.receive(unframe(reply(server.receive(unframe(client.start(BOB_TLS)), 0.0))), 0.0)
    if state not in (State.AWAITING_HELLO, State.AWAITING_CLIENT):
        server.receive(unframe(client.prove()), 0.0)
    if state is State.WELCOMED:
        server.welcome(0.0)
    if state in (State.OPEN, State.LEAVING, State.OVER):
        confirm(client, server)
    finish(server, state)
    return server


def finish(session: ClientSession | ServerSession, state: State) -> None:
    if state is State.LEAVING:
        session.leave("leaving")
    elif state is State.OVER:
        session.receive(encode(Bye("leaving")), 0.0)
    assert session.state is state


def session_in(role: str, state: State) -> ClientSession | ServerSession:
    return client_in(state) if role == "client" else server_in(state)


ROLES_AND_STATES = [("client", state) for state in CLIENT_STATES] + [("server", state) for state in SERVER_STATES]
_TALK_KINDS = {type(message).__name__: Heard for message in TALK}
ALLOWED: dict[State, dict[str, type]] = {
    # What `ONE_OF_EACH` may do where. (Its proofs do not hold; that right ones are taken is tested above.)
    State.AWAITING_HELLO: {},
    State.PROOF_SENT: {"Welcome": Opened},
    State.WELCOMED: {"Ping": Reply, **_TALK_KINDS},
    State.OPEN: {"Ping": Reply, **_TALK_KINDS},
    State.LEAVING: {"Ping": type(None), **_TALK_KINDS},
}


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("role, state", ROLES_AND_STATES)
def test_each_message_is_allowed_only_where_the_table_says(role: str, state: State, message: AnyMessage) -> None:
    session = session_in(role, state)
    kind = type(message).__name__
    allowed = {"Bye": Left, **ALLOWED.get(state, {})} if state is not State.OVER else {}
    if kind in allowed:
        assert isinstance(session.receive(encode(message), 0.0), allowed[kind])
        return
    with pytest.raises((MalformedMessage, ProofRefused)):
        session.receive(encode(message), 0.0)
    # "Anything after failure": not even what would have been right.
    for right in (Bye("leaving"), Tell(b"x"), Welcome()):
        with pytest.raises(MalformedMessage, match="after the end"):
            session.receive(encode(right), 0.0)


def test_a_second_hello_is_refused() -> None:
    server = server_in(State.AWAITING_CLIENT)
    with pytest.raises(MalformedMessage, match="a Hello before the client's proof"):
        server.receive(encode(Hello(LINK_VERSION, SIM.network_id, NONCE_A)), 0.0)


def test_a_proof_before_the_hello_is_refused() -> None:
    proof = unframe(client_in(State.SERVER_PROVED).prove())
    with pytest.raises(MalformedMessage, match="a ClientProof before the hello"):
        BOB.server(NONCE_B, BOB_TLS).receive(proof, 0.0)


def test_we_say_nothing_where_it_does_not_belong() -> None:
    """Our own mistakes are `ValueError`, never a frame."""
    for role, state in ROLES_AND_STATES:
        if state is not State.OPEN:
            with pytest.raises(ValueError, match="nothing can be said"):
                session_in(role, state).say(Tell(b"x"))
        if state is not State.SERVER_PROVED and role == "client":
            with pytest.raises(ValueError, match="no proof"):
                client_in(state).prove()
        if state is not State.CLIENT_PROVED and role == "server":
            with pytest.raises(ValueError, match="nobody to welcome"):
                server_in(state).welcome(0.0)
    with pytest.raises(ValueError, match="starts once"):
        client_in(State.OPEN).start(BOB_TLS)
    for message in (Ping(1), Pong(1), Bye("leaving"), Welcome()):
        with pytest.raises(ValueError, match="the session's to send"):
            client_in(State.OPEN).say(message)


messages = st.sampled_from([encode(message) for message in ONE_OF_EACH])
proof_like = st.builds(
    lambda certificate, signature, server: encode(
        ServerProof(certificate, NONCE_C, signature) if server else ClientProof(certificate, signature)
    ),
    st.sampled_from([ALICE.certificate, BOB.certificate, MALLORY.certificate]),
    st.binary(min_size=64, max_size=64),
    st.booleans(),
)


@given(
    st.sampled_from(ROLES_AND_STATES),
    st.lists(st.binary(min_size=1, max_size=100) | messages | proof_like, min_size=1, max_size=8),
)
@settings(max_examples=500)
def test_whatever_comes_only_two_errors_leave_the_session(
    role_and_state: tuple[str, State], frames: list[bytes]
) -> None:
    session = session_in(*role_and_state)
    was_open = session.state in (State.WELCOMED, State.OPEN, State.LEAVING)
    for message_bytes in frames:
        try:
            outcome = session.receive(message_bytes, 0.0)
        except (MalformedMessage, ProofRefused):
            assert session.state is State.OVER
        else:
            # Random bytes prove nothing: who was not proved yet is not now.
            assert not isinstance(outcome, Proved)
            assert was_open or not isinstance(outcome, Heard) or session.state is State.OPEN


# --- goodbye and keep-alive -------------------------------------------------------------------------------------------

LIMITS = LinkLimits()
HALF_TICK_S = LIMITS.keepalive_interval_s / KEEPALIVE_TICKS / 2


def test_who_says_goodbye_still_hears_what_was_under_way() -> None:
    client, server = open_pair()
    said = [server.say(Tell(b"one")), server.say(Tell(b"two"))]
    assert server.receive(unframe(client.leave("leaving")), 1.0) == Left("leaving")
    assert [client.receive(unframe(wire), 1.0) for wire in said] == [Heard(Tell(b"one")), Heard(Tell(b"two"))]
    assert client.receive(encode(Bye("leaving")), 1.0) == Left("leaving")
    assert (client.state, server.state) == (State.OVER, State.OVER)


def test_a_quiet_link_is_pinged_and_stays() -> None:
    client, server = open_pair()
    now = 0.0
    for _ in range(50):
        now = client.due_at
        ping = client.on_timer(now, listening=True)
        assert ping is not None
        pong = reply(server.receive(unframe(ping), now))
        server.heard(now)
        client.heard(now)
        assert isinstance(client.receive(unframe(pong), now), Answered)
        assert server.on_timer(now, listening=True) is None  # who is pinged need not ping
    assert now == pytest.approx(50 * LIMITS.keepalive_interval_s, abs=HALF_TICK_S)


@pytest.mark.parametrize("dialled_s", [0.3, 1.9, 5.5])
def test_the_links_of_a_device_wake_it_up_together(dialled_s: float) -> None:
    """Must-show 7: eight links that came up at different times are looked at in one turn of the loop, not in eight."""
    first, other = KeepAlive(LIMITS, 0.0, phase=0.4), KeepAlive(LIMITS, dialled_s, phase=0.4)
    apart = (other.due_at - first.due_at) / (2 * HALF_TICK_S)
    assert apart == pytest.approx(round(apart))
    assert other.due_at == pytest.approx(dialled_s + LIMITS.keepalive_interval_s, abs=HALF_TICK_S)


def test_who_was_dialled_asks_only_when_the_other_does_not() -> None:
    """Were both to ask after the same silence, they would do it at the same moment, and each answer the other."""
    client, server = open_pair()
    assert server.on_timer(client.due_at + 2 * HALF_TICK_S, listening=True) is None
    assert server.on_timer(server.due_at, listening=True) is not None
    assert server.due_at == pytest.approx(LIMITS.keepalive_timeout_s), "and still knows in time that nobody is there"


def test_a_silent_link_is_dead_after_the_timeout_and_was_asked_before() -> None:
    client, _ = open_pair()
    for asked in range(1, 3):
        assert client.due_at == pytest.approx(asked * LIMITS.keepalive_interval_s, abs=HALF_TICK_S)
        assert client.on_timer(client.due_at, listening=True) is not None
    assert client.due_at == LIMITS.keepalive_timeout_s
    with pytest.raises(TimeoutError, match="nothing heard for 20 s"):
        client.on_timer(client.due_at, listening=True)
    assert client.state is State.OVER


@given(st.lists(st.floats(0.0, LIMITS.keepalive_interval_s - HALF_TICK_S - 0.1), min_size=1, max_size=20))
def test_a_busy_link_is_neither_pinged_nor_dead(gaps: list[float]) -> None:
    client, _ = open_pair()
    now = 0.0
    for gap in gaps:
        now += gap
        assert client.on_timer(now, listening=True) is None
        client.heard(now)
        assert client.due_at > now


def test_who_does_not_listen_declares_nobody_dead_but_shows_signs_of_life() -> None:
    """A handler of ours that is slow for minutes says nothing about the other side, which must not give us up."""
    client, _ = open_pair()
    pings = 0
    while client.due_at < 300.0:
        pings += client.on_timer(client.due_at, listening=False) is not None
    assert abs(pings - 300 // LIMITS.keepalive_interval_s) <= 1
    assert client.state is State.OPEN


def test_a_pong_answers_a_ping_of_ours_and_only_once() -> None:
    client, server = open_pair()
    pings = [client.ping(1.0) for _ in range(3)]
    [_, (second, token), _] = pings
    pong = reply(server.receive(unframe(second), 1.0))
    assert client.receive(unframe(pong), 1.0) == Answered(token)  # the first one's was dropped, and is not missed
    with pytest.raises(MalformedMessage, match="no ping of ours"):
        client.receive(unframe(pong), 1.0)


@pytest.mark.parametrize("token", [0, 1, 2**32 - 1])
def test_a_pong_nobody_asked_for_is_malformed(token: int) -> None:
    client, _ = open_pair()
    with pytest.raises(MalformedMessage, match="no ping of ours"):
        client.receive(encode(Pong(token)), 0.0)


def test_the_limits_can_be_shorter() -> None:
    short = replace(LIMITS, keepalive_interval_s=0.1, keepalive_timeout_s=0.3)
    client = ALICE.client(NONCE_A, limits=short)
    server = BOB.server(NONCE_B, BOB_TLS)
    client.receive(unframe(reply(server.receive(unframe(client.start(BOB_TLS)), 0.0))), 0.0)
    server.receive(unframe(client.prove()), 0.0)
    client.receive(unframe(server.welcome(0.0)), 5.0)
    assert client.due_at == pytest.approx(5.1, abs=0.1 / KEEPALIVE_TICKS / 2)


def test_keys_of_the_wrong_kind_are_no_peers() -> None:
    """A certificate whose keys are no points of the curve: refused, not raised."""
    weird = certify(SigningKey.generate(random.Random(3)), b"\xff" * 32, "weird")
    client = ALICE.client(NONCE_A, expected_device=DeviceId(b"\xff" * 32), expected_peer=PeerId(b"\xff" * 32))
    client.start(BOB_TLS)
    with pytest.raises(ProofRefused):
        client.receive(encode(ServerProof(weird, NONCE_B, bytes(64))), 0.0)
