"""A second Vault or OpenBao as a store: a KV v2 mount of another server than the hub.

A JSON object becomes the secret's fields; any other text goes into the one field ``value``. The custom metadata holds
the marks with the number of their version, so another version shows without reading a value. The value comes first: a
crash before the marks leaves a copy that is not intact. Source: "KV secrets engine version 2 (API)" of Vault 1.12 and
OpenBao 2.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from keyturn.core.errors import Conflict, Invalid, KeyturnError, NotFound
from keyturn.core.fingerprint import payload, vouches
from keyturn.core.ports.hub import EXPIRES_AT
from keyturn.core.ports.stores import (
    NO_DETAILS,
    TAG_TAGS,
    TAG_VERSION,
    Details,
    OwnershipTags,
    RemoteSecret,
    Unsupported,
    others,
    tag_changes,
)
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.store_limits import LIMITS, VAULT, too_large
from keyturn.core.text.details import SHOWN
from keyturn.providers.answers import reads_answers
from keyturn.providers.store_refusals import StoreLimits, insist_on_value, unfulfilled
from keyturn.providers.vault.capabilities import capabilities_at
from keyturn.providers.vault.client import WRONG_MOUNT, Calls
from keyturn.providers.vault.listing import VaultListing
from keyturn.providers.vault.merged_keys import SharedVault
from keyturn.providers.vault.store_versions import VaultOldVersions, is_readable
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import AppRoleLogin, HubLogin, TokenLogin

TEXT_FIELD: Final = "value"

TAG_FORM: Final = "keyturn-form"
FIELDS: Final = "fields"
"""Marks an object that otherwise looks like a text."""

TAG_LET_GO: Final = "keyturn-deleted"
"""The version that Keyturn deleted; the author of a later version owns the secret."""

LARGEST_WHOLE: Final = 2**53

LONGEST_MARK: Final = 512

THREADS: Final = 8

PAST: Final = "read old versions of"
FORGET: Final = "forget old versions of"
ERASE: Final = "erase"


def store_login(token_file: str | None, role_id_file: str | None, secret_id_file: str | None) -> HubLogin:
    return AppRoleLogin(role_id_file, secret_id_file or "") if role_id_file else TokenLogin(file=token_file)


@reads_answers()
class VaultStore:
    """A ``Store``. A deleted secret can be undeleted, and stays Keyturn's until another version exists."""

    unsupported: frozenset[Unsupported] = frozenset()

    def __init__(
        self,
        name: str,
        *,
        address: str,
        mount: str = "secret",
        namespace: str | None = None,
        ca_file: str | None = None,
        token_file: str | None = None,
        role_id_file: str | None = None,
        secret_id_file: str | None = None,
    ) -> None:
        self.name = name
        self._limits = StoreLimits(LIMITS[VAULT], name)
        self._mount = mount
        self._calls = Calls(
            HubSettings(
                address,
                mount=mount,
                namespace=namespace,
                ca_file=ca_file,
                login=store_login(token_file, role_id_file, secret_id_file),
            )
        )
        self._listing = VaultListing(self._calls, mount, self._named("*"))
        self._past = VaultOldVersions(self._calls, mount, self._named, self._metadata)
        self.shared = SharedVault(name, self._calls, mount, self._listing, self._translating)

    def describe(self, remote: str) -> RemoteSecret | None:
        self._limits.check_name(remote, "find")
        metadata = self._metadata(remote, "find")
        return None if metadata is None else _copy(remote, metadata)

    def list_managed(self) -> Iterator[RemoteSecret]:
        return (copy for copy in self.list_all() if copy.marks)

    def list_all(self) -> Iterator[RemoteSecret]:
        with self._translating("list", "*"):
            for path, metadata in self._listing.below():
                if _served(metadata):
                    yield _copy(path, metadata)

    def write(
        self,
        remote: str,
        value: Sensitive,
        marks: OwnershipTags,
        current: RemoteSecret | None,
        *,
        details: Details = NO_DETAILS,
    ) -> RemoteSecret:
        self._check(remote, value, marks)
        as_it_is = current is not None and current == RemoteSecret(remote, current.version_id, marks)
        if current and as_it_is and not unfulfilled(details, current, SHOWN[VAULT]):
            return current
        with self._translating("write", remote):
            fields = stored_fields(value)
            version = self._serving(remote, fields, marks, current) or self._put(remote, fields, marks, current, value)
            ends = {EXPIRES_AT: _shown(details.expires_at)}
            self._mark(remote, {**_beside(current, details), **_tags(marks, version, fields, value), **ends})
        return RemoteSecret(remote, str(version), marks, details=_laid(current, details))

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, current: RemoteSecret) -> RemoteSecret:
        """Sends only the differences: the server checks no version, so marks of a concurrent write survive."""
        self._limits.check_name(remote, "label")
        insist_on_value(self._named(remote), current, marks)
        ends = {EXPIRES_AT: _shown(details.expires_at)} if details.expires_at else {}
        with self._translating("label", remote):
            self._mark(remote, {**_beside(current, details), **_changed(current.marks, marks), **ends})
        return RemoteSecret(remote, current.version_id, marks, details=_laid(current, details))

    def read(self, remote: str) -> Sensitive:
        self._limits.check_name(remote, "read")
        text = self._read(remote)
        if text is None:
            raise NotFound("read", self._named(remote), "there is none, or it is deleted", "Push it again")
        return text

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        for remote in remotes:
            self._limits.check_name(remote, "read")
        with ThreadPoolExecutor(THREADS) as pool:
            texts = zip(remotes, pool.map(self._read, remotes), strict=True)
            return {remote: value for remote, value in texts if value is not None}

    def delete(self, remote: str) -> None:
        self._limits.check_name(remote, "delete")
        metadata = self._metadata(remote, "delete")
        if metadata is None:
            return
        version = metadata["current_version"]
        with self._translating("delete", remote):
            if _served(metadata):
                path = f"{self._mount}/delete/{remote}"
                self._calls.post("delete", self._named(remote), path, {"versions": [version]})
            if OwnershipTags.from_tags(_custom(metadata)):
                self._mark(remote, {TAG_LET_GO: str(version)})

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        self._limits.check_name(remote, PAST)
        with self._translating(PAST, remote):
            versions = self._past.readable(remote, PAST)
        return {
            name: value for number, data in versions.items() for name, value in readings(number, data["data"]).items()
        }

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        self._limits.check_name(remote, FORGET)
        with self._translating(FORGET, remote):
            self._past.destroy(remote, FORGET)
        return ()

    def purge(self, remote: str) -> tuple[str, ...]:
        self._limits.check_name(remote, ERASE)
        with self._translating(ERASE, remote):
            self._past.remove(remote, ERASE)
        return ()

    def capabilities(self, paths: Sequence[str]) -> dict[str, frozenset[str]]:
        with self._translating("ask for the rights in", "*"):
            return capabilities_at(self._calls, paths, self._named("*"))

    def close(self) -> None:
        self._calls.close()

    def _serving(
        self, remote: str, fields: Mapping[str, Any], marks: OwnershipTags, current: RemoteSecret | None
    ) -> int | None:
        """Reads the value only if the marks prove nothing."""
        if current is None:
            return None
        if current.intact:
            same = current.marks is not None and vouches(current.marks.fingerprint, marks.fingerprint)
            return int(current.version_id) if same else None
        served = self._data(remote)
        same = served is not None and payload(SecretFields(served["data"])) == payload(SecretFields(fields))
        return int(served["metadata"]["version"]) if served and same else None

    def _put(
        self,
        remote: str,
        fields: Mapping[str, Any],
        marks: OwnershipTags,
        current: RemoteSecret | None,
        value: Sensitive,
    ) -> int:
        if current is None:
            self._claim(remote, marks, fields, value)
        cas = int(current.version_id or 0) if current else 0
        body = {"options": {"cas": cas}, "data": dict(fields)}
        try:
            answer = self._calls.post("write", self._named(remote), f"{self._mount}/data/{remote}", body)
        except Conflict:
            if current is None:
                self._mark(remote, dict.fromkeys((*marks.to_tags(), TAG_FORM)))
            raise
        return int(answer.json()["data"]["version"])

    def _claim(self, remote: str, marks: OwnershipTags, fields: Mapping[str, Any], value: Sensitive) -> None:
        """Write marks first, so Keyturn recognises an interrupted first write as its own."""
        body = {"custom_metadata": marks.to_tags() | _form(fields, value)}
        self._calls.post("write", self._named(remote), f"{self._mount}/metadata/{remote}", body)

    def _mark(self, remote: str, custom: Mapping[str, str | None]) -> None:
        body = {"custom_metadata": dict(custom)}
        self._calls.patch("mark", self._named(remote), f"{self._mount}/metadata/{remote}", body)

    def _metadata(self, remote: str, doing: str) -> Mapping[str, Any] | None:
        with self._translating(doing, remote):
            answer = self._calls.find(doing, self._named(remote), f"{self._mount}/metadata/{remote}")
        return None if answer is None else dict(answer.json()["data"])

    def _data(self, remote: str) -> Mapping[str, Any] | None:
        return self._calls.data("read", self._named(remote), f"{self._mount}/data/{remote}")

    def _read(self, remote: str) -> Sensitive | None:
        with self._translating("read", remote):
            served = self._data(remote)
        return None if served is None else stored_text(served["data"], served["metadata"])

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"

    @contextmanager
    def _translating(self, doing: str, remote: str) -> Iterator[None]:
        try:
            yield
        except KeyturnError as error:
            problem, hint = (_in_catalogue(text) for text in (error.problem, error.hint))
            about = "" if error.name == self._named(remote) else f"{error.doing} {error.name}: "
            raise type(error)(doing, self._named(remote), about.replace("the hub", "it") + problem, hint) from None

    def _check(self, remote: str, value: Sensitive, marks: OwnershipTags) -> None:
        self._limits.check_name(remote, "write")
        try:
            problem = too_large(VAULT, len(value.reveal().encode()))
        except UnicodeEncodeError:
            problem = "it holds what is no character"
        if len(marks.source_tag.encode()) > LONGEST_MARK:
            problem = f"the path {marks.source} does not fit in custom metadata"
        if problem:
            raise Invalid("write", self._named(remote), problem, "Nothing was written")


IN_CATALOGUE: Final = {
    WRONG_MOUNT: "If its mount is wrong, correct mount in the catalogue",
    "the hub": "this Vault",
    "VAULT_CACERT (ca_file)": "ca_file",
    "VAULT_CACERT to": "ca_file in the catalogue to",
    ", or VAULT_TLS_SERVER_NAME to that name": "",
    ". Where it asks for a client's certificate, set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY": "",
    "Where it asks for a client's certificate, set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY": "Let it accept this client",
    "VAULT_ADDR": "address",
}


def _in_catalogue(text: str) -> str:
    for of_hub, of_store in IN_CATALOGUE.items():
        text = text.replace(of_hub, of_store)
    return text


def stored_fields(value: Sensitive) -> dict[str, Any]:
    """The fields of a JSON object that reads back identically, else the text in one field."""
    try:
        fields = json.loads(value.reveal())
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, dict) and fields and _unchanging(fields) and payload(SecretFields(fields)) == value:
        return fields
    return {TEXT_FIELD: value.reveal()}


def stored_text(fields: Mapping[str, Any], metadata: Mapping[str, Any]) -> Sensitive:
    """The text stored as these fields; ``metadata`` decides between an object and a text.

    A version without marks of its own uses the marks of the one before, because a write may have been interrupted.
    """
    custom = metadata.get("custom_metadata") or {}
    if _looks_like_text(fields) and custom.get(TAG_FORM) != FIELDS:
        return Sensitive(fields[TEXT_FIELD])
    return payload(SecretFields(fields))


def readings(number: int, fields: Mapping[str, Any]) -> dict[str, Sensitive]:
    """The possible texts of an old version: only the newest has marks."""
    as_object = payload(SecretFields(fields))
    if not _looks_like_text(fields):
        return {str(number): as_object}
    return {str(number): Sensitive(fields[TEXT_FIELD]), f"{number} as an object": as_object}


def _unchanging(value: Any) -> bool:
    """Whether the server returns this value unchanged: 1.0 would become 1."""
    if isinstance(value, dict):
        return all(map(_unchanging, value.values()))
    if isinstance(value, list):
        return all(map(_unchanging, value))
    if isinstance(value, float):
        return not value.is_integer() and abs(value) < LARGEST_WHOLE
    return not isinstance(value, int) or abs(value) <= LARGEST_WHOLE


def _tags(marks: OwnershipTags, version: int, fields: Mapping[str, Any], value: Sensitive) -> dict[str, str | None]:
    form = {TAG_FORM: None, **_form(fields, value)}
    return {TAG_TAGS: None, **marks.to_tags(), TAG_VERSION: str(version), TAG_LET_GO: None, **form}


def _form(fields: Mapping[str, Any], value: Sensitive) -> dict[str, str]:
    as_object = _looks_like_text(fields) and payload(SecretFields(fields)) == value
    return {TAG_FORM: FIELDS} if as_object else {}


def _beside(current: RemoteSecret | None, details: Details) -> dict[str, str | None]:
    there = current.details.tags if current and current.details else {}
    return tag_changes(there, details.tags, current.marks.tags if current and current.marks else ())


def _changed(before: OwnershipTags | None, marks: OwnershipTags) -> dict[str, str | None]:
    there, wanted = before.to_tags() if before else {}, marks.to_tags()
    gone = dict.fromkeys(there.keys() - wanted.keys())
    return {**gone, **{name: text for name, text in wanted.items() if there.get(name) != text}}


def _laid(current: RemoteSecret | None, details: Details) -> Details:
    return details.laid_over((current and current.details) or NO_DETAILS, current.marks if current else None)


def _looks_like_text(fields: Mapping[str, Any]) -> bool:
    return list(fields) == [TEXT_FIELD] and isinstance(fields[TEXT_FIELD], str)


def _shown(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None


def _moment(shown: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(shown or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _custom(metadata: Mapping[str, Any]) -> dict[str, str]:
    return metadata.get("custom_metadata") or {}


def _served(metadata: Mapping[str, Any]) -> bool:
    newest = metadata["versions"].get(str(metadata["current_version"]))
    return newest is not None and is_readable(newest)


def _copy(path: str, metadata: Mapping[str, Any]) -> RemoteSecret:
    custom, version = _custom(metadata), str(metadata["current_version"])
    let_go = TAG_LET_GO in custom and custom[TAG_LET_GO] != version
    marks = None if let_go else OwnershipTags.from_tags(custom)
    intact = _served(metadata) and (marks is None or custom.get(TAG_VERSION) == version)
    details = Details(others(custom), expires_at=_moment(custom.get(EXPIRES_AT)))
    return RemoteSecret(path, version, marks, intact, details=details)
