"""A certificate's status by OCSP (RFC 6960) and by its authority's revocation list (RFC 5280)."""

from datetime import datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from keyturn.core.errors import Unproven
from keyturn.providers.keys.x509 import load_certificate

SKEW: Final = timedelta(minutes=5)
"""The most that another node's clock may be ahead of the hub's."""


def ocsp_question(pem: str, issuer: str) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(load_certificate(pem), load_certificate(issuer), SHA256())
    return builder.build().public_bytes(Encoding.DER)


def ocsp_says_revoked(answer: bytes, pem: str, issuer: str, now: datetime, name: str) -> bool | None:
    """Whether the issuer's own answer revokes it; None if the responder can't or won't answer.

    Raises Unproven if the answer is another's, about another certificate, or out of date.
    """
    try:
        response = ocsp.load_der_ocsp_response(answer)
    except ValueError:
        raise _unproven(name, "its OCSP answer is none") from None
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return None
    if response.serial_number != load_certificate(pem).serial_number:
        raise _unproven(name, "its OCSP answer is about another certificate")
    digest = _digest(response)
    _check(issuer, response.signature, response.tbs_response_bytes, digest, f"{name}: its OCSP answer")
    _check_dates(response.this_update_utc, response.next_update_utc, now, name, "its OCSP answer")
    if response.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
        return None
    return response.certificate_status is ocsp.OCSPCertStatus.REVOKED


def list_says_revoked(der: bytes, pem: str, issuer: str, now: datetime, name: str) -> bool:
    """Whether the issuer's list names it. Raises Unproven if the list is another's, or out of date."""
    try:
        revoked = x509.load_der_x509_crl(der)
    except ValueError:
        raise _unproven(name, "its revocation list is none") from None
    digest = _digest(revoked)
    _check(issuer, revoked.signature, revoked.tbs_certlist_bytes, digest, f"{name}: its revocation list")
    _check_dates(revoked.last_update_utc, revoked.next_update_utc, now, name, "its revocation list")
    return revoked.get_revoked_certificate_by_serial_number(load_certificate(pem).serial_number) is not None


def _digest(signed: Any) -> Any:
    try:
        return signed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None


def _check(issuer: str, signature: bytes, content: bytes, digest: Any, name: str) -> None:
    key: Any = load_certificate(issuer).public_key()
    try:
        match key:
            case rsa.RSAPublicKey():
                key.verify(signature, content, padding.PKCS1v15(), digest)
            case ec.EllipticCurvePublicKey():
                key.verify(signature, content, ec.ECDSA(digest))
            case _:
                key.verify(signature, content)
    except (InvalidSignature, TypeError, ValueError):
        raise _unproven(name, "its issuer has not signed it") from None


def _check_dates(since: datetime, until: datetime | None, now: datetime, name: str, what: str) -> None:
    if since > now + SKEW or (until is not None and until <= now):
        ends = f"{until:%Y-%m-%d %H:%M} UTC" if until else "unknown"
        raise _unproven(name, f"{what} is out of date: good until {ends}")


def _unproven(name: str, problem: str) -> Unproven:
    hint = "See the authority's config/crl, and that no proxy answers in its place"
    return Unproven("ask about", name, problem, hint)
