"""A REST API on loopback that keeps public keys and checks JWTs, in the manner of Snowflake and of Okta.

``POST /statements`` runs SQL: a user has two slots, which ``DESC USER`` shows. ``/apps/NAME/keys`` has any number of
JWKs for an application. The holder of a private key logs in with a JWT: as a user at ``/statements``, as an application
at ``/token``.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import jwt
from jwt.algorithms import RSAAlgorithm

from tests.support.rest_api import RestApi, Said, Told

SLOTS = ("RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2")
SET = re.compile(r"ALTER USER (\w+) (?:SET (\w+)='([^']+)'|UNSET (\w+))")


@dataclass
class KeyPairApi(RestApi):
    """``users`` have a key or None in each slot, as base64 lines; ``jwks`` hold what applications sent, by id."""

    users: dict[str, dict[str, str | None]] = field(default_factory=dict)
    jwks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def create(self, user: str, line: str) -> None:
        """A fresh user with one key."""
        self.users[user] = {SLOTS[0]: line, SLOTS[1]: None}

    def _answered(self, told: Told) -> Said:
        bearer = told.headers.get("authorization", "").removeprefix("Bearer ")
        parts = [unquote(part) for part in urlsplit(told.path).path.split("/")[1:]]
        match [told.method, *parts]:
            case ["POST", "statements"] if bearer == self.admin_token:
                return self._run(told.json["statement"])
            case ["POST", "statements"]:
                return Said(200, {"data": [["1"]]}) if self.takes_user(bearer) else Said(401, {"message": "invalid"})
            case ["POST", "token"]:
                assertion = dict(parse_qsl(told.body.decode())).get("client_assertion", "")
                return Said(200, {"access_token": "x"}) if self.takes_application(assertion) else Said(401)
            case _ if bearer != self.admin_token:
                return Said(401, {"message": "who are you?"})
            case ["GET", "apps", name, "keys"]:
                return self._page(told, [key for key in self.jwks.values() if key["app"] == name])
            case ["POST", "apps", name, "keys"]:
                return self._added(name, told.json)
            case ["DELETE", "apps", _, "keys", id] if id in self.jwks:
                del self.jwks[id]
                return Said(204)
        return Said(404, {"message": "no such thing"})

    def _run(self, statement: str) -> Said:
        if statement.startswith("DESC USER "):
            slots = self.users[statement.removeprefix("DESC USER ")]
            shown = [[f"{slot}_FP", fingerprint(line) if line else "null"] for slot, line in slots.items()]
            return Said(200, {"data": [["NAME", "someone"], *shown]})
        change = SET.fullmatch(statement)
        assert change is not None, statement
        user, slot, line, emptied = change.groups()
        self.users[user][slot or emptied] = line
        return Said(200, {"data": [["Statement executed successfully."]]})

    def _added(self, name: str, asked: dict[str, str]) -> Said:
        if any(key["kid"] == asked["kid"] for key in self.jwks.values()):
            return Said(409, {"message": "it is there"})
        made = {**asked, "id": next(self._numbers), "app": name, "used": None}
        self.jwks[str(made["id"])] = made
        return Said(201, made)

    def takes_user(self, token: str) -> bool:
        """Whether a user's JWT is signed by a key in one of its slots, and names that key."""
        for user, slots in list(self.users.items()):
            for line in [line for line in slots.values() if line]:
                pem = f"-----BEGIN PUBLIC KEY-----\n{line}\n-----END PUBLIC KEY-----\n"
                claims = verified(token, pem)
                if claims and claims["sub"] == user and claims["iss"] == f"{user}.{fingerprint(line)}":
                    return True
        return False

    def takes_application(self, token: str) -> bool:
        """Whether a JWT is signed by one of an application's keys; notes the use."""
        for key in list(self.jwks.values()):
            if verified(token, RSAAlgorithm.from_jwk(json.dumps(key))):
                key["used"] = datetime.now(UTC).isoformat()
                return True
        return False


def verified(token: str, key: Any) -> dict[str, Any] | None:
    try:
        claims: dict[str, Any] = jwt.decode(token, key, algorithms=["RS256"], options={"verify_aud": False})
    except jwt.InvalidTokenError:
        return None
    return claims


def fingerprint(line: str) -> str:
    return f"SHA256:{base64.b64encode(hashlib.sha256(base64.b64decode(line)).digest()).decode()}"
