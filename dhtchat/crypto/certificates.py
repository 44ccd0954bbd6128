"""The TLS side of a link: a fresh self-signed Ed25519 certificate per process, and the two contexts that use it.

The certificate proves nothing by itself; `peer/session.py` binds the identity proof to it.
"""

import datetime
import ssl
import tempfile
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from dhtchat.crypto.identity import RandomBytes
from dhtchat.ids import KEY_BYTES

ALPN: Final = "dhtchat/1"


class TlsIdentity:
    """The certificate of this process and the contexts for both roles. `certificate` is its DER."""

    def __init__(self, source: RandomBytes) -> None:
        key = Ed25519PrivateKey.from_private_bytes(source.randbytes(KEY_BYTES))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dhtchat")])
        # Fixed dates: nobody checks them, and a clock that is off must not leak or break anything.
        start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(int.from_bytes(source.randbytes(16), "big") >> 1 | 1)
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=365 * 100))
            .sign(key, None)
        )
        self.certificate = certificate.public_bytes(Encoding.DER)
        self.server_context = ServerContext(self.certificate)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(
            Encoding.PEM
        )
        # The standard library loads a key from a file only: it lives in a 0700 folder for the moment of reading.
        with tempfile.TemporaryDirectory(prefix="dhtchat-") as folder:
            path = Path(folder) / "tls.pem"
            path.touch(mode=0o600)
            path.write_bytes(pem)
            self.server_context.load_cert_chain(path)
        self.server_context.num_tickets = 0  # no resumption: a resumed session shows no certificate
        self.client_context = _prepared(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


class ServerContext(ssl.SSLContext):
    """Knows the certificate it shows: a simulated network that leaves TLS out still has to show one."""

    certificate: bytes

    def __new__(cls, certificate: bytes) -> "ServerContext":
        context = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        context.certificate = certificate
        return _prepared(context)


C = TypeVar("C", bound=ssl.SSLContext)


def _prepared(context: C) -> C:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([ALPN])
    return context
