"""The TLS side of a link: 1.3 only, our protocol only, no resumption, nothing left on disk."""

import random
import ssl
import tempfile
from pathlib import Path

import pytest
from cryptography import x509

from dhtchat.crypto.certificates import ALPN, TlsIdentity


def _handshake(
    client: ssl.SSLContext, server: ssl.SSLContext, *, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a TLS connection through memory, after the handshake and a byte each way."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, session=session)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [ours, theirs]
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    theirs.write(b"!")
    assert ours.read(1) == b"!"  # whatever follows a handshake, tickets for instance, has arrived now
    return ours, theirs


@pytest.fixture
def identity(rng: random.Random) -> TlsIdentity:
    return TlsIdentity(rng)


def test_two_of_us_speak_tls_1_3_and_our_protocol(identity: TlsIdentity) -> None:
    """design.md: "TLS 1.3 only [...], ALPN `dhtchat/1`"."""
    for end in _handshake(identity.client_context, identity.server_context):
        assert end.version() == "TLSv1.3"
        assert end.selected_alpn_protocol() == ALPN == "dhtchat/1"


def test_the_client_sees_the_certificate_that_the_proof_is_bound_to(identity: TlsIdentity) -> None:
    """The session signs a transcript that begins with this certificate: both ends must have the same bytes of it."""
    client, _ = _handshake(identity.client_context, identity.server_context)
    assert client.getpeercert(binary_form=True) == identity.certificate


def test_older_versions_are_refused(identity: TlsIdentity) -> None:
    """Neither end talks TLS 1.2, even if it is all the other end has."""
    old_client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old_client.check_hostname, old_client.verify_mode = False, ssl.CERT_NONE
    old_client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        _handshake(old_client, identity.server_context)
    for context in (identity.client_context, identity.server_context):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3


def test_nothing_is_resumed(identity: TlsIdentity) -> None:
    """No tickets, so no session in which the server shows no certificate; a session offered anyway is not taken."""
    client, _ = _handshake(identity.client_context, identity.server_context)
    assert identity.server_context.num_tickets == 0
    assert client.session is None or not client.session.has_ticket
    again, _ = _handshake(identity.client_context, identity.server_context, session=client.session)
    assert not again.session_reused
    assert again.getpeercert(binary_form=True) == identity.certificate


def test_each_process_has_its_own_certificate(rng: random.Random) -> None:
    """Fresh key, fresh serial number, nothing in it that says who or when."""
    one, other = TlsIdentity(rng), TlsIdentity(rng)
    assert one.certificate != other.certificate
    first, second = (x509.load_der_x509_certificate(tls.certificate) for tls in (one, other))
    assert first.serial_number != second.serial_number
    assert first.public_key() != second.public_key()
    assert first.subject == second.subject == first.issuer
    assert first.not_valid_before_utc == second.not_valid_before_utc


@pytest.mark.parametrize("seed", range(20))
def test_any_random_bytes_make_a_certificate(seed: int) -> None:
    """Serial numbers are positive and at most 20 bytes (RFC 5280 §4.1.2.2), whatever is drawn."""
    certificate = x509.load_der_x509_certificate(TlsIdentity(random.Random(seed)).certificate)
    assert 0 < certificate.serial_number < 2**159


class _Zeros:
    def randbytes(self, n: int, /) -> bytes:
        return bytes(n)


def test_even_zeros_make_a_valid_serial_number() -> None:
    """Zero is no serial number: the lowest bit is always set."""
    assert x509.load_der_x509_certificate(TlsIdentity(_Zeros()).certificate).serial_number == 1


def test_the_private_key_does_not_stay_on_disk(
    rng: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standard library reads a key from a file only; the file and its folder are gone afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    TlsIdentity(rng)
    assert list(tmp_path.iterdir()) == []
