"""A service that keeps the public halves of SSH keys: the recipes of ``ssh-key``."""

import base64
import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keyturn.core.ports.keys import KeyKind
from keyturn.providers.keys.key_maker import CryptographyKeys
from local.emulators.recipes.matching import Captured, put
from local.emulators.recipes.server import Answer
from local.emulators.recipes.service import RecipeService, Requests


@dataclass
class PublicKey:
    """``owner`` is the path of the secret that it was added for."""

    id: str
    line: str
    owner: str

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.line)


@dataclass
class PublicKeys(RecipeService):
    """``differences``: ``taken``, the status for a key that it has already."""

    keys: dict[str, PublicKey] = field(default_factory=dict)
    maker: CryptographyKeys = field(default_factory=CryptographyKeys)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        super().__post_init__()

    def requests(self) -> Requests:
        yield "delete", self.shape(self.rotation["delete"], "DELETE"), self._deleted
        if "list" in self.rotation:
            yield "list", self.shape(self.rotation["list"], "GET"), self._listed
        yield "create", self.shape(self.rotation["create"], "POST"), self._created

    def issue(self) -> dict[str, str]:
        private = self.maker.private_key(KeyKind.ED25519)
        line = self.maker.public_openssh(private)
        with self._lock:
            self._added(line, "")
        return {
            "private_key": self.maker.openssh(private).reveal(),
            "public_key": line,
            "fingerprint": fingerprint(line),
        }

    def works(self, fields: Mapping[str, str]) -> bool:
        shown = fingerprint(fields["public_key"])
        return any(key.fingerprint == shown for key in list(self.keys.values()))

    def living(self, path: str) -> list[Mapping[str, str]]:
        return [{"fingerprint": key.fingerprint} for key in list(self.keys.values()) if key.owner == path]

    def reset(self) -> None:
        self.keys.clear()

    def _added(self, line: str, owner: str) -> PublicKey:
        made = str(next(self._numbers))
        self.keys[made] = key = PublicKey(made, line, owner)
        return key

    def _created(self, values: Captured) -> Answer:
        line = values["public_key"]
        if fingerprint(line) in {key.fingerprint for key in self.keys.values()}:
            return Answer(self.differences.get("taken", 422), {"message": "key is already in use"})
        self._added(line, values.get("path", ""))
        return self.success(self.rotation["create"], status=201)

    def _listed(self, _: Captured) -> Answer:
        listing = self.rotation["list"]
        entries = [self._entry(key) for key in self.keys.values()]
        return self.success(listing, put({}, listing.get("items", ""), entries))

    def _entry(self, key: PublicKey) -> Any:
        listing = self.rotation["list"]
        entry: Any = {}
        shown = {"id": key.id, "public_key": key.line, "fingerprint": key.fingerprint, "last_used": None}
        for name in listing.keys() & shown.keys():
            entry = put(entry, listing[name], shown[name])
        return entry

    def _deleted(self, values: Captured) -> Answer:
        named = [key for key in self.keys.values() if values.get("id") == key.id]
        named += [key for key in self.keys.values() if values.get("fingerprint") == key.fingerprint]
        if not named:
            return self.refusal(self.rotation["delete"].get("gone"), 404, "there is no such key")
        del self.keys[named[0].id]
        return self.success(self.rotation["delete"], status=204)


def fingerprint(line: str) -> str:
    """As ``ssh-keygen -l`` shows it."""
    blob = base64.b64decode(line.split()[1])
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b'=').decode()}"
