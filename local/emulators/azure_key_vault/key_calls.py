"""The calls for keys: "Azure Key Vault REST API reference: Keys", as far as rotations and uses need them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from local.emulators.azure_key_vault.key_material import Material
from local.emulators.azure_key_vault.lifecycle import Collection
from local.emulators.azure_key_vault.messages import Answer, Refusal, Request, bad_parameter
from local.emulators.azure_key_vault.rotation_policy import DEFAULT, RotationPolicy
from local.emulators.azure_key_vault.shapes import (
    Kind,
    decode,
    draft,
    encode,
    text,
    told_attributes,
    told_deletion,
)
from local.emulators.azure_key_vault.state import Entry, Version

KEYS: Final = Kind("keys", "Key", "KeyNotFound")

Call = Callable[[], Answer]


class KeyCalls:
    """Every call under ``/keys`` and ``/deletedkeys``."""

    def __init__(self, collection: Collection) -> None:
        self._all = collection

    def route(self, request: Request) -> tuple[str, Call] | None:
        """The data action that the call needs, and the call; None where no such method is allowed there."""
        match request.method, request.parts:
            case "GET", ("keys",):
                return "read", lambda: Answer(self._all.list(request, self._item(request)))
            case "POST", ("keys", name, "create"):
                return "create/action", lambda: self._create(request, name)
            case "POST", ("keys", name, "rotate"):
                return "rotate/action", lambda: self._rotate(request, name)
            case "GET", ("keys", name, "rotationpolicy"):
                return "read", lambda: self._policy(request, name)
            case "PUT", ("keys", name, "rotationpolicy"):
                return "update/action", lambda: self._put_policy(request, name)
            case "GET", ("keys", name, "versions"):
                return "read", lambda: self._list_versions(request, name)
            case "DELETE", ("keys", name):
                return "delete", lambda: self._told_deleted(request, *self._all.delete(name))
            case "POST", ("keys", name, version, "wrapkey"):
                return "wrap/action", lambda: self._encrypt(request, name, version, "wrapKey")
            case "POST", ("keys", name, version, "unwrapkey"):
                return "unwrap/action", lambda: self._decrypt(request, name, version, "unwrapKey")
            case "POST", ("keys", name, version, "encrypt"):
                return "encrypt/action", lambda: self._encrypt(request, name, version, "encrypt")
            case "POST", ("keys", name, version, "decrypt"):
                return "decrypt/action", lambda: self._decrypt(request, name, version, "decrypt")
            case "POST", ("keys", name, version, "sign"):
                return "sign/action", lambda: self._sign(request, name, version)
            case ("GET", ("keys", name)) | ("GET", ("keys", name, _)):
                return "read", lambda: self._get(request, name)
            case ("PATCH", ("keys", name)) | ("PATCH", ("keys", name, _)):
                return "update/action", lambda: self._change(request, name)
        return self._route_deleted(request)

    def _route_deleted(self, request: Request) -> tuple[str, Call] | None:
        match request.method, request.parts:
            case "GET", ("deletedkeys",):
                return "read", lambda: Answer(self._all.list_deleted(request, self._item(request)))
            case "GET", ("deletedkeys", name):
                return "read", lambda: self._told_deleted(request, *self._all.get_deleted(name))
            case "DELETE", ("deletedkeys", name):
                return "purge/action", lambda: self._purge(name)
            case "POST", ("deletedkeys", name, "recover"):
                return "recover/action", lambda: self._told(request, *self._all.recover(name))
        return None

    def _create(self, request: Request, name: str) -> Answer:
        document = request.document()
        version = draft(document, Material.asked_for(document).packed(), self._all.clock())
        return self._told(request, *self._all.add(name, version))

    def _get(self, request: Request, name: str) -> Answer:
        self._rotate_if_due(name)
        return self._told(request, *self._all.get(name, _version(request)))

    def _change(self, request: Request, name: str) -> Answer:
        return self._told(request, *self._all.change(name, _version(request), request.document()))

    def _purge(self, name: str) -> Answer:
        self._all.purge(name)
        return Answer(None, 204)

    def _list_versions(self, request: Request, name: str) -> Answer:
        def item(entry: Entry, version: Version) -> dict[str, Any]:
            return {"kid": _kid(request, entry, version), **_described(version)}

        return Answer(self._all.list_versions(name, request, item))

    # rotation

    def _rotate(self, request: Request, name: str) -> Answer:
        return self._told(request, *self._renewed(*self._all.get(name)))

    def _rotate_if_due(self, name: str) -> None:
        entry, newest = self._all.get(name)
        if entry.policy is not None and RotationPolicy(entry.policy).due(newest, self._all.clock()):
            self._renewed(entry, newest)

    def _renewed(self, entry: Entry, newest: Version) -> tuple[Entry, Version]:
        now = self._all.clock()
        fresh = draft({"tags": newest.tags}, Material.unpacked(newest.body).like().packed(), now)
        lifetime = RotationPolicy(entry.policy).lifetime() if entry.policy else None
        return self._all.add(entry.name, replace(fresh, exp=int(now + lifetime) if lifetime else None))

    def _policy(self, request: Request, name: str) -> Answer:
        entry, _ = self._all.get(name)
        return Answer({"id": f"{request.base}/keys/{entry.name}/rotationpolicy", **(entry.policy or DEFAULT)})

    def _put_policy(self, request: Request, name: str) -> Answer:
        entry, _ = self._all.get(name)
        policy = RotationPolicy.asked_for(request.document(), int(self._all.clock()), entry.policy)
        self._all.put_policy(name, policy.document)
        return self._policy(request, name)

    # using

    def _encrypt(self, request: Request, name: str, version: str, operation: str) -> Answer:
        entry, material = self._current(name, version, operation)
        algorithm, operand = _operands(request)
        try:
            wrapped = Material.unpacked(material.body).wrap(algorithm, operand)
        except ValueError:
            raise bad_parameter("The value is too long for this key") from None
        return Answer({"kid": _kid(request, entry, material), "value": encode(wrapped)})

    def _sign(self, request: Request, name: str, version: str) -> Answer:
        entry, material = self._current(name, version, "sign")
        algorithm, digest = _operands(request)
        signature = Material.unpacked(material.body).sign(algorithm, digest)
        return Answer({"kid": _kid(request, entry, material), "value": encode(signature)})

    def _decrypt(self, request: Request, name: str, version: str, operation: str) -> Answer:
        entry, material = self._usable(name, version, operation)
        algorithm, operand = _operands(request)
        try:
            unwrapped = Material.unpacked(material.body).unwrap(algorithm, operand)
        except ValueError:
            raise bad_parameter("The parameter is incorrect.\r\n") from None
        return Answer({"kid": _kid(request, entry, material), "value": encode(unwrapped)})

    def _current(self, name: str, version: str, operation: str) -> tuple[Entry, Version]:
        """The same for what makes something new: within the key's dates alone."""
        entry, key = self._usable(name, version, operation)
        now = self._all.clock()
        if (key.nbf is not None and now < key.nbf) or (key.exp is not None and now >= key.exp):
            words = f"Operation {operation} is not allowed outside the key's nbf and exp dates."
            raise Refusal(403, "Forbidden", words)
        return entry, key

    def _usable(self, name: str, version: str, operation: str) -> tuple[Entry, Version]:
        entry, key = self._all.get(name, version)
        if not key.enabled:
            raise Refusal(403, "Forbidden", f"Operation {operation} is not allowed on a disabled key.", "KeyDisabled")
        material = Material.unpacked(key.body)
        if material.kty == "RSA" and operation not in material.operations:
            raise Refusal(403, "Forbidden", f"Operation {operation} is not permitted on this key.")
        return entry, key

    # answers

    def _told(self, request: Request, entry: Entry, version: Version) -> Answer:
        return Answer(_bundle(request, entry, version))

    def _told_deleted(self, request: Request, entry: Entry, version: Version) -> Answer:
        return Answer({**told_deletion(KEYS, request.base, entry), **_bundle(request, entry, version)})

    def _item(self, request: Request) -> Callable[[Entry, Version], dict[str, Any]]:
        def item(entry: Entry, version: Version) -> dict[str, Any]:
            deletion = told_deletion(KEYS, request.base, entry) if entry.deleted is not None else {}
            return {**deletion, "kid": f"{request.base}/keys/{entry.name}", **_described(version)}

        return item


def _version(request: Request) -> str:
    """The version that the path names; empty for the newest."""
    return request.parts[2] if len(request.parts) > 2 else ""


def _operands(request: Request) -> tuple[str, bytes]:
    document = request.document()
    try:
        return text(document, "alg"), decode(text(document, "value"))
    except ValueError:
        raise bad_parameter("The value is not base64url") from None


def _kid(request: Request, entry: Entry, version: Version) -> str:
    return f"{request.base}/keys/{entry.name}/{version.id}"


def _described(version: Version) -> dict[str, Any]:
    return {"attributes": told_attributes(version), **({} if version.tags is None else {"tags": version.tags})}


def _bundle(request: Request, entry: Entry, version: Version) -> dict[str, Any]:
    jwk = {"kid": _kid(request, entry, version), **Material.unpacked(version.body).public()}
    return {"key": jwk, **_described(version)}
