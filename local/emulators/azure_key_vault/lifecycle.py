"""What happens to secrets and keys alike: versions, listing pages, soft delete, backup."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from local.emulators.azure_key_vault.messages import Refusal, Request, bad_parameter
from local.emulators.azure_key_vault.shapes import (
    DAY,
    PROTECTED,
    PURGEABLE,
    RETENTION_DAYS,
    Kind,
    attributes,
    check_name,
    decode,
    encode,
    marker,
    page,
    page_size,
    tags,
    text,
)
from local.emulators.azure_key_vault.state import Entry, State, Version


class Collection:
    """All objects of one kind; ``settle`` is how many seconds a deletion, recovery or purge takes (there: about 5)."""

    def __init__(
        self,
        kind: Kind,
        state: State,
        clock: Callable[[], float] = time.time,
        settle: float = 0,
        *,
        purge_protection: bool = False,
    ) -> None:
        self.kind = kind
        self.clock = clock
        self._state = state
        self._settle = settle
        self.recovery_level = PROTECTED if purge_protection else PURGEABLE
        self._seal = Fernet(base64.urlsafe_b64encode(bytes.fromhex(state.kept("backup key"))))

    # versions

    def get(self, name: str, version: str = "") -> tuple[Entry, Version]:
        """The entry with one version, the newest where none is named. Raises a 404 refusal."""
        entry = self._live(name)
        stored = self._state.version(self.kind.path, name, version) if version else None
        stored = self._state.newest(self.kind.path, name) if not version else stored
        if stored is None:
            raise self._not_found(f"{name}/{version}")
        return entry, stored

    def add(self, name: str, draft: Version) -> tuple[Entry, Version]:
        """Make the draft the newest version. Raises a 409 refusal where the name is deleted."""
        check_name(name)
        with self._state.transaction():
            entry = self._entry(name)
            if entry is not None and (entry.deleted is not None or self._pending(entry)):
                raise self._conflict(entry)
            if entry is None:
                entry = Entry(name)
                self._state.put_entry(self.kind.path, entry)
            self._state.put_version(self.kind.path, name, draft)
        return entry, draft

    def change(self, name: str, version: str, document: dict[str, Any]) -> tuple[Entry, Version]:
        """Change what the document names of one version: attributes, tags, content type."""
        changes = attributes(document)
        if document.get("tags") is not None:
            changes["tags"] = tags(document)
        if document.get("contentType") is not None:
            changes["content_type"] = text(document, "contentType")
        with self._state.transaction():
            entry, stored = self.get(name, version)
            changed = replace(stored, updated=int(self.clock()), **changes)
            self._state.put_version(self.kind.path, name, changed)
        return entry, changed

    def put_policy(self, name: str, policy: dict[str, Any]) -> None:
        """Keep the policy with the entry."""
        with self._state.transaction():
            self._state.put_entry(self.kind.path, replace(self._live(name), policy=policy))

    # soft delete

    def delete(self, name: str) -> tuple[Entry, Version]:
        """Begin to delete, recoverably."""
        check_name(name)
        with self._state.transaction():
            entry = self._entry(name)
            if entry is None or (entry.deleted is not None and not self._pending(entry)):
                raise self._not_found(name)
            if self._pending(entry):
                raise self._conflict(entry)
            gone = replace(entry, deleted=self.clock(), settles=self.clock() + self._settle)
            self._state.put_entry(self.kind.path, gone)
            return gone, self._newest(name)

    def get_deleted(self, name: str) -> tuple[Entry, Version]:
        """A deleted entry. Raises a 404 refusal, also while the deletion is under way."""
        check_name(name)
        entry = self._entry(name)
        if entry is None or entry.deleted is None or self._pending(entry):
            raise Refusal(404, self.kind.not_found, f"Deleted {self.kind.noun} not found: {name}")
        return entry, self._newest(name)

    def recover(self, name: str) -> tuple[Entry, Version]:
        """Begin to bring a deleted entry back, with every version of it."""
        with self._state.transaction():
            entry, newest = self._recoverable(name)
            back = replace(entry, deleted=None, settles=self.clock() + self._settle)
            self._state.put_entry(self.kind.path, back)
        return back, newest

    def purge(self, name: str) -> None:
        """Forget a deleted entry for good; its name is free once that has settled."""
        with self._state.transaction():
            entry, _ = self._recoverable(name)
            if self.recovery_level == PROTECTED:
                raise _protected()
            self._state.drop(self.kind.path, name)
            if self._settle:
                over = self.clock() - RETENTION_DAYS * DAY
                self._state.put_entry(self.kind.path, replace(entry, deleted=over, settles=self.clock() + self._settle))

    # backup

    def backup(self, name: str) -> str:
        """Every version, sealed so that only this vault can open it; base64url."""
        entry = self._live(name)
        versions = [asdict(version) for version in self._state.history(self.kind.path, name)]
        held = {"kind": self.kind.path, "name": entry.name, "policy": entry.policy, "versions": versions}
        return encode(self._seal.encrypt(json.dumps(held).encode()))

    def restore(self, document: dict[str, Any]) -> tuple[Entry, Version]:
        """Bring a backup back under its old name, which must not be in use."""
        held = self._opened(text(document, "value"))
        with self._state.transaction():
            entry = self._entry(held["name"])
            if entry is not None and (entry.deleted is not None or self._pending(entry)):
                raise self._conflict(entry)
            if entry is not None:
                raise Refusal(409, "Conflict", f"A {self.kind.noun} with the name {entry.name} already exists.")
            entry = Entry(held["name"], policy=held["policy"])
            self._state.put_entry(self.kind.path, entry)
            for version in held["versions"]:
                self._state.put_version(self.kind.path, entry.name, Version(**version))
            return entry, self._newest(entry.name)

    # lists

    def list(self, request: Request, render: Callable[[Entry, Version], dict[str, Any]]) -> dict[str, Any]:
        """One page of the entries that are not deleted."""
        return self._page_of_entries(request, render, deleted=False)

    def list_deleted(self, request: Request, render: Callable[[Entry, Version], dict[str, Any]]) -> dict[str, Any]:
        """One page of the deleted entries."""
        return self._page_of_entries(request, render, deleted=True)

    def list_versions(
        self, name: str, request: Request, render: Callable[[Entry, Version], dict[str, Any]]
    ) -> dict[str, Any]:
        """One page of one entry's versions, in no useful order; empty where there is no such entry."""
        check_name(name)
        entry = self._entry(name)
        if entry is None or entry.deleted is not None or self._pending(entry):
            return {"value": [], "nextLink": None}
        limit, after = page_size(request), marker(request)
        versions = self._state.versions(self.kind.path, name, after, limit + 1)
        items = [render(entry, version) for version in versions[:limit]]
        return page(request, items, versions[limit - 1].id if len(versions) > limit else None)

    def _page_of_entries(
        self, request: Request, render: Callable[[Entry, Version], dict[str, Any]], *, deleted: bool
    ) -> dict[str, Any]:
        self._purge_expired()
        limit, after = page_size(request), marker(request)
        entries = self._state.entries(self.kind.path, self.clock(), after, limit + 1, deleted=deleted)
        items = [render(entry, version) for entry, version in entries[:limit]]
        return page(request, items, entries[limit - 1][0].name.lower() if len(entries) > limit else None)

    # what they share

    def _entry(self, name: str) -> Entry | None:
        entry = self._state.entry(self.kind.path, name)
        if entry is None or entry.deleted is None or self._pending(entry):
            return entry
        if entry.deleted + RETENTION_DAYS * DAY <= self.clock():
            self._state.drop(self.kind.path, name)
            return None
        return entry

    def _live(self, name: str) -> Entry:
        check_name(name)
        entry = self._entry(name)
        if entry is None or entry.deleted is not None or self._pending(entry):
            raise self._not_found(name)
        return entry

    def _recoverable(self, name: str) -> tuple[Entry, Version]:
        check_name(name)
        entry = self._entry(name)
        if entry is not None and entry.deleted is not None and self._pending(entry):
            raise Refusal(409, "Conflict", f"{self.kind.noun} is currently being deleted.", "ObjectIsBeingDeleted")
        return self.get_deleted(name)

    def _newest(self, name: str) -> Version:
        newest = self._state.newest(self.kind.path, name)
        if newest is None:
            raise self._not_found(name)
        return newest

    def _pending(self, entry: Entry) -> bool:
        return self.clock() < entry.settles

    def _purge_expired(self) -> None:
        for name in self._state.deleted_by(self.kind.path, self.clock() - RETENTION_DAYS * DAY):
            self._entry(name)

    def _opened(self, blob: str) -> dict[str, Any]:
        try:
            held: dict[str, Any] = json.loads(self._seal.decrypt(decode(blob)))
        except (InvalidToken, ValueError):
            raise bad_parameter("Backup blob is corrupt, or was made for another vault") from None
        if held["kind"] != self.kind.path:
            raise bad_parameter("Backup blob holds another kind of object")
        return held

    def _not_found(self, name: str) -> Refusal:
        noun = self.kind.noun.lower()
        return Refusal(
            404,
            self.kind.not_found,
            f"A {noun} with (name/id) {name} was not found in this key vault. If you recently deleted this {noun} "
            "you may be able to recover it using the correct recovery command. For help resolving this issue, "
            "please see https://go.microsoft.com/fwlink/?linkid=2125182",
        )

    def _conflict(self, entry: Entry) -> Refusal:
        noun = self.kind.noun
        if entry.deleted is None:
            return Refusal(409, "Conflict", f"{noun} is currently being recovered.", "ObjectIsBeingRecovered")
        if self._pending(entry):
            message = f"{noun} {entry.name} is currently being deleted and cannot be re-created; retry later."
            return Refusal(409, "Conflict", message, "ObjectIsBeingDeleted")
        message = (
            f"{noun} {entry.name} is currently in a deleted but recoverable state, and its name cannot be reused; "
            f"in this state, the {noun.lower()} can only be recovered or purged."
        )
        return Refusal(409, "Conflict", message, "ObjectIsDeletedButRecoverable")


def _protected() -> Refusal:
    message = (
        'Operation "purge" is not allowed because purge protection is enabled for this vault. Key Vault service will '
        "automatically purge it after the retention period has passed."
    )
    return Refusal(403, "Forbidden", message)
