"""DSSE envelopes signed by a key in a file: Ed25519, or ECDSA on P-256 (DSSE v1.0.0, RFC 8032)."""

import base64
import hashlib
import stat
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from keyturn.core.errors import Invalid, NotFound

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey


def to_sign(kind: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding, which prevents confusion of payload types. Source: DSSE v1.0.0."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def sign_envelope(kind: str, payload: bytes, key: PrivateKey) -> dict[str, Any]:
    data = to_sign(kind, payload)
    made = key.sign(data) if isinstance(key, ed25519.Ed25519PrivateKey) else key.sign(data, ec.ECDSA(hashes.SHA256()))
    signature = {"keyid": key_id(key.public_key()), "sig": base64.b64encode(made).decode()}
    return {"payloadType": kind, "payload": base64.b64encode(payload).decode(), "signatures": [signature]}


def key_id(key: PublicKey) -> str:
    """SHA-256 of the public key as DER: a hint for people, without security meaning."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def private_key(file: Path) -> PrivateKey:
    """Raises NotFound, and Invalid for another kind of file or one open to others."""
    text = key_text(file)
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Invalid("read", str(file), "others than its owner may read or write the key", f"chmod 0600 {file}")
    try:
        key = load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise no_key(file, "private") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) or not fits(key.public_key()):
        raise no_key(file, "private")
    return key


def public_key(file: Path) -> PublicKey:
    try:
        key = load_pem_public_key(key_text(file))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise no_key(file, "public") from None
    if not isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey) or not fits(key):
        raise no_key(file, "public")
    return key


def fits(key: PublicKey) -> bool:
    return isinstance(key, ed25519.Ed25519PublicKey) or isinstance(key.curve, ec.SECP256R1)


def key_text(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise NotFound("read", str(file), error.strerror or "it can't be read", "Name the file of a key") from None


def no_key(file: Path, kind: str) -> Invalid:
    problem = f"it is no {kind} key of Ed25519 or ECDSA P-256, as PEM, without a password"
    return Invalid("read", str(file), problem, "openssl genpkey -algorithm ed25519 makes one")


def verifies(key: PublicKey, signature: bytes, kind: str, payload: bytes) -> bool:
    data = to_sign(kind, payload)
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
