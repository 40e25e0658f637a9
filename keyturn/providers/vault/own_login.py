"""Keyturn's own secret id: look it up, replace it, and end the one before.

The metadata of each secret id records its place and its predecessor, so a crash loses neither. Source: "AppRole auth
method (API)" of Vault and of OpenBao.
"""

import fcntl
import json
import os
import secrets
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from keyturn.core.errors import Invalid, NotFound, Unavailable
from keyturn.core.ports.own_login import SecretId
from keyturn.core.sensitive import Sensitive
from keyturn.providers.answers import reads_answers
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.logins.files import read_login, write_own
from keyturn.settings.hub_login import ROLE_ID_FILE, SECRET_ID_FILE, AppRoleLogin

PLACE: Final = "keyturn-place"
REPLACES: Final = "keyturn-replaces"
"""A secret id's place, and the accessor of its predecessor there."""
DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
MOST: Final = 100


@reads_answers("the hub")
class VaultOwnLogin:
    """A :class:`keyturn.core.ports.own_login.OwnLogin` of the AppRole method."""

    def __init__(self, calls: Calls, login: AppRoleLogin, role: str) -> None:
        self.role = role
        self.file = login.secret_id_file or ""
        self._calls = calls
        self._login = login

    def rights(self) -> Sequence[tuple[str, str]]:
        base = self._base(self.role)
        looks = [("update", f"{base}/{path}") for path in ("secret-id/lookup", "secret-id-accessor/lookup")]
        ends = ("update", f"{base}/secret-id-accessor/destroy")
        return [("read", base), ("update", f"{base}/secret-id"), ("list", f"{base}/secret-id"), *looks, ends]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Exclude other processes of this machine."""
        try:
            directory = os.open(os.path.dirname(os.path.abspath(self.file)), DIRECTORY)
        except OSError as error:
            problem = f"its directory can't be opened: {error.strerror}"
            raise Unavailable("replace", self.file, problem, f"Check {SECRET_ID_FILE}") from None
        try:
            # A replacement is another file, but its directory stays.
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)

    def in_use(self) -> SecretId:
        secret_id = read_login(self.file, f"{SECRET_ID_FILE} (secret_id_file)")
        path = f"{self._base(self.role)}/secret-id/lookup"
        answer = self._calls.post("look up", f"the secret id of {self.role}", path, {"secret_id": secret_id})
        if not answer.content:
            hint = f"Make a new one for the role, and write it to {self.file}"
            raise NotFound("look up", f"the secret id of {self.role}", "the hub knows it no more", hint)
        return secret_id_of(answer.json()["data"])

    def of_role(self, role: str) -> list[SecretId]:
        accessors = self._calls.list(f"the secret ids of {role}", f"{self._base(role)}/secret-id")
        listed = (self._look_up(role, accessor) for accessor in accessors[:MOST])
        return sorted(filter(None, listed), key=lambda secret_id: secret_id.made_at, reverse=True)

    def hindrance(self) -> str:
        settings = self._calls.get("read", f"the role {self.role}", self._base(self.role)).json()["data"]
        if not settings.get("secret_id_bound_cidrs"):
            why = "a thief of its token could make a login that works anywhere"
            remedy = "give it secret_id_bound_cidrs, or take the policy that lets it make secret ids from it"
            return f"the role {self.role} is bound to no addresses, so {why}: {remedy}"
        return unwritable(self.file)

    def replace(self, current: SecretId) -> None:
        """A KeyturnError leaves the file unchanged."""
        name, path = f"the secret id of {self.role}", f"{self._base(self.role)}/secret-id"
        metadata = {PLACE: self._place(current), REPLACES: current.accessor}
        made = self._calls.post("replace", name, path, {"metadata": json.dumps(metadata)}).json()["data"]
        secret_id = Sensitive(made["secret_id"])
        role_id = read_login(self._login.role_id_file, f"{ROLE_ID_FILE} (role_id_file)", private=False)
        self._calls.prove_login(self._login.mount, {"role_id": role_id, "secret_id": secret_id.reveal()})
        try:
            write_own(self.file, secret_id, stat.S_IMODE(os.stat(self.file).st_mode) & 0o600)
        except OSError as error:
            self.end(made["secret_id_accessor"])
            raise Invalid("write", self.file, f"it can't be written: {error.strerror}", unwritable(self.file)) from None

    def end(self, accessor: str) -> None:
        path = f"{self._base(self.role)}/secret-id-accessor/destroy"
        try:
            self._calls.post("end", f"the secret id {accessor}", path, {"secret_id_accessor": accessor})
        except (NotFound, Unavailable):
            if self._look_up(self.role, accessor):
                raise

    def _base(self, role: str) -> str:
        return f"auth/{self._login.mount}/role/{role}"

    def _place(self, current: SecretId) -> str:
        """The predecessor's place; at first a unique one, because host names may repeat."""
        own = f"{socket.gethostname()}:{os.path.abspath(self.file)}:"
        return current.place if current.place.startswith(own) else f"{own}{secrets.token_hex(8)}"

    def _look_up(self, role: str, accessor: str) -> SecretId | None:
        path = f"{self._base(role)}/secret-id-accessor/lookup"
        try:
            answer = self._calls.post("look up", f"the secret id {accessor}", path, {"secret_id_accessor": accessor})
        except NotFound:
            return None
        return secret_id_of(answer.json()["data"]) if answer.content else None


def secret_id_of(data: Mapping[str, Any]) -> SecretId:
    ends_at = datetime.fromisoformat(data["expiration_time"])
    metadata = data.get("metadata") or {}
    return SecretId(
        data["secret_id_accessor"],
        datetime.fromisoformat(data["creation_time"]),
        ends_at if ends_at.year > 1 else None,  # Go's zero time means never
        str(metadata.get(PLACE, "")),
        str(metadata.get(REPLACES, "")),
    )


def unwritable(file: str) -> str:
    directory = os.path.dirname(os.path.abspath(file))
    if os.path.islink(file):
        return f"{file} is a link: renew the file that it points to"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"nothing can be written to {directory}: let the user that runs Keyturn write there"
    return ""
