"""An AppRole: a role id and a secret id in files; the secret id may be wrapped for delivery.

A wrap opens once: a wrap opened before was seen by a third party and is never a mere failure. Source: "Response
wrapping" and "AppRole auth method" of OpenBao and Vault.
"""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import hvac
import requests

from keyturn.core.errors import Denied, Invalid, Unavailable
from keyturn.core.sensitive import Sensitive
from keyturn.providers.vault.logins.exchange import REFUSED, LoginMethod, Refusal, TokenLife, denied, exchange
from keyturn.providers.vault.logins.files import read_login, write_own
from keyturn.settings.hub_login import ROLE_ID_FILE, SECRET_ID_FILE, WRAPPED_SECRET_ID_FILE, AppRoleLogin

PAUSE: Final = 15.0
"""Seconds in which a refused secret id is not tried again: a hub may lock the role id after five refusals."""
LOCKED: Final = (
    "If it is the right one, the hub may have locked the role id after five refused logins: see sys/locked-users, "
    "unlock it there, and run `keyturn setup hub --apply` as an administrator, which ends such locks"
)


class AppRoleMethod(LoginMethod):
    def __init__(self, login: AppRoleLogin) -> None:
        self._login = login
        self._unwrapped: Sensitive | None = None
        self._refused: tuple[tuple[str, Sensitive], float] | None = None

    def log_in(self, client: hvac.Client) -> TokenLife:
        role_id = read_login(self._login.role_id_file, f"{ROLE_ID_FILE} (role_id_file)", private=False)
        secret_id = self._secret_id(client)
        if self._refused and self._refused[0] == (role_id, secret_id) and time.monotonic() < self._refused[1]:
            raise _wrong_ids()
        try:
            return exchange(client, self._login.mount, {"role_id": role_id, "secret_id": secret_id.reveal()})
        except Refusal:
            self._refused = (role_id, secret_id), time.monotonic() + PAUSE
            raise _wrong_ids() from None

    def _secret_id(self, client: hvac.Client) -> Sensitive:
        login = self._login
        if login.wrapped_secret_id_file:
            self._unwrapped = take_wrapped(client, login) or self._unwrapped
        if login.secret_id_file:
            return Sensitive(read_login(login.secret_id_file, f"{SECRET_ID_FILE} (secret_id_file)"))
        if self._unwrapped is None:
            problem = f"there is no wrapped secret id in {login.wrapped_secret_id_file}"
            hint = "Write a new one there before each start of this process: a wrap can be opened only once"
            raise denied(problem, f"{hint}. {SECRET_ID_FILE} would keep what was in it for the next process")
        return self._unwrapped


def _wrong_ids() -> Denied:
    hint = f"Make a new secret id for the role and write it to the file. {LOCKED}"
    return denied("the AppRole's role id or secret id is refused", hint)


def take_wrapped(client: hvac.Client, login: AppRoleLogin) -> Sensitive | None:
    """None for no wrap. Raises Denied for a wrap opened before, and for another content."""
    with _only_opener(str(login.wrapped_secret_id_file)) as file:
        if file is None:
            return None
        _insist_on_room(file, login.secret_id_file)
        wrap = read_login(str(file), WRAPPED_SECRET_ID_FILE)
        _insist_on_origin(client, wrap, login)
        secret_id = _unwrap(client, wrap, file)
        if login.secret_id_file:
            write_own(login.secret_id_file, secret_id)
        file.unlink()
        return secret_id


def _insist_on_origin(client: hvac.Client, wrap: str, login: AppRoleLogin) -> None:
    """The wrap may be planted."""
    try:
        answer = client.adapter.post("/v1/sys/wrapping/lookup", json={"token": wrap})
        path = str(answer.json()["data"]["creation_path"])
    except REFUSED:
        raise _opened_before(str(login.wrapped_secret_id_file)) from None
    except (requests.JSONDecodeError, KeyError, TypeError):
        raise _unclear() from None
    if not re.fullmatch(rf"(?:.+/)?auth/{re.escape(login.mount)}/role/[^/]+/secret-id", path):
        problem = f"what is wrapped in {login.wrapped_secret_id_file} is no secret id of auth/{login.mount}"
        hint = "ALARM: it may be another person's wrap. It was not opened. Find who wrote the file"
        raise denied(problem, hint)


def _unwrap(client: hvac.Client, wrap: str, file: Path) -> Sensitive:
    opener = hvac.Client(
        url=client.url, namespace=client.adapter.namespace, session=client.session, adapter=type(client.adapter)
    )
    opener.token = wrap
    try:
        return Sensitive(opener.adapter.post("/v1/sys/wrapping/unwrap").json()["data"]["secret_id"])
    except REFUSED:
        raise _opened_before(str(file)) from None
    except (requests.JSONDecodeError, KeyError, TypeError):
        raise _unclear() from None


def _opened_before(file: str) -> Denied:
    problem = f"ALARM: the wrapped secret id in {file} was opened before, or its time is over"
    hint = "Unless you know that it only expired, someone else has the secret id now: destroy it "
    hint += "(auth/approle/role/ROLE/secret-id-accessor/destroy), see the hub's audit log for who unwrapped it, "
    return denied(problem, f"{hint}and deliver a new one")


def _unclear() -> Unavailable:
    problem = "its answer about the wrapped secret id can't be understood"
    return Unavailable("log in to", "the hub", problem, "Check that VAULT_ADDR reaches the hub itself")


def _insist_on_room(wrapped: Path, secret_id_file: str | None) -> None:
    """An unsaved secret id would be lost, and a used wrap would look stolen."""
    for place in {wrapped.parent, Path(secret_id_file).parent if secret_id_file else wrapped.parent}:
        if not os.access(place, os.W_OK | os.X_OK):
            problem = f"nothing can be written to {place}"
            hint = f"Let this process write there ({WRAPPED_SECRET_ID_FILE}, {SECRET_ID_FILE}): a spent wrap goes"
            raise Invalid("unwrap", str(wrapped), problem, hint)


@contextmanager
def _only_opener(name: str) -> Iterator[Path | None]:
    """Locked for this process; None if absent."""
    while True:
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            problem = f"the file can't be read: {error.strerror}"
            raise Unavailable(
                "read", name, problem, f"Check its owner and mode, and {WRAPPED_SECRET_ID_FILE}"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _still_there(name, descriptor):
                yield Path(os.path.realpath(name))
                return
        finally:
            os.close(descriptor)


def _still_there(name: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(name), os.fstat(descriptor))
    except FileNotFoundError:
        return False
