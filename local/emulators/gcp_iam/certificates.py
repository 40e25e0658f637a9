"""Key pairs, and the certificates that carry their public halves."""

import secrets
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from local.emulators.gcp_iam.messages import invalid

NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The end of a key that has none."""


def fresh(size: int, owner: str, ends: float | None) -> tuple[str, str]:
    """A new pair: the private half as PKCS #8, and a certificate in the name of ``owner``, both PEM."""
    private = rsa.generate_private_key(public_exponent=65_537, key_size=size)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode(), signed(private, owner, ends)


def signed(private: rsa.RSAPrivateKey, owner: str, ends: float | None) -> str:
    """A certificate that the key has signed itself, PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, owner)])
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), int(secrets.token_hex(19), 16) + 1)
        .not_valid_before(datetime.now(UTC))
        .not_valid_after(datetime.fromtimestamp(ends, UTC) if ends else NEVER)
        .sign(private, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def read(pem: bytes) -> tuple[int, float | None]:
    """The size of the RSA key in a certificate, and when the certificate ends. Raises a refusal for anything else."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise invalid("Invalid public key data provided: it is no X.509 certificate.") from None
    public = certificate.public_key()
    if not isinstance(public, rsa.RSAPublicKey):
        raise invalid("Invalid public key data provided: it is no RSA key.")
    ends = certificate.not_valid_after_utc
    return public.key_size, None if ends >= NEVER else ends.timestamp()


def public_key(certificate: str) -> rsa.RSAPublicKey:
    """The public half in a certificate of ours."""
    public = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    if not isinstance(public, rsa.RSAPublicKey):
        raise TypeError("only RSA keys are ever kept")
    return public
