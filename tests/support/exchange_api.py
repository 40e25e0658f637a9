"""A REST API on loopback whose tokens are exchanged for their successor, as GitLab's are.

``POST /tokens/self/rotate`` ends the token in ``private-token`` and gives its successor. A second one with the same
token revokes its whole family, the successor included, as GitLab does (gitlab-org/gitlab, issue 524639). ``POST
/oauth/token`` does the same for refresh tokens, next to which an access token works. The admin makes a token with
``POST /users/NAME/tokens``.
"""

import secrets
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.rest_api import RestApi, Said, Told


@dataclass
class Token:
    """``spent`` is one that was exchanged; ``dead`` is one that is refused."""

    id: int
    user: str
    family: int
    refresh: str = ""
    spent: bool = False
    dead: bool = False


@dataclass
class ExchangeApi(RestApi):
    """``tokens`` by value. ``lag`` is how many tests still accept a token that was exchanged."""

    tokens: dict[str, Token] = field(default_factory=dict)
    lag: int = 0
    exchanges: Counter[str] = field(default_factory=Counter)
    """How often each token was sent to be exchanged."""
    expires_at: str = "2031-05-06"

    def create(self, user: str) -> str:
        """A token that a person makes."""
        return self._new(user, next(self._numbers))

    def takes(self, value: str) -> bool:
        token = self.tokens.get(value)
        return token is not None and not token.dead

    def living(self, user: str) -> list[str]:
        """The values that work."""
        return [value for value, token in list(self.tokens.items()) if token.user == user and not token.dead]

    def _answered(self, told: Told) -> Said:
        parts = [unquote(part) for part in urlsplit(told.path).path.split("/")[1:]]
        value = told.headers.get("private-token", "")
        match [told.method, *parts]:
            case ["GET", "tokens", "self"]:
                return self._self(value)
            case ["POST", "tokens", "self", "rotate"]:
                return self._exchanged(value)
            case ["DELETE", "tokens", "self"] if self.takes(value):
                self.tokens[value].dead = True
                return Said(204)
            case ["POST", "oauth", "token"]:
                return self._refreshed(parse_qs(told.body.decode()))
            case ["POST", "users", user, "tokens"] if told.headers.get("authorization") == f"Bearer {self.admin_token}":
                return self._said(self._new(user, next(self._numbers)), 201)
        return super()._answered(told) if parts[0] != "tokens" else Said(401, {"message": "401 Unauthorized"})

    def _self(self, value: str) -> Said:
        token = self.tokens.get(value)
        if token and token.dead and token.spent and self.lag:
            self.lag -= 1
            return Said(200, {"id": token.id, "active": True})
        if token is None or token.dead:
            return Said(401, {"message": "401 Unauthorized"})
        return Said(200, {"id": token.id, "active": True})

    def _exchanged(self, value: str) -> Said:
        self.exchanges[value] += 1
        token = self.tokens.get(value)
        if token is None:
            return Said(401, {"message": "401 Unauthorized"})
        if token.dead:
            self._revoke_family(token)
            return Said(401, {"message": "Token already rotated"})
        token.dead = token.spent = True
        return self._said(self._new(token.user, token.family), 200)

    def _refreshed(self, form: dict[str, list[str]]) -> Said:
        value = form.get("refresh_token", [""])[0]
        self.exchanges[value] += 1
        token = next((one for one in self.tokens.values() if one.refresh == value), None)
        if token is None:
            return Said(400, {"error_description": "no such token"})
        if token.spent or token.dead:
            self._revoke_family(token)
            return Said(400, {"error_description": "it was used before"})
        token.spent = True
        return self._said(self._new(token.user, token.family), 200)

    def _revoke_family(self, token: Token) -> None:
        for other in self.tokens.values():
            if other.family == token.family:
                other.dead = True

    def _new(self, user: str, family: int) -> str:
        value = secrets.token_urlsafe(24)
        self.tokens[value] = Token(next(self._numbers), user, family, secrets.token_urlsafe(24))
        return value

    def _said(self, value: str, status: int = 200) -> Said:
        token = self.tokens[value]
        body = {"id": token.id, "token": value, "refresh_token": token.refresh, "expires_at": self.expires_at}
        return Said(status, body)
