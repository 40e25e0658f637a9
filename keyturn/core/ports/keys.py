"""The port that creates and uses asymmetric keys, and key names (RFC 7517, RFC 7638)."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Literal, Protocol

from keyturn.core.sensitive import Sensitive


class KeyKind(StrEnum):
    """A key's algorithm; the number is the RSA modulus in bits, or the NIST curve."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    P_256 = "p-256"
    P_384 = "p-384"
    P_521 = "p-521"
    ED25519 = "ed25519"


class CertificateKey(StrEnum):
    """A certificate key's algorithm: also ML-DSA (FIPS 204) and composites with an older kind.

    Composites follow draft-ietf-lamps-pq-composite-sigs; availability depends on the hub's engine.
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
    """Return a PKI engine's ``key_type`` and ``key_bits``, 0 if the type is sufficient."""
    if sized := _ENGINE_TYPES.fullmatch(kind):
        return {"key_type": {"p": "ec", "ml-dsa": "mldsa"}.get(sized["family"], "rsa"), "key_bits": int(sized["bits"])}
    return {"key_type": kind, "key_bits": 0}


JwsAlgorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]

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
"""JWS algorithms by kind, the usual one first (RFC 7518 part 3.1, RFC 8037)."""

PUBLIC_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("e", "kty", "n"),
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
}
"""The public members of a JWK by ``kty``, in the order of RFC 7638 (and RFC 8037)."""


class KeyMaker(Protocol):
    """Creates private keys, derives public keys, and signs.

    A private key is PEM, PKCS#8, without a passphrase. Other texts raise Invalid, which quotes nothing.
    """

    def private_key(self, kind: KeyKind | CertificateKey) -> Sensitive:
        """Create a private key; RSA of 4096 bits takes seconds. Raises Invalid if unsupported."""

    def kind(self, private_key: Sensitive) -> KeyKind:
        """The key's kind. Raises Invalid for one without a name here."""

    def public_key(self, private_key: Sensitive) -> str:
        """The public key as PEM, SubjectPublicKeyInfo."""

    def public_jwk(self, private_key: Sensitive) -> dict[str, str]:
        """The public key as a JWK with only ``kty`` and the key's members."""

    def public_openssh(self, private_key: Sensitive) -> str:
        """The public key as in ``authorized_keys``: kind and key, without a comment."""

    def openssh(self, private_key: Sensitive) -> Sensitive:
        """The private key in ``ssh-keygen`` format, without a passphrase; all methods accept it too."""

    def sign(self, private_key: Sensitive, algorithm: str, message: bytes) -> bytes:
        """The JWS signature; for ECDSA, r and s concatenated (RFC 7518 part 3.4)."""

    def verifies(self, jwk: Mapping[str, str], algorithm: str, message: bytes, signature: bytes) -> bool:
        """Whether the signature is valid for ``jwk``. Raises Invalid for a malformed JWK."""


def thumbprint(jwk: Mapping[str, str]) -> str:
    """The key's name: SHA-256 over its public members, as base64url without padding (RFC 7638)."""
    members = {name: jwk[name] for name in PUBLIC_MEMBERS[jwk["kty"]]}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()
