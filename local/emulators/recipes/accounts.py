"""A service whose accounts have values that it is given: the recipes of ``http-password``."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from local.emulators.recipes.matching import Captured, put
from local.emulators.recipes.server import Answer
from local.emulators.recipes.service import RecipeService, Requests

CANDIDATE: Final = "candidate."
READ: Final = "read."


@dataclass
class Account:
    """``shown`` is what the service says of it: its own id, or a number that changes with each change."""

    name: str
    values: dict[str, str]
    shown: dict[str, str]
    blocked: bool = False


@dataclass
class Accounts(RecipeService):
    """``differences``: ``revision``, the name under ``read`` of what a change must repeat, and then changes."""

    accounts: dict[str, Account] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._generated = list(self.rotation.get("generate", {"password": {}}))
        self._field = self.rotation.get("account_field", "username")
        super().__post_init__()

    def requests(self) -> Requests:
        yield "change", self.shape(self.rotation["change"], "PUT"), self._changed
        if "disable" in self.rotation:
            yield "disable", self.shape(self.rotation["disable"], "POST"), self._disabled
        if "sessions" in self.rotation:
            yield "sessions", self.shape(self.rotation["sessions"], "GET"), self._sessions
        if "end_sessions" in self.rotation:
            yield "end_sessions", self.shape(self.rotation["end_sessions"], "DELETE"), self._ended
        if "create" in self.rotation:
            yield "create", self.shape(self.rotation["create"], "POST"), self._created
        if "read" in self.rotation:
            yield "read", self.shape(self.rotation["read"], "GET"), self._read
        yield "test", self.shape(self.rotation["test"], "GET", as_admin=False, at_test_url=True), self._tested

    # --- what a test asks ---

    def issue(self) -> dict[str, str]:
        return self.open_accounts(self.rotation["accounts"])

    def open_accounts(self, names: list[str]) -> dict[str, str]:
        """Open these accounts, of which the first one serves; the others only if they can't be created."""
        with self._lock:
            for name in names[:1] if "create" in self.rotation else names:
                self._opened(name, {})
            return {self._field: names[0], **self.accounts[names[0]].values}

    def works(self, fields: Mapping[str, str]) -> bool:
        account = self.accounts.get(fields.get(self._field, ""))
        return account is not None and self._accepts(account, fields)

    def living(self, path: str) -> list[Mapping[str, str]]:
        open_accounts = [each for each in list(self.accounts.values()) if not each.blocked]
        return [{self._field: each.name, **each.values} for each in open_accounts]

    def reset(self) -> None:
        self.accounts.clear()

    # --- requests ---

    def _opened(self, name: str, values: Mapping[str, str]) -> Account:
        made = {field: values.get(CANDIDATE + field) or secrets.token_urlsafe(24) for field in self._generated}
        shown = {name: secrets.token_hex(8) for name in (self.rotation.get("read") or {}).get("answer", {})}
        self.accounts[name] = account = Account(name, made, shown)
        return account

    def _found(self, values: Captured) -> Account | None:
        if "account" in values:
            return self.accounts.get(values["account"])
        ids = {name.removeprefix(READ): value for name, value in values.items() if name.startswith(READ)}
        named = [each for each in self.accounts.values() if ids and ids.items() <= each.shown.items()]
        single = list(self.accounts.values()) if not ids and len(self.accounts) == 1 else []
        return next(iter(named or single), None)

    def _changed(self, values: Captured) -> Answer:
        if (account := self._found(values)) is None:
            return Answer(404, {"error": "there is no such account"})
        revision = self.differences.get("revision")
        if revision and values.get(READ + revision) != account.shown[revision]:
            return Answer(409, {"error": "conflict", "reason": "Document update conflict."})
        account.values = {field: values[CANDIDATE + field] for field in self._generated}
        account.blocked = False
        if revision:
            account.shown[revision] = secrets.token_hex(8)
        return self.success(self.rotation["change"])

    def _created(self, values: Captured) -> Answer:
        if values["account"] in self.accounts:
            return Answer(409, {"error": "there is such an account already"})
        self._opened(values["account"], values)
        return self.success(self.rotation["create"], status=201)

    def _disabled(self, values: Captured) -> Answer:
        if (account := self._found(values)) is None:
            return Answer(404, {"error": "there is no such account"})
        account.blocked = True
        return self.success(self.rotation["disable"])

    def _read(self, values: Captured) -> Answer:
        read = self.rotation["read"]
        if (account := self._found(values)) is None:
            return Answer(404, {"error": "there is no such account"})
        document: Any = {}
        for name, pointer in read["answer"].items():
            document = put(document, pointer, account.shown[name])
        return self.success(read, document)

    def _tested(self, values: Captured) -> Answer:
        test = self.rotation["test"]
        sent = {name.removeprefix(CANDIDATE): value for name, value in values.items() if name.startswith(CANDIDATE)}
        named = [values["account"]] if "account" in values else list(self.accounts)
        if any(name in self.accounts and self._accepts(self.accounts[name], sent) for name in named):
            return self.success(test)
        return self.refusal(test.get("refused"), 401, "the login is not valid")

    def _accepts(self, account: Account, sent: Mapping[str, str]) -> bool:
        shared = account.values.keys() & sent.keys()
        return not account.blocked and bool(shared) and all(account.values[name] == sent[name] for name in shared)

    def _sessions(self, _: Captured) -> Answer:
        sessions = self.rotation["sessions"]
        return self.success(sessions, put({}, sessions.get("items", ""), []))

    def _ended(self, _: Captured) -> Answer:
        return self.success(self.rotation["end_sessions"], status=204)
