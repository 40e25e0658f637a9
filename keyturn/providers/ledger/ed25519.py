"""Ed25519 signatures with the package cryptography (RFC 8032)."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this 64-byte signature of the message is by the 32-byte key; False for other sizes."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
