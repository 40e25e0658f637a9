"""Certificates with the package cryptography: requests, contents and chains."""

import base64
import ipaddress
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from keyturn.core.errors import Invalid
from keyturn.core.ports.engines import Certificate, SubjectNames
from keyturn.core.sensitive import Sensitive
from keyturn.providers.keys.key_maker import PostQuantumPublicKey, PublicKey, kind_of, parse_certificate_key

NONE: Final = "it is no certificate in PEM"


def signing_request(private_key: Sensitive, names: SubjectNames) -> str:
    key = parse_certificate_key(private_key)
    alternative: list[x509.GeneralName] = [x509.DNSName(name) for name in sorted(names.dns)]
    alternative += [x509.IPAddress(ipaddress.ip_address(address)) for address in sorted(names.addresses)]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names.common_name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    digest = hashes.SHA256() if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) else None
    return builder.sign(key, digest).public_bytes(Encoding.PEM).decode()


def describe_certificate(pem: str) -> Certificate:
    certificate = load_certificate(pem)
    begins_at, ends_at = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Certificate(serial_of(certificate), names_of(certificate), begins_at, ends_at)


def describe_authority(pem: str) -> dict[str, Any]:
    certificate = load_certificate(pem)
    return {
        "key": _key_of(certificate),
        "common_name": names_of(certificate).common_name,
        "begins_at": certificate.not_valid_before_utc,
        "ends_at": certificate.not_valid_after_utc,
        "key_id": _key_identifier(certificate, x509.SubjectKeyIdentifier),
        "signer_key_id": _key_identifier(certificate, x509.AuthorityKeyIdentifier),
    }


def _key_of(certificate: x509.Certificate) -> str:
    try:
        key: object = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    named = kind_of(key) if isinstance(key, PublicKey | PostQuantumPublicKey) else ""
    return named or certificate.public_key_algorithm_oid.dotted_string


def _key_identifier(certificate: x509.Certificate, kind: Any) -> str:
    try:
        identifier = certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return ""
    return bytes(getattr(identifier, "key_identifier", None) or b"").hex()


def load_certificate(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise Invalid("read", "a certificate", NONE, "Write it as it was issued, or rotate the secret") from None


def serial_of(certificate: x509.Certificate) -> str:
    number = certificate.serial_number
    return number.to_bytes((number.bit_length() + 7) // 8 or 1).hex(":")


def renewal_identifier(pem: str) -> str:
    """The certificate's ACME identifier (RFC 9773, 4.1). Raises Invalid without an authority key identifier."""
    certificate = load_certificate(pem)
    signer = bytes.fromhex(_key_identifier(certificate, x509.AuthorityKeyIdentifier))
    if not signer:
        problem = "it has no authority key identifier"
        raise Invalid("read", "a certificate", problem, "Leave renewal_info out: its own end decides")
    number = certificate.serial_number
    parts = (signer, number.to_bytes(number.bit_length() // 8 + 1))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def names_of(certificate: x509.Certificate) -> SubjectNames:
    common = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return SubjectNames("".join(common[:1]), frozenset(), frozenset())
    dns = frozenset(name.lower() for name in alternative.get_values_for_type(x509.DNSName))
    return SubjectNames("".join(common[:1]), dns, frozenset(map(str, alternative.get_values_for_type(x509.IPAddress))))


def belongs_to_key(pem: str, private_key: Sensitive) -> bool:
    return _spki(load_certificate(pem).public_key()) == _spki(parse_certificate_key(private_key).public_key())


def chain_is_broken(pem: str, chain: str, anchor: str, now: datetime) -> bool:
    """Whether no chain of valid certificates reaches ``anchor`` at ``now`` (RFC 5280, WebPKI).

    The authorities' keys are RSA of at least 2048 bits, on a curve of NIST, or ML-DSA.
    """
    # The certificate's usage and names are up to its role.
    policies = {"ca_policy": ExtensionPolicy.webpki_defaults_ca(), "ee_policy": ExtensionPolicy.permit_all()}
    builder = PolicyBuilder().store(Store([load_certificate(anchor)])).time(now).extension_policies(**policies)
    try:
        builder.build_client_verifier().verify(load_certificate(pem), x509.load_pem_x509_certificates(chain.encode()))
    except (VerificationError, ValueError):
        return True
    return False


def _spki(key: Any) -> bytes:
    public: PublicKey | PostQuantumPublicKey = key
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
