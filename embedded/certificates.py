"""Throw-away certificates of one embedded broker: the broker's own, and its administrator's.

    DIR/ca.crt      whom clients trust
    DIR/broker.pem  key and certificate of the broker (CN=yumai-broker)
    DIR/admin.pem   key and certificate of who makes users and ACLs (CN=yumai-admin)

Made once, whole or not at all. The CA's own key is never written: nobody can sign another.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

CA, BROKER, ADMIN = "ca.crt", "broker.pem", "admin.pem"
BROKER_NAME, ADMIN_NAME = "yumai-broker", "yumai-admin"
_LIFETIME = timedelta(days=3650)
# A clock that is set back a little must not make the certificate one of the future.
_EARLIER = timedelta(days=1)


def ensure(directory: Path) -> None:
    """Makes the directory where it is not there. Raises OSError."""
    if directory.is_dir():
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))  # 0700
    try:
        for name, content in _certificates().items():
            with open(
                os.open(fresh / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            ) as f:
                f.write(content)
        fresh.rename(directory)
    except OSError:
        if not directory.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def context(directory: Path) -> ssl.SSLContext:
    """A client that comes as the administrator (mutual TLS). Raises OSError."""
    made = ssl.create_default_context(cafile=str(directory / CA))
    made.load_cert_chain(str(directory / ADMIN))
    return made


def _certificates() -> dict[str, bytes]:
    # Takes a tenth of a second to import, and is needed once.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.now(UTC)

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def begun(name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("yumai-embedded-ca"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _EARLIER)
            .not_valid_after(now + _LIFETIME)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False
            )
        )

    authority = ec.generate_private_key(ec.SECP256R1())
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        + ("encipher_only", "decipher_only"),
        False,
    )
    ca = (
        begun("yumai-embedded-ca", authority)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **usage), True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), False)
        .sign(authority, hashes.SHA256())
    )
    here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    found = {CA: ca.public_bytes(serialization.Encoding.PEM)}
    for file, name in ((BROKER, BROKER_NAME), (ADMIN, ADMIN_NAME)):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = begun(name, key).add_extension(x509.BasicConstraints(False, None), True)
        # The broker is a client too: of its controller.
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if file == BROKER:
            purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
            certificate = certificate.add_extension(x509.SubjectAlternativeName(here), False)
        certificate = certificate.add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **usage),
            True,
        ).add_extension(x509.ExtendedKeyUsage(purposes), False)
        signed = certificate.sign(authority, hashes.SHA256())
        found[file] = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ) + signed.public_bytes(serialization.Encoding.PEM)
    return found
