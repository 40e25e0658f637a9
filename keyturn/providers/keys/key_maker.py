"""Asymmetric keys with the package cryptography."""

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from keyturn.core.errors import Invalid
from keyturn.core.ports.keys import CertificateKey, KeyKind
from keyturn.core.sensitive import Sensitive

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
PostQuantumKey = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
PostQuantumPublicKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
EXPONENT: Final = 65_537
OPENSSH: Final = "-----BEGIN OPENSSH PRIVATE KEY-----"

CURVES: Final[Mapping[str, tuple[str, type[ec.EllipticCurve]]]] = {
    "secp256r1": ("P-256", ec.SECP256R1),
    "secp384r1": ("P-384", ec.SECP384R1),
    "secp521r1": ("P-521", ec.SECP521R1),
}
"""By SEC's name: the JWK's name (RFC 7518, 6.2.1.1), and the curve."""

HASHES: Final[Mapping[str, Callable[[], hashes.HashAlgorithm]]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}

MAKERS: Final[Mapping[str, Callable[[], PrivateKey | PostQuantumKey]]] = {
    KeyKind.RSA_2048: lambda: rsa.generate_private_key(EXPONENT, 2048),
    KeyKind.RSA_3072: lambda: rsa.generate_private_key(EXPONENT, 3072),
    KeyKind.RSA_4096: lambda: rsa.generate_private_key(EXPONENT, 4096),
    KeyKind.P_256: lambda: ec.generate_private_key(ec.SECP256R1()),
    KeyKind.P_384: lambda: ec.generate_private_key(ec.SECP384R1()),
    KeyKind.P_521: lambda: ec.generate_private_key(ec.SECP521R1()),
    KeyKind.ED25519: ed25519.Ed25519PrivateKey.generate,
    CertificateKey.ML_DSA_44: mldsa.MLDSA44PrivateKey.generate,
    CertificateKey.ML_DSA_65: mldsa.MLDSA65PrivateKey.generate,
    CertificateKey.ML_DSA_87: mldsa.MLDSA87PrivateKey.generate,
}
POST_QUANTUM: Final[Mapping[type[Any], str]] = {
    mldsa.MLDSA44PublicKey: CertificateKey.ML_DSA_44,
    mldsa.MLDSA65PublicKey: CertificateKey.ML_DSA_65,
    mldsa.MLDSA87PublicKey: CertificateKey.ML_DSA_87,
}


class CryptographyKeys:
    """A :class:`keyturn.core.ports.keys.KeyMaker`."""

    def private_key(self, kind: KeyKind | CertificateKey) -> Sensitive:
        """A new private key as PEM, PKCS#8. Raises Invalid if the package does not support the kind."""
        try:
            key = MAKERS[kind]()
        except (KeyError, UnsupportedAlgorithm):
            problem = f"the package cryptography makes no {kind} keys"
            raise Invalid("make", "a private key", problem, "Choose another kind, or a newer version of it") from None
        return Sensitive(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())

    def kind(self, private_key: Sensitive) -> KeyKind:
        named = kind_of(parse_private_key(private_key).public_key())
        if named not in set(KeyKind):
            raise Invalid("read", "a private key", "it is of an unusual size", f"Use one of {', '.join(KeyKind)}")
        return KeyKind(named)

    def public_key(self, private_key: Sensitive) -> str:
        """PEM, SubjectPublicKeyInfo."""
        public = parse_private_key(private_key).public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def public_jwk(self, private_key: Sensitive) -> dict[str, str]:
        return _jwk(parse_private_key(private_key).public_key())

    def public_openssh(self, private_key: Sensitive) -> str:
        return parse_private_key(private_key).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def openssh(self, private_key: Sensitive) -> Sensitive:
        key = parse_private_key(private_key)
        return Sensitive(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode())

    def sign(self, private_key: Sensitive, algorithm: str, message: bytes) -> bytes:
        match parse_private_key(private_key):
            case rsa.RSAPrivateKey() as key:
                return key.sign(message, _padding(algorithm), _hash(algorithm))
            case ec.EllipticCurvePrivateKey() as key:
                r, s = decode_dss_signature(key.sign(message, ec.ECDSA(_hash(algorithm))))
                return _octets(r, key.curve.key_size) + _octets(s, key.curve.key_size)
            case key:
                return key.sign(message)

    def verifies(self, jwk: Mapping[str, str], algorithm: str, message: bytes, signature: bytes) -> bool:
        key = from_jwk(jwk)
        try:
            _verify(key, algorithm, message, signature)
        except InvalidSignature:
            return False
        return True


def parse_private_key(private_key: Sensitive) -> PrivateKey:
    """The package's key object. Raises Invalid, with nothing of the key in the message."""
    key = parse_certificate_key(private_key)
    if not isinstance(key, PrivateKey):
        raise Invalid("read", "a private key", "it is neither RSA, Ed25519 nor on a curve of NIST", "Rotate it")
    return key


def parse_certificate_key(private_key: Sensitive) -> PrivateKey | PostQuantumKey:
    load = load_ssh_private_key if private_key.reveal().startswith(OPENSSH) else load_pem_private_key
    try:
        key = load(private_key.reveal().encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Invalid("read", "a private key", "it is not PEM without a passphrase", "Rotate it") from None
    if not isinstance(key, PrivateKey | PostQuantumKey) or not kind_of(key.public_key()):
        raise Invalid("read", "a private key", "it is neither RSA, Ed25519 nor on a curve of NIST", "Rotate it")
    return key


def from_jwk(jwk: Mapping[str, str]) -> PublicKey:
    try:
        return _public(jwk)
    except (KeyError, ValueError, AttributeError, TypeError):
        raise Invalid("read", "a JWK", "it is no public key of RSA, EC or Ed25519", "Rotate the key") from None


def _public(jwk: Mapping[str, str]) -> PublicKey:
    if jwk["kty"] == "RSA":
        return rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"])).public_key()
    if jwk["kty"] == "EC":
        curve = dict(CURVES.values())[jwk["crv"]]
        return ec.EllipticCurvePublicNumbers(_number(jwk["x"]), _number(jwk["y"]), curve()).public_key()
    if (jwk["kty"], jwk["crv"]) == ("OKP", "Ed25519"):
        return ed25519.Ed25519PublicKey.from_public_bytes(_decoded(jwk["x"]))
    raise ValueError


def _jwk(public: PublicKey) -> dict[str, str]:
    match public:
        case rsa.RSAPublicKey():
            numbers = public.public_numbers()
            return {"kty": "RSA", "n": _encoded(_octets(numbers.n)), "e": _encoded(_octets(numbers.e))}
        case ec.EllipticCurvePublicKey():
            bits, point = public.curve.key_size, public.public_numbers()
            x, y = _encoded(_octets(point.x, bits)), _encoded(_octets(point.y, bits))
            return {"kty": "EC", "crv": CURVES[public.curve.name][0], "x": x, "y": y}
        case _:
            return {"kty": "OKP", "crv": "Ed25519", "x": _encoded(public.public_bytes_raw())}


def kind_of(public: PublicKey | PostQuantumPublicKey) -> str:
    """The name in :class:`CertificateKey`, or an RSA size without one; empty for an unusual curve."""
    match public:
        case rsa.RSAPublicKey():
            return f"rsa-{public.key_size}"
        case ec.EllipticCurvePublicKey():
            return CURVES.get(public.curve.name, ("",))[0].lower()
        case ed25519.Ed25519PublicKey():
            return KeyKind.ED25519
        case _:
            return next(kind for type_, kind in POST_QUANTUM.items() if isinstance(public, type_))


def _verify(key: PublicKey, algorithm: str, message: bytes, signature: bytes) -> None:
    match key:
        case rsa.RSAPublicKey():
            key.verify(signature, message, _padding(algorithm), _hash(algorithm))
        case ec.EllipticCurvePublicKey():
            size = math.ceil(key.curve.key_size / 8)
            if len(signature) != 2 * size:
                raise InvalidSignature
            r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
            key.verify(encode_dss_signature(r, s), message, ec.ECDSA(_hash(algorithm)))
        case _:
            key.verify(signature, message)


def _padding(algorithm: str) -> Any:
    """PKCS#1 version 1.5 for RS, PSS with a salt as long as the hash for PS (RFC 7518 part 3.5)."""
    if algorithm.startswith("PS"):
        return padding.PSS(padding.MGF1(_hash(algorithm)), padding.PSS.DIGEST_LENGTH)
    return padding.PKCS1v15()


def _hash(algorithm: str) -> hashes.HashAlgorithm:
    return HASHES[algorithm[-3:]]()


def _octets(number: int, bits: int | None = None) -> bytes:
    return number.to_bytes(math.ceil((number.bit_length() if bits is None else bits) / 8))


def _number(text: str) -> int:
    return int.from_bytes(_decoded(text))


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
