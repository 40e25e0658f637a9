"""A service that exchanges a token for its successor: the recipes of ``http-exchange``."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from keyturn.core.text import templates
from local.emulators.recipes.matching import Captured, put
from local.emulators.recipes.server import Answer
from local.emulators.recipes.service import RecipeService, Requests

CURRENT: Final = "current."
LIFETIME: Final = timedelta(days=90)


@dataclass
class Token:
    """``values`` are the fields of the recipe's ``answer``. ``spent`` is a token that was exchanged."""

    values: dict[str, str]
    family: int
    until: datetime
    spent: bool = False
    dead: bool = False


@dataclass
class Exchanges(RecipeService):
    """``differences``: ``lifetime`` (days) and ``revokes_family`` (a second exchange ends every successor).

    A token next to the exchanged one, such as an access token, works on until it expires.
    """

    tokens: list[Token] = field(default_factory=list)

    def __post_init__(self) -> None:
        used = {name.removeprefix(CURRENT) for text in _texts(self.rotation["exchange"]) for name in text}
        self._exchanged = sorted(used & self.rotation["answer"].keys() - {"expires_at"})
        tried = {name.removeprefix(CURRENT) for text in _texts(self.rotation["test"]) for name in text}
        self.dies_at_once = bool(tried & set(self._exchanged))
        super().__post_init__()

    def requests(self) -> Requests:
        exchange = self.rotation["exchange"]
        by_admin = any(name.startswith("admin.") for text in _texts(exchange) for name in text)
        if "revoke" in self.rotation:
            yield "revoke", self.shape(self.rotation["revoke"], "POST", as_admin=False), self._revoked
        yield "exchange", self.shape(exchange, "POST", as_admin=by_admin), self._exchange
        if "recover" in self.rotation:
            yield "recover", self.shape(self.rotation["recover"], "POST"), self._recovered
        yield "test", self.shape(self.rotation["test"], "GET", as_admin=False, at_test_url=True), self._tested

    def issue(self) -> dict[str, str]:
        with self._lock:
            return dict(self._made(len(self.tokens)).values)

    def works(self, fields: Mapping[str, str]) -> bool:
        return any(self._is_live(token) and self._holds(token, fields) for token in list(self.tokens))

    def spent(self, fields: Mapping[str, str]) -> bool:
        """Whether this token was exchanged, or has ended."""
        sent = {name: fields[name] for name in self._exchanged}
        return all(each.spent or each.dead for each in list(self.tokens) if sent.items() <= each.values.items())

    def living(self, path: str) -> list[Mapping[str, str]]:
        return [token.values for token in list(self.tokens) if self._is_live(token)]

    def lives_after(self, time: timedelta, fields: Mapping[str, str]) -> bool:
        at = datetime.now(UTC) + time
        return any(each.until > at for each in list(self.tokens) if self._holds(each, fields))

    def reset(self) -> None:
        self.tokens.clear()

    def _made(self, family: int) -> Token:
        values = {name: secrets.token_urlsafe(24) for name in self.rotation["answer"]}
        until = datetime.now(UTC) + timedelta(days=self.differences.get("lifetime", LIFETIME.days))
        if "expires_at" in values:
            values["expires_at"] = until.isoformat()
        self.tokens.append(token := Token(values, family, until))
        return token

    def _exchange(self, values: Captured) -> Answer:
        sent = {name: values.get(CURRENT + name) for name in self._exchanged}
        token = next((each for each in self.tokens if sent.items() <= each.values.items()), None)
        if token is not None and token.spent and self.differences.get("revokes_family"):
            for each in self.tokens:
                each.dead = each.dead or each.family == token.family
        if token is None or token.spent or not self._is_live(token):
            return self.refusal(self.rotation["test"].get("refused"), 401, "the token is not valid")
        token.spent = True
        token.dead = self.dies_at_once
        return self._shown(self.rotation["exchange"], self.rotation["answer"], self._made(token.family))

    def _recovered(self, _: Captured) -> Answer:
        recover = self.rotation["recover"]
        return self._shown(recover, recover.get("answer") or self.rotation["answer"], self._made(len(self.tokens)))

    def _shown(self, settings: Mapping[str, Any], pointers: Mapping[str, str], token: Token) -> Answer:
        document: Any = {}
        for name, pointer in pointers.items():
            document = put(document, pointer, token.values[name])
        return self.success(settings, document)

    def _tested(self, values: Captured) -> Answer:
        test = self.rotation["test"]
        if self.works({name.removeprefix(CURRENT): value for name, value in values.items()}):
            return self.success(test)
        return self.refusal(test.get("refused"), 401, "the token is not valid")

    def _revoked(self, values: Captured) -> Answer:
        revoke = self.rotation["revoke"]
        found = [token for token in self.tokens if self._is_live(token) and self._holds(token, values)]
        if not found:
            return self.refusal(revoke.get("gone"), 401, "the token is not valid")
        for token in found:
            token.dead = True
        return self.success(revoke)

    def _holds(self, token: Token, fields: Mapping[str, str]) -> bool:
        shared = (token.values.keys() & fields.keys()) - {"id", "expires_at"}
        return bool(shared) and all(token.values[name] == fields[name] for name in shared)

    def _is_live(self, token: Token) -> bool:
        return not token.dead and datetime.now(UTC) < token.until


def _texts(settings: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [templates.names(text) for text in templates.texts(dict(settings))]
