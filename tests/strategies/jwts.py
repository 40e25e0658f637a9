"""JWTs as an application signs them and as a verifier reads the JWK Set, with PyJWT."""

import json

import jwt

from keyturn.core.ports.keys import ALGORITHMS, KeyKind
from keyturn.core.ports.strategies import Change
from keyturn.core.sensitive import SecretFields
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.strategies.signing_key import SigningKey

KEYS = CryptographyKeys()
LONG = (KeyKind.RSA_3072, KeyKind.RSA_4096)


def strategy(kind: KeyKind = KeyKind.P_256, algorithm: str | None = None) -> SigningKey:
    """The strategy of the secret that the contract works with."""
    return SigningKey("apps/contract", KEYS, kind, algorithm or ALGORITHMS[kind][0])


def signed(fields: SecretFields) -> str:
    """A token as an application signs it."""
    plain = fields.reveal()
    return jwt.encode({"sub": "x"}, plain["private_key"], plain["algorithm"], headers={"kid": plain["kid"]})


def passes(token: str, jwks: SecretFields) -> bool:
    """Whether a verifier that has read this JWK Set accepts the token."""
    kid = jwt.get_unverified_header(token)["kid"]
    try:
        key = jwt.PyJWKSet.from_json(jwks["jwks"].reveal())[kid]
    except KeyError:
        return False
    return bool(jwt.decode(token, key) == {"sub": "x"})


def published(fields: SecretFields) -> list[dict[str, str]]:
    """The keys of its JWK Set."""
    keys: list[dict[str, str]] = json.loads(fields["jwks"].reveal())["keys"]
    return keys


def rotated(made: SigningKey, current: SecretFields | None) -> SecretFields:
    """CURRENT after a rotation that has passed."""
    change = Change("apps/contract", 5, made.mint(current), current)
    made.install(change)
    made.verify(change)
    return (current or SecretFields({})).merged(change.candidate)
