"""A service with two keys that it regenerates: the recipes of ``http-two-slots``."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from local.emulators.recipes.matching import Captured, put
from local.emulators.recipes.server import Answer
from local.emulators.recipes.service import RecipeService, Requests, filled

FIELDS: Final = {"key": "{{key}}", "slot": "{{slot}}"}


@dataclass
class Slots(RecipeService):
    """One account, whose ``keys`` are by the names of the slots."""

    keys: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._fields: Mapping[str, str] = self.rotation.get("fields", FIELDS)
        self._key = next(name for name, text in self._fields.items() if text == "{{key}}")
        super().__post_init__()
        self.reset()

    def requests(self) -> Requests:
        yield "regenerate", self.shape(self.rotation["regenerate"], "POST"), self._regenerated
        yield "read", self.shape(self.rotation["read"], "POST"), lambda _: self._shown(self.rotation["read"])
        if "test" in self.rotation:
            yield "test", self.shape(self.rotation["test"], "GET", as_admin=False, at_test_url=True), self._tested

    def issue(self) -> dict[str, str]:
        slot = self.rotation["slots"][0]
        values = {"slot": slot, "key": self.keys[slot]}
        return {name: filled(text, values, self.constants) for name, text in self._fields.items()}

    def works(self, fields: Mapping[str, str]) -> bool:
        return fields[self._key] in list(self.keys.values())

    def living(self, path: str) -> list[Mapping[str, str]]:
        """The key in a slot that no version holds ends with the next rotation; the service always has two."""
        return []

    def reset(self) -> None:
        self.keys = {slot: secrets.token_urlsafe(40) for slot in self.rotation["slots"]}

    def _regenerated(self, values: Captured) -> Answer:
        regenerate = self.rotation["regenerate"]
        if values["slot"] not in self.keys:
            return Answer(400, {"error": {"code": "InvalidKeyName"}})
        self.keys[values["slot"]] = secrets.token_urlsafe(40)
        return self._shown(regenerate) if "values" in regenerate else self.success(regenerate)

    def _shown(self, settings: Mapping[str, Any]) -> Answer:
        document: Any = {}
        for slot, pointer in settings["values"].items():
            document = put(document, pointer, self.keys[slot])
        return self.success(settings, document)

    def _tested(self, values: Captured) -> Answer:
        test = self.rotation["test"]
        if values.get("key", values.get(self._key)) in self.keys.values():
            return self.success(test)
        return self.refusal(test.get("refused"), 401, "the key is not valid")
