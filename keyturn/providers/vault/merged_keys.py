"""Single fields of others' secrets in a KV v2 mount, written only over the version that was read."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from keyturn.core.errors import Invalid
from keyturn.core.fingerprint import payload
from keyturn.core.ports.merged_keys import NOTE, Change, Shared
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import SecretFields
from keyturn.core.store_limits import LIMITS, VAULT, too_large
from keyturn.providers.answers import reads_answers
from keyturn.providers.sharing import MERGE
from keyturn.providers.store_refusals import StoreLimits
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.listing import VaultListing
from keyturn.providers.vault.store_versions import is_readable


@reads_answers()
class SharedVault:
    """:class:`keyturn.core.ports.merged_keys.Shares` in one mount; ``translating`` makes errors name the store."""

    atomic = False

    def __init__(
        self,
        name: str,
        calls: Calls,
        mount: str,
        listing: VaultListing,
        translating: Callable[[str, str], AbstractContextManager[None]],
    ) -> None:
        self.name = name
        self._calls = calls
        self._mount = mount
        self._listing = listing
        self._translating = translating
        self._limits = StoreLimits(LIMITS[VAULT], name)

    def look(self, remote: str) -> Shared | None:
        self._limits.check_name(remote, MERGE)
        with self._translating(MERGE, remote):
            metadata = self._calls.data(MERGE, self._named(remote), f"{self._mount}/metadata/{remote}")
            if metadata is None:
                return None
            number, tags = metadata["current_version"], dict(metadata.get("custom_metadata") or {})
            newest = (metadata.get("versions") or {}).get(str(number))
            if number and (newest is None or not is_readable(newest)):
                hint = "Let its owner undelete it, or choose another name; nothing was written"
                raise Invalid(MERGE, self._named(remote), "its newest version is deleted or destroyed", hint)
            fields = self._fields(remote, number) if number else {}
        return Shared(remote, str(number or ""), fields, None, tags, OwnershipTags.from_tags(tags))

    def put(self, remote: str, change: Change, current: Shared | None) -> None:
        """Write new notes, then the version if no other came between, then remove old notes."""
        members = dict(current.members) if current else {}
        fields = {**{key: value for key, value in members.items() if key not in change.take}, **change.put}
        if problem := self._problem(fields):
            raise Invalid(MERGE, self._named(remote), f"{problem}, with the keys of others", "Nothing was written")
        with self._translating(MERGE, remote):
            if change.laid:
                self._note(remote, change.laid, current)
            if change or current is None:
                body = {"options": {"cas": int(current.version_id or 0) if current else 0}, "data": fields}
                self._calls.post(MERGE, self._named(remote), f"{self._mount}/data/{remote}", body)
            if change.removed:
                self._note(remote, dict.fromkeys(change.removed), current)

    def listed(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        with self._translating("list", "*"):
            for path, metadata in self._listing.below():
                tags = metadata.get("custom_metadata") or {}
                if any(key.startswith(NOTE) for key in tags):
                    yield path, tags

    def tidy(self, remote: str) -> None:
        """Nothing remains to remove."""

    def _note(self, remote: str, tags: Mapping[str, str | None], current: Shared | None) -> None:
        call = self._calls.post if current is None else self._calls.patch
        call(MERGE, self._named(remote), f"{self._mount}/metadata/{remote}", {"custom_metadata": dict(tags)})

    def _fields(self, remote: str, number: int) -> Mapping[str, Any]:
        path = f"{self._mount}/data/{remote}"
        body = self._calls.data(MERGE, self._named(remote), path, {"version": number})
        return {} if body is None else dict(body["data"] or {})

    def _problem(self, fields: Mapping[str, Any]) -> str | None:
        try:
            return too_large(VAULT, len(payload(SecretFields(fields)).reveal().encode()))
        except UnicodeEncodeError:
            return "it holds what is no character"

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"
