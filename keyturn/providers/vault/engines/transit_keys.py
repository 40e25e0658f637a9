"""Managed keys of the hub's transit engine. Source: "Transit secrets engine (API)" of Vault and OpenBao.

Needs ``read`` on ``transit/keys/<key>`` and ``update`` on ``.../rotate``, ``.../config`` and ``transit/rewrap/<key>``.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from keyturn.core.errors import Invalid, NotFound, Unavailable
from keyturn.core.ports.hub import KeyOpening
from keyturn.core.ports.managed_keys import Generations, KeyCondition, KeyFacts, ManagedKey
from keyturn.providers.answers import reads_answers
from keyturn.providers.vault.client import Calls

CIPHERTEXT: Final = re.compile(r"vault:v([0-9]{1,9}):[A-Za-z0-9+/_=-]+")
IN_HSM: Final = "managed_key"
"""The type of a key in an HSM or KMS: "Managed keys" of Vault Enterprise."""
OWN_KEYS: Final = "keyturn-"
BATCH: Final = 100


def open_transit_key(opening: KeyOpening, key: str) -> ManagedKey:
    return opening.engines.transit_key(key)


@reads_answers("the transit engine")
class TransitKey:
    """A ``ManagedKey`` that ``KeepsGenerations``. Raises Invalid for a key of Keyturn's own."""

    def __init__(self, calls: Calls, mount: str, key: str) -> None:
        self.name = f"{mount}/keys/{key}"
        if key.lower().startswith(OWN_KEYS) or "/" in key:
            raise Invalid("manage", self.name, "it is a key of Keyturn's own", "`keyturn due` shows its state")
        self._calls = calls
        self._rewrap = f"{mount}/rewrap/{key}"

    def describe(self) -> KeyFacts:
        settings = self._settings()
        newest = str(settings["latest_version"])
        hsm = settings["type"] == IN_HSM
        kept_in = "its engine keeps it in an HSM" if hsm else "the transit engine keeps it in the hub's own storage"
        # Vault Enterprise and OpenBao 2.2 delete softly: the key is unusable until it is restored.
        ending = KeyCondition.ENDING if settings.get("soft_deleted") else KeyCondition.ENABLED
        return KeyFacts(newest, self._made_at(settings).get(int(newest)), hsm, kept_in, ending)

    def differences(self) -> Sequence[str]:
        return ()

    def settle(self) -> Sequence[str]:
        return ()

    def rotate(self) -> None:
        self._calls.post("rotate", self.name, f"{self.name}/rotate", {})

    def generations(self) -> Generations:
        settings = self._settings()
        return Generations(self._made_at(settings), int(settings["min_decryption_version"]))

    def generation_of(self, text: str) -> int | None:
        ciphertext = CIPHERTEXT.fullmatch(text)
        return int(ciphertext[1]) if ciphertext else None

    def rewrap(self, ciphertexts: Sequence[str]) -> list[str]:
        """Rewrap with the newest version. Raises Invalid if the engine refuses one."""
        return [
            text for start in range(0, len(ciphertexts), BATCH) for text in self._batch(ciphertexts[start:][:BATCH])
        ]

    def raise_floor(self, generation: int) -> None:
        self._calls.post("limit", self.name, f"{self.name}/config", {"min_decryption_version": generation})

    def _batch(self, ciphertexts: Sequence[str]) -> list[str]:
        body = {"batch_input": [{"ciphertext": text} for text in ciphertexts]}
        try:
            answer = self._calls.post("rewrap with", self.name, self._rewrap, body).json()["data"]["batch_results"]
        except Invalid:
            raise self._foreign() from None
        texts = [str(result.get("ciphertext", "")) for result in answer]
        if any(result.get("error") for result in answer):
            raise self._foreign()
        if len(texts) != len(ciphertexts) or not all(map(CIPHERTEXT.fullmatch, texts)):
            problem = "the hub's answer is not what its transit engine gives"
            raise Unavailable("rewrap with", self.name, problem, "Check VAULT_ADDR, and any proxy in between")
        return texts

    def _foreign(self) -> Invalid:
        problem = "the engine refuses a ciphertext: another key has made it, or a generation that is out of use"
        return Invalid("rewrap with", self.name, problem, "See which fields are this key's, and its minimum version")

    def _settings(self) -> dict[str, Any]:
        settings = self._calls.data("look at", self.name, self.name)
        if settings is None:
            hint = f"Make it (`vault write -f {self.name}`), or correct its name in the catalogue"
            raise NotFound("look at", self.name, "the hub has no such key", hint)
        return settings

    def _made_at(self, settings: dict[str, Any]) -> dict[int, datetime]:
        """Times in seconds for a symmetric key, RFC 3339 for a pair."""
        return {int(number): _moment(version) for number, version in settings["keys"].items()}


def _moment(version: object) -> datetime:
    if isinstance(version, int):
        return datetime.fromtimestamp(version, UTC)
    text: Any = version["creation_time"] if isinstance(version, dict) else version
    return datetime.fromisoformat(str(text)).astimezone(UTC)
