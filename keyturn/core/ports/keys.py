"""The port of what makes asymmetric keys and works with them, and the names of keys (RFC 7517, RFC 7638)."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Protocol

from keyturn.core.sensitive import Sensitive


class KeyKind(StrEnum):
    """What a key is made of; the number is the modulus of RSA in bits, or the curve of NIST."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    P_256 = "p-256"
    P_384 = "p-384"
    P_521 = "p-521"
    ED25519 = "ed25519"


class CertificateKey(StrEnum):
    """What a certificate's key is made of: also ML-DSA (FIPS 204), and composites of it with an older kind
    (draft-ietf-lamps-pq-composite-sigs), where the hub's engine has them.
    """

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    P_256 = "p-256"
    P_384 = "p-384"
    P_521 = "p-521"
    ED25519 = "ed25519"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"
    ML_DSA_44_P_256 = "ml-dsa-44-p-256"
    ML_DSA_65_P_256 = "ml-dsa-65-p-256"
    ML_DSA_65_P_384 = "ml-dsa-65-p-384"
    ML_DSA_87_P_384 = "ml-dsa-87-p-384"
    ML_DSA_44_ED25519 = "ml-dsa-44-ed25519"
    ML_DSA_65_ED25519 = "ml-dsa-65-ed25519"


_ENGINE_TYPES: Final = re.compile(r"(?P<family>rsa|p|ml-dsa)-(?P<bits>[0-9]+)")


def key_parameters(kind: str) -> dict[str, Any]:
    """How a PKI engine calls a kind of key: ``key_type``, and ``key_bits``, 0 where the type says all."""
    if sized := _ENGINE_TYPES.fullmatch(kind):
        return {"key_type": {"p": "ec", "ml-dsa": "mldsa"}.get(sized["family"], "rsa"), "key_bits": int(sized["bits"])}
    return {"key_type": kind, "key_bits": 0}


_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")

ALGORITHMS: Final[Mapping[KeyKind, tuple[str, ...]]] = {
    KeyKind.RSA_2048: _RSA,
    KeyKind.RSA_3072: _RSA,
    KeyKind.RSA_4096: _RSA,
    KeyKind.P_256: ("ES256",),
    KeyKind.P_384: ("ES384",),
    KeyKind.P_521: ("ES512",),
    KeyKind.ED25519: ("EdDSA",),
}
"""The algorithms of JWS that each kind can sign with, the usual one first (RFC 7518 part 3.1, RFC 8037)."""

PUBLIC_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("e", "kty", "n"),
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
}
"""By ``kty``, the members of a JWK that make up the public key, in the order of RFC 7638 (and RFC 8037)."""


class KeyMaker(Protocol):
    """Makes private keys, tells their public halves, and signs with them.

    A private key is PEM, PKCS#8, without a passphrase. What is none raises Invalid, without a word of it.
    """

    def private_key(self, kind: KeyKind | CertificateKey) -> Sensitive:
        """A new private key. RSA of 4096 bits takes seconds. Raises Invalid for a kind that can't be made here."""

    def kind(self, private_key: Sensitive) -> KeyKind:
        """What the key is made of. Raises Invalid for a kind that has no name here."""

    def public_key(self, private_key: Sensitive) -> str:
        """The public half as PEM, SubjectPublicKeyInfo."""

    def public_jwk(self, private_key: Sensitive) -> dict[str, str]:
        """The public half as a JWK: ``kty`` and the members that make up the key, and nothing else."""

    def public_openssh(self, private_key: Sensitive) -> str:
        """The public half as in ``authorized_keys``: the kind and the key, without a comment."""

    def openssh(self, private_key: Sensitive) -> Sensitive:
        """The private key as ``ssh-keygen`` writes it, without a passphrase; every verb here reads that too."""

    def sign(self, private_key: Sensitive, algorithm: str, message: bytes) -> bytes:
        """The signature as JWS has it, which for ECDSA is r and s side by side (RFC 7518 part 3.4)."""

    def verifies(self, jwk: Mapping[str, str], algorithm: str, message: bytes, signature: bytes) -> bool:
        """Whether the public key ``jwk`` confirms the signature. Raises Invalid for a JWK that is no key."""


def thumbprint(jwk: Mapping[str, str]) -> str:
    """The key's name: SHA-256 over its public members, as base64url without padding (RFC 7638)."""
    members = {name: jwk[name] for name in PUBLIC_MEMBERS[jwk["kty"]]}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()
