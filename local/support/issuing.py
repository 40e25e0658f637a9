"""Making a private authority and certificates of servers on one machine, and telling whether those that are there do.

X.509 version 3, with the extensions that OpenSSL checks where it is strict (RFC 5280, 4.2.1).
"""

import ipaddress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from local.support.certificate import Certificate
from local.support.files import private_directory, write_private
from local.support.ports import LOOPBACK

HOST: Final = "localhost"
ADDRESSES: Final = (LOOPBACK, "::1")
LIFE_OF_AUTHORITY: Final = timedelta(days=3650)
LIFE: Final = timedelta(days=397)
"""Of a server's certificate; some browsers take none of more than 398 days."""
RENEWED_BEFORE: Final = timedelta(days=30)
"""A certificate that ends so soon is replaced, so that none ends while its server runs."""
SKEW: Final = timedelta(hours=1)
"""How far back a certificate is dated, for whoever's clock is behind."""

USES: Final = ("digital_signature", "key_cert_sign", "crl_sign")
OTHER_USES: Final = (
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "encipher_only",
    "decipher_only",
)


def issue(
    authority_key: Path,
    files: Certificate,
    now: datetime,
    names: frozenset[str] = frozenset(),
    all_names: frozenset[str] = frozenset(),
) -> bool:
    """Have these files, and the authority's; whether the server's were made now. What is good stays as it is.

    The server's are for loopback and ``names``; the authority signs for localhost and ``all_names`` alone.
    """
    if not (_good(files.authority, authority_key, now, LIFE) and _permits(files.authority, all_names)):
        _make_authority(files.authority, authority_key, now, all_names)
    issuer = x509.load_pem_x509_certificate(files.authority.read_bytes())
    good = _good(files.certificate, files.key, now, RENEWED_BEFORE) and _issued_by(issuer, files.certificate)
    if good and _names_in(files.certificate) == names | {HOST}:
        return False
    _make_certificate(files, issuer, _key_in(authority_key), now, names)
    return True


def _make_authority(certificate: Path, key_file: Path, now: datetime, names: frozenset[str]) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), _named("Keyturn's local stack")
    builder = _begun(name, name, key, now, LIFE_OF_AUTHORITY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
    # It can speak for no other name, even where somebody lets a browser trust it. Not so for addresses: gRPC's
    # BoringSSL refuses an authority that says anything of them.
    permitted = [x509.DNSName(name) for name in (HOST, *sorted(names))]
    builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
    _write(certificate, key_file, builder.sign(key, hashes.SHA256()), key)


def _make_certificate(
    files: Certificate,
    issuer: x509.Certificate,
    signer: ec.EllipticCurvePrivateKey,
    now: datetime,
    others: frozenset[str],
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _begun(_named(HOST), issuer.subject, key, now, LIFE)
    hosts = [x509.DNSName(name) for name in (HOST, *sorted(others))]
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ADDRESSES]
    builder = builder.add_extension(x509.SubjectAlternativeName([*hosts, *addresses]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage("digital_signature"), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(by, critical=False)
    _write(files.certificate, files.key, builder.sign(signer, hashes.SHA256()), key)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - SKEW).not_valid_after(now + life)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return builder.add_extension(identifier, critical=False)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*uses: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: use in uses for use in (*USES, *OTHER_USES)})


def _write(certificate: Path, key_file: Path, signed: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    private_directory(key_file.parent)
    private_directory(certificate.parent)
    # Whoever dies between the two leaves a pair that doesn't match, which is made anew.
    write_private(key_file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_private(certificate, signed.public_bytes(Encoding.PEM))


def _good(certificate: Path, key_file: Path, now: datetime, still: timedelta) -> bool:
    """Whether the two are there, belong together, and are good now and for so long to come."""
    try:
        read = x509.load_pem_x509_certificate(certificate.read_bytes())
        matches = _public(read.public_key()) == _public(_key_in(key_file).public_key())
    except (FileNotFoundError, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return matches and read.not_valid_before_utc <= now and now + still <= read.not_valid_after_utc


def _permits(authority: Path, names: frozenset[str]) -> bool:
    """Whether the authority signs for these hosts and localhost, and for no other name."""
    read = x509.load_pem_x509_certificate(authority.read_bytes())
    try:
        limits = read.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return False
    return {name.value for name in limits.permitted_subtrees or ()} == names | {HOST}


def _names_in(certificate: Path) -> set[str]:
    read = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(names.get_values_for_type(x509.DNSName))


def _issued_by(issuer: x509.Certificate, certificate: Path) -> bool:
    try:
        x509.load_pem_x509_certificate(certificate.read_bytes()).verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _key_in(file: Path) -> ec.EllipticCurvePrivateKey:
    """Raises ValueError where the file holds another kind of key, or none."""
    key = load_pem_private_key(file.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(file)
    return key


def _public(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError(type(key))
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
