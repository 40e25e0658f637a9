"""A REST API on loopback with two keys for each account, as Azure Resource Manager has them for many services.

``POST /accounts/NAME/listKeys`` shows both, ``POST /accounts/NAME/regenerateKey`` with ``keyName`` replaces one. A key
is tried at ``/whoami``.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.rest_api import RestApi, Said, Told


@dataclass
class SlotApi(RestApi):
    """``slots`` holds the keys of each account. ``stale`` is how many lists still show the keys from before a change.

    ``slow_keys`` is how often a key is unknown. ``silent`` leaves the keys out of the answer to a regeneration.
    """

    slots: dict[str, dict[str, str]] = field(default_factory=dict)
    stale: int = 0
    silent: bool = False
    _shown_before: dict[str, dict[str, str]] = field(default_factory=dict)

    def create(self, account: str) -> dict[str, str]:
        """A fresh account; its keys, which change with it."""
        self.slots[account] = {"key1": new_key(), "key2": new_key()}
        return self.slots[account]

    def takes(self, value: str) -> bool:
        """Whether the value is the key of an account now."""
        return any(value in slots.values() for slots in list(self.slots.values()))

    def _answered(self, told: Told) -> Said:
        parts = [unquote(part) for part in urlsplit(told.path).path.split("/")[1:]]
        if told.headers.get("authorization") == f"Bearer {self.admin_token}":
            match [told.method, *parts]:
                case ["POST", "accounts", account, "listKeys"] if account in self.slots:
                    return Said(200, self._listed(account))
                case ["POST", "accounts", account, "regenerateKey"] if account in self.slots:
                    return self._regenerated(account, told.json)
        return super()._answered(told)

    def _whoami(self, value: str) -> Said:
        if not self.takes(value) or self.slow_keys:
            self.slow_keys = max(0, self.slow_keys - 1)
            return Said(401, {"message": f"the key {value} is not known"})
        return Said(200, {"account": "it is you"})

    def _listed(self, account: str) -> dict[str, str]:
        if self.stale and account in self._shown_before:
            self.stale -= 1
            return self._shown_before[account]
        return dict(self.slots[account])

    def _regenerated(self, account: str, asked: Any) -> Said:
        if asked.get("keyName") not in self.slots[account]:
            return Said(400, {"error": {"code": "InvalidKeyName"}})
        self._shown_before[account] = dict(self.slots[account])
        self.slots[account][asked["keyName"]] = new_key()
        return Said(202) if self.silent else Said(200, dict(self.slots[account]))


def new_key() -> str:
    return secrets.token_urlsafe(24)
