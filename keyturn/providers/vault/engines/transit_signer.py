"""An Ed25519 key in the hub's transit engine. Source: "Transit secrets engine (API)" of Vault and OpenBao."""

import base64
import copy
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from keyturn.core.errors import Invalid, NotFound, Unavailable
from keyturn.providers.answers import reads_answers
from keyturn.providers.vault.client import Calls

ED25519: Final = "ed25519"
PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
"""Source of both: RFC 8032, section 5.1."""


@reads_answers("the hub")
class VaultSigner:
    """A ``Signer`` with the key's newest version at creation, and no later one.

    Raises NotFound, Denied, and Invalid for another type of key.
    """

    def __init__(self, calls: Calls, mount: str, key: str) -> None:
        self._calls = calls
        self._name = f"{mount}/keys/{key}"
        self._sign = f"{mount}/sign/{key}"
        settings = calls.get("read", self._name, self._name).json()["data"]
        self._refuse_other_kinds(settings)
        self._version = int(settings["latest_version"])
        versions = sorted((int(number), key["public_key"]) for number, key in settings["keys"].items())
        self._all = [self._decoded(public, PUBLIC_BYTES) for number, public in versions if number <= self._version]
        self._numbers = dict(zip(self._all, (number for number, _ in versions), strict=False))
        self._public = self._all[-1]
        self.made_at = _moment(settings["keys"][str(self._version)].get("creation_time"))

    def public_key(self) -> bytes:
        return self._public

    def public_keys(self) -> list[bytes]:
        return self._all

    def earlier(self, public_key: bytes) -> "VaultSigner":
        if public_key not in self._numbers:
            hint = "See its versions, and min_decryption_version: vault read " + self._name
            raise NotFound("sign with", self._name, "the hub keeps no such version of the key", hint)
        version = copy.copy(self)
        version._version, version._public = self._numbers[public_key], public_key
        return version

    def sign(self, message: bytes) -> bytes:
        body = {"input": base64.b64encode(message).decode(), "key_version": self._version}
        answer = self._calls.post("sign with", self._name, self._sign, body).json()["data"]["signature"]
        version, _, signature = str(answer).removeprefix("vault:").partition(":")
        if version != f"v{self._version}":
            raise self._unexpected() from None
        return self._decoded(signature, SIGNATURE_BYTES)

    def _refuse_other_kinds(self, settings: dict[str, Any]) -> None:
        if settings["type"] != ED25519 or settings.get("derived"):
            problem = f"the key is {'derived ' if settings.get('derived') else ''}{settings['type']}"
            hint = f"Make one of type {ED25519} that is not derived, under another name"
            raise Invalid("sign with", self._name, problem, hint) from None

    def _decoded(self, text: str, size: int) -> bytes:
        try:
            raw = base64.b64decode(text, validate=True)
        except ValueError:
            raw = b""
        if len(raw) != size:
            raise self._unexpected() from None
        return raw

    def _unexpected(self) -> Unavailable:
        problem = "the hub's answer is not what its transit engine gives"
        return Unavailable("sign with", self._name, problem, "Check VAULT_ADDR, and any proxy in between")


def _moment(text: object) -> datetime | None:
    with suppress(ValueError):
        return datetime.fromisoformat(str(text))
    return None
