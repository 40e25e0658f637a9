"""Keys that sign tokens, such as JWTs; the application serves their public halves as a JWK Set (RFC 7517)."""

import json
from collections.abc import Mapping
from typing import Final, Literal, Self

from pydantic import model_validator

from keyturn.core.errors import CandidateRejected, Invalid
from keyturn.core.ports.keys import ALGORITHMS, JwsAlgorithm, KeyKind, KeyMaker, thumbprint
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.jwts import signing_input
from keyturn.settings.fields import refused
from keyturn.strategies.base import StrategyBase, StrategySettings, Tools

PRIVATE_KEY: Final = "private_key"
KID: Final = "kid"
ALGORITHM: Final = "algorithm"
JWKS: Final = "jwks"
FIELDS: Final = (PRIVATE_KEY, KID, ALGORITHM, JWKS)
"""The fields of a version: ``jwks`` is JSON text for verifiers, the others are for a signer."""

Jwk = Mapping[str, str]


class SigningKey(StrategyBase):
    """A new key may sign at once, and the previous one stays in the JWK Set until its grace is over.

    The set holds the key of its own version and the one that was in use when it was made, never a third.
    """

    credential_fields = frozenset(FIELDS)

    def __init__(self, name: str, keys: KeyMaker, kind: KeyKind, algorithm: str) -> None:
        self.name = name
        self.keys = keys
        self.kind = kind
        self.algorithm = algorithm

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        self._serving(current)

    def mint(self, current: SecretFields | None) -> SecretFields:
        private_key = self.keys.private_key(self.kind)
        jwk = self._published(private_key)
        jwks = _key_set(jwk, self._serving(current))
        return SecretFields({PRIVATE_KEY: private_key, KID: jwk["kid"], ALGORITHM: self.algorithm, JWKS: jwks})

    def verify(self, change: Change) -> None:
        if flaw := self._flaw(change):
            field, problem = flaw
            raise CandidateRejected("verify", f"{self.name}:{field}", problem, "Run the rotation again")

    def abandon(self, change: Change) -> None:
        """Do nothing: nothing was installed."""

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        if KID in current:
            return {KID: current[KID].reveal()}
        serving = self._serving(current)
        return {KID: serving["kid"]} if serving else {}

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        if PRIVATE_KEY not in credential:
            return RevokeResult()
        key = f"the key {credential[KID].reveal()}" if KID in credential else "the key"
        return RevokeResult(outlives=(f"whatever {key} signs, until those who verify read a JWK Set without it",))

    def cleanup_fields(self, current: SecretFields) -> SecretFields | None:
        """Return the JWK Set with CURRENT's key alone; None where it has no other."""
        serving = self._serving(current)
        alone = _key_set(serving)
        if serving is None or JWKS not in current or _holds(current[JWKS], alone):
            return None
        return SecretFields({JWKS: alone})

    def rollback_fields(self, before: SecretFields, promoted: SecretFields) -> Mapping[str, Sensitive]:
        """Return the JWK Set of both keys: signatures of the withdrawn key are good for the grace."""
        if JWKS not in before:
            return {}
        return {JWKS: Sensitive(_key_set(self._serving(before), self._serving(promoted)))}

    def _published(self, private_key: Sensitive) -> dict[str, str]:
        jwk = self.keys.public_jwk(private_key)
        return {**jwk, "use": "sig", "alg": self.algorithm, "kid": thumbprint(jwk)}

    def _serving(self, current: SecretFields | None) -> dict[str, str] | None:
        """Return the public half of CURRENT's key, under the id in its tokens. Raises Invalid."""
        if current is None or PRIVATE_KEY not in current:
            return None
        try:
            jwk = self.keys.public_jwk(current[PRIVATE_KEY])
        except Invalid as error:
            hint = f"Write the key that signs now into {PRIVATE_KEY}, or remove that field to begin with a new one"
            raise Invalid("read", f"{self.name}:{PRIVATE_KEY}", error.problem, hint) from None
        kid = current[KID].reveal() if KID in current else thumbprint(jwk)
        alg = {"alg": current[ALGORITHM].reveal()} if ALGORITHM in current else {}
        return {**jwk, "use": "sig", **alg, "kid": kid}

    def _flaw(self, change: Change) -> tuple[str, str] | None:
        candidate, serving = change.candidate, self._serving(change.current)
        if absent := [field for field in FIELDS if field not in candidate]:
            return absent[0], "the candidate lacks this field"
        try:
            kind, jwk = self.keys.kind(candidate[PRIVATE_KEY]), self._published(candidate[PRIVATE_KEY])
        except Invalid as error:
            return PRIVATE_KEY, error.problem
        if serving and thumbprint(serving) == thumbprint(jwk):
            return PRIVATE_KEY, "the key is the one that serves already"
        if (kind, candidate[ALGORITHM]) != (self.kind, Sensitive(self.algorithm)):
            return ALGORITHM, "the key is of another kind than the catalogue asks for"
        if candidate[KID] != Sensitive(jwk["kid"]):
            return KID, "it is not the thumbprint of the private key"
        if not _holds(candidate[JWKS], _key_set(jwk, serving)):
            return JWKS, "it has to hold the public halves of this key and of the one that serves, and nothing else"
        return None if self._confirmed(candidate) else (JWKS, "it does not confirm what the private key signs")

    def _confirmed(self, candidate: SecretFields) -> bool:
        """Whether a token by the private key passes by the JWK Set, as its verifiers read both (RFC 7515)."""
        header = {"alg": candidate[ALGORITHM].reveal(), "kid": candidate[KID].reveal(), "typ": "JWT"}
        message = signing_input(header, {"sub": self.name}).encode()
        signature = self.keys.sign(candidate[PRIVATE_KEY], header["alg"], message)
        jwk = next(key for key in json.loads(candidate[JWKS].reveal())["keys"] if key["kid"] == header["kid"])
        return self.keys.verifies(jwk, jwk["alg"], message, signature)


def _key_set(*keys: Jwk | None) -> str:
    return json.dumps({"keys": [key for key in keys if key is not None]})


def _holds(jwks: Sensitive, expected: str) -> bool:
    try:
        return bool(json.loads(jwks.reveal()) == json.loads(expected))
    except ValueError:
        return False


# --- in the catalogue --------------------------------------------------------------------------------------


class SigningKeySettings(StrategySettings):
    """Keys that an application signs tokens with, and the JWK Set that it publishes for verifying them."""

    strategy: Literal["signing-key"]
    """How the secret is replaced."""
    key: KeyKind = KeyKind.P_256
    """What the key is made of: rsa-2048, rsa-3072, rsa-4096, p-256, p-384, p-521 or ed25519."""
    algorithm: JwsAlgorithm | None = None
    """How tokens are signed, in JWS's words; by default RS256 with RSA, else the one that the key allows."""

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.algorithm is not None and self.algorithm not in ALGORITHMS[self.key]:
            problem = f"a key of the kind {self.key} can't sign with {self.algorithm}"
            remedy = f"Choose {' or '.join(ALGORITHMS[self.key])}, or leave algorithm out."
            raise refused(problem, remedy, "algorithm")
        return self

    def open(self, path: str, tools: Tools) -> SigningKey:
        return SigningKey(path, tools.keys, self.key, self.algorithm or ALGORITHMS[self.key][0])
