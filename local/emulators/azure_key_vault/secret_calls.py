"""The calls for secrets: "Azure Key Vault REST API reference: Secrets"."""

from collections.abc import Callable, Container
from typing import Any, Final

from local.emulators.azure_key_vault.lifecycle import Collection
from local.emulators.azure_key_vault.messages import Answer, Refusal, Request, bad_parameter
from local.emulators.azure_key_vault.shapes import Kind, draft, told_attributes, told_deletion
from local.emulators.azure_key_vault.state import Entry, Version

SECRETS: Final = Kind("secrets", "Secret", "SecretNotFound")
MAX_BYTES: Final = 25_600

WITH_EXPIRY: Final = "Key Vault secrets should have an expiration date"
WITH_CONTENT_TYPE: Final = "Secrets should have content type set"
"""Built-in policies, by their display names."""

Call = Callable[[], Answer]


class SecretCalls:
    """Every call under ``/secrets`` and ``/deletedsecrets``.

    ``policies`` are what built-in policies with the effect Deny ask of each version that is set or changed.
    """

    def __init__(self, collection: Collection, policies: Container[str] = ()) -> None:
        self._all = collection
        self._policies = policies

    def route(self, request: Request) -> tuple[str, Call] | None:
        """The data action that the call needs, and the call; None where no such method is allowed there."""
        match request.method, request.parts:
            case "GET", ("secrets",):
                return "readMetadata/action", lambda: self._list(request)
            case "POST", ("secrets", "restore"):
                return "restore/action", lambda: self._restore(request)
            case "PUT", ("secrets", name):
                return "setSecret/action", lambda: self._set(request, name)
            case "DELETE", ("secrets", name):
                return "delete", lambda: self._delete(request, name)
            case "GET", ("secrets", name, "versions"):
                return "readMetadata/action", lambda: self._list_versions(request, name)
            case "POST", ("secrets", name, "backup"):
                return "backup/action", lambda: Answer({"value": self._all.backup(name)})
            case ("GET", ("secrets", name)) | ("GET", ("secrets", name, _)):
                return "getSecret/action", lambda: self._get(request, name)
            case ("PATCH", ("secrets", name)) | ("PATCH", ("secrets", name, _)):
                return "update/action", lambda: self._change(request, name)
        return self._route_deleted(request)

    def _route_deleted(self, request: Request) -> tuple[str, Call] | None:
        match request.method, request.parts:
            case "GET", ("deletedsecrets",):
                return "readMetadata/action", lambda: self._list_deleted(request)
            case "GET", ("deletedsecrets", name):
                return "readMetadata/action", lambda: self._get_deleted(request, name)
            case "DELETE", ("deletedsecrets", name):
                return "purge/action", lambda: self._purge(name)
            case "POST", ("deletedsecrets", name, "recover"):
                return "recover/action", lambda: self._recover(request, name)
        return None

    def _set(self, request: Request, name: str) -> Answer:
        document = request.document()
        value = document.get("value")
        if not isinstance(value, str):
            raise bad_parameter("Property value is required\r\n")
        if len(value.encode()) > MAX_BYTES:
            raise bad_parameter(f"The secret's value is longer than {MAX_BYTES} bytes")
        wanted = draft(document, value, self._all.clock())
        self._admit(wanted.exp, wanted.content_type)
        entry, version = self._all.add(name, wanted)
        return Answer({"value": version.body, **self._told(request, entry, version)})

    def _get(self, request: Request, name: str) -> Answer:
        entry, version = self._all.get(name, _version(request))
        if not version.enabled:
            raise Refusal(403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled")
        # A secret before its nbf or after its exp is served: the service calls those dates informational.
        return Answer({"value": version.body, **self._told(request, entry, version)})

    def _change(self, request: Request, name: str) -> Answer:
        entry, version = self._all.change(name, _version(request), request.document())
        return Answer(self._told(request, entry, version))

    def _admit(self, expiry: int | None, content_type: str | None) -> None:
        """Refuse a version that a policy does not let through."""
        if (WITH_EXPIRY in self._policies and expiry is None) or (
            WITH_CONTENT_TYPE in self._policies and not content_type
        ):
            raise Refusal(403, "Forbidden", "The operation is not allowed by policy.", "ForbiddenByPolicy")

    def _restore(self, request: Request) -> Answer:
        entry, version = self._all.restore(request.document())
        return Answer(self._told(request, entry, version))

    def _delete(self, request: Request, name: str) -> Answer:
        entry, version = self._all.delete(name)
        return Answer(self._told_deleted(request, entry, version))

    def _get_deleted(self, request: Request, name: str) -> Answer:
        entry, version = self._all.get_deleted(name)
        return Answer(self._told_deleted(request, entry, version))

    def _recover(self, request: Request, name: str) -> Answer:
        entry, version = self._all.recover(name)
        return Answer(self._told(request, entry, version))

    def _purge(self, name: str) -> Answer:
        self._all.purge(name)
        return Answer(None, 204)

    def _list(self, request: Request) -> Answer:
        return Answer(self._all.list(request, lambda entry, version: self._item(request, entry, version)))

    def _list_deleted(self, request: Request) -> Answer:
        def item(entry: Entry, version: Version) -> dict[str, Any]:
            return {**told_deletion(SECRETS, request.base, entry), **self._item(request, entry, version)}

        return Answer(self._all.list_deleted(request, item))

    def _list_versions(self, request: Request, name: str) -> Answer:
        return Answer(
            self._all.list_versions(name, request, lambda entry, version: self._told(request, entry, version))
        )

    def _item(self, request: Request, entry: Entry, version: Version) -> dict[str, Any]:
        return {**self._told(request, entry, version), "id": f"{request.base}/secrets/{entry.name}"}

    def _told(self, request: Request, entry: Entry, version: Version) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "id": f"{request.base}/secrets/{entry.name}/{version.id}",
            "attributes": told_attributes(version, self._all.recovery_level),
        }
        if version.content_type is not None:
            answer["contentType"] = version.content_type
        if version.tags is not None:
            answer["tags"] = version.tags
        return answer

    def _told_deleted(self, request: Request, entry: Entry, version: Version) -> dict[str, Any]:
        return {**told_deletion(SECRETS, request.base, entry), **self._told(request, entry, version)}


def _version(request: Request) -> str:
    """The version that the path names; empty for the newest."""
    return request.parts[2] if len(request.parts) > 2 else ""
