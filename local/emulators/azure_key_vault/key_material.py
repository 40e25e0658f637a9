"""RSA and elliptic-curve keys: making them, showing their public half, wrapping, encrypting and signing with them."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from local.emulators.azure_key_vault.messages import bad_parameter
from local.emulators.azure_key_vault.shapes import INVALID_PROPERTY, encode

RSA_SIZES: Final = (2048, 3072, 4096)
CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-256K": ec.SECP256K1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
OPERATIONS: Final = {
    "RSA": ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"],
    "EC": ["sign", "verify"],
}
SIGNED_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
"""By the digits behind RS, PS and ES."""
HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {"RSA-OAEP": hashes.SHA1, "RSA-OAEP-256": hashes.SHA256}


@dataclass(frozen=True)
class Material:
    """One key: its type ("RSA" or "EC"), size or curve, allowed operations, and the private half as PEM.

    One of an HSM is kept as any other, and shown as what it is.
    """

    kty: str
    size: int
    curve: str
    operations: list[str]
    pem: str = field(repr=False)
    hsm: bool = False

    @staticmethod
    def asked_for(document: dict[str, Any]) -> "Material":
        """A new key as the request describes it."""
        named = str(document.get("kty"))
        kty, hsm = named.removesuffix("-HSM"), named.endswith("-HSM")
        size, curve = document.get("key_size") or 2048, document.get("crv") or "P-256"
        if kty not in tuple(OPERATIONS) or size not in RSA_SIZES or curve not in tuple(CURVES):
            raise bad_parameter(INVALID_PROPERTY)
        operations = document.get("key_ops") or OPERATIONS[kty]
        if not isinstance(operations, list) or any(operation not in OPERATIONS[kty] for operation in operations):
            raise bad_parameter(INVALID_PROPERTY)
        return Material.generated(kty, size, curve, operations, hsm)

    @staticmethod
    def generated(kty: str, size: int, curve: str, operations: list[str], hsm: bool = False) -> "Material":
        """A new key of that shape."""
        private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
        private = rsa.generate_private_key(65537, size) if kty == "RSA" else ec.generate_private_key(CURVES[curve])
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Material(kty, size, curve, operations, pem.decode(), hsm)

    @staticmethod
    def unpacked(body: str) -> "Material":
        """What :meth:`packed` made."""
        return Material(**json.loads(body))

    def packed(self) -> str:
        """The key as one text, private half included."""
        return json.dumps(self.__dict__)

    def like(self) -> "Material":
        """Another key of the same shape, for a rotation."""
        return Material.generated(self.kty, self.size, self.curve, self.operations, self.hsm)

    def public(self) -> dict[str, Any]:
        """The public half as a JSON Web Key (RFC 7517)."""
        private = self._private()
        if isinstance(private, rsa.RSAPrivateKey):
            rsa_numbers = private.public_key().public_numbers()
            members = {"n": _number(rsa_numbers.n, self.size), "e": _number(rsa_numbers.e, 24)}
        else:
            numbers, bits = private.public_key().public_numbers(), private.key_size
            members = {"crv": self.curve, "x": _number(numbers.x, bits), "y": _number(numbers.y, bits)}
        return {"kty": f"{self.kty}-HSM" if self.hsm else self.kty, "key_ops": self.operations, **members}

    def wrap(self, algorithm: str, key: bytes) -> bytes:
        """The key, encrypted under this one."""
        return self._rsa().public_key().encrypt(key, _oaep(algorithm))

    def unwrap(self, algorithm: str, wrapped: bytes) -> bytes:
        """What :meth:`wrap` was given."""
        return self._rsa().decrypt(wrapped, _oaep(algorithm))

    def sign(self, algorithm: str, digest: bytes) -> bytes:
        """The signature of a digest; of an elliptic curve, both numbers one behind the other (RFC 7518, 3.4)."""
        algorithm_hash = SIGNED_HASHES.get(algorithm[2:])
        if algorithm_hash is None or len(digest) != algorithm_hash.digest_size:
            raise bad_parameter(f"Algorithm {algorithm} is not supported here, or the digest is not of its length")
        private, hashed = self._private(), utils.Prehashed(algorithm_hash)
        if isinstance(private, rsa.RSAPrivateKey):
            if algorithm[:2] not in ("RS", "PS"):
                raise bad_parameter("Key and algorithm do not match")
            pss = padding.PSS(padding.MGF1(algorithm_hash), padding.PSS.DIGEST_LENGTH)
            return private.sign(digest, pss if algorithm.startswith("PS") else padding.PKCS1v15(), hashed)
        if algorithm[:2] != "ES":
            raise bad_parameter("Key and algorithm do not match")
        size = (private.key_size + 7) // 8
        numbers = utils.decode_dss_signature(private.sign(digest, ec.ECDSA(hashed)))
        return b"".join(number.to_bytes(size, "big") for number in numbers)

    def _rsa(self) -> rsa.RSAPrivateKey:
        private = self._private()
        if not isinstance(private, rsa.RSAPrivateKey):
            raise bad_parameter("Key and algorithm do not match")
        return private

    def _private(self) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
        private = serialization.load_pem_private_key(self.pem.encode(), None)
        if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise TypeError("only RSA and elliptic-curve keys are ever stored")
        return private


def _oaep(algorithm: str) -> padding.OAEP:
    hash_type = HASHES.get(algorithm)
    if hash_type is None:
        raise bad_parameter(f"Algorithm {algorithm} is not supported here")
    return padding.OAEP(padding.MGF1(hash_type()), hash_type(), None)


def _number(value: int, bits: int) -> str:
    return encode(value.to_bytes((bits + 7) // 8, "big"))
