"""The Actions secrets of a GitHub repository or environment as a store: written, never read.

The Actions variable KEYTURN_MARKS_NAME holds the marks and the time of their update. A first write creates it before
the secret, without a time: a crash leaves a copy known as Keyturn's. Otherwise the variable is written after the
secret. In between, the copy is not intact.

GitHub reports the time in whole seconds. Keyturn never writes in the second of the previous update, so its updates
always differ. Another writer's later update in the same second is undetectable. Sources: "REST API endpoints for GitHub
Actions Secrets", "... variables".
"""

import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from nacl.exceptions import CryptoError
from nacl.public import PublicKey, SealedBox

from keyturn.core.errors import Conflict, Invalid, NotFound, Unavailable, UnsupportedOperation
from keyturn.core.fingerprint import vouches
from keyturn.core.ports.stores import NO_DETAILS, Details, OwnershipTags, RemoteSecret, Unsupported
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import GITHUB_ACTIONS, LIMITS
from keyturn.providers.answers import reads_answers
from keyturn.providers.github.client import GitHubCalls
from keyturn.providers.store_refusals import StoreLimits, only_written_whole

MARKS_PREFIX: Final = "KEYTURN_MARKS_"
UPDATED_AT: Final = "updated_at"
SECRETS_PAGE: Final = 100
VARIABLES_PAGE: Final = 30
LONGEST_WAIT: Final = 2.0
"""Seconds: one until GitHub's clock changes, and one for differences between its clocks."""
Key = tuple[str, str]


@reads_answers()
class GitHubActions:
    """A ``Store``. Names fold case: GitHub stores them in capitals. Deleting is permanent."""

    unsupported: frozenset[Unsupported] = frozenset({Unsupported.READ})

    def __init__(
        self,
        name: str,
        *,
        repository: str,
        token_file: str,
        environment: str | None = None,
        api_url: str = "https://api.github.com",
        ca_file: str | None = None,
    ) -> None:
        self.name = name
        self._limits = StoreLimits(LIMITS[GITHUB_ACTIONS], name)
        inside = f"environments/{quote(environment, safe='')}" if environment else "actions"
        self._place = f"repos/{repository}/{inside}"
        self._calls = GitHubCalls(name, token_file=token_file, api_url=api_url, ca_file=ca_file)
        self._lock = threading.Lock()
        self._key: Key | None = None

    def describe(self, remote: str) -> RemoteSecret | None:
        self._limits.check_name(remote, "find")
        name = self._named(remote)
        secret = self._calls.find("find", name, self._secret(remote))
        if secret is None:
            self._public_key("find", name)  # GitHub answers the same for a missing place
            return None
        return _copy(remote, secret, self._calls.find("find", name, self._variable(remote)))

    def list_managed(self) -> Iterator[RemoteSecret]:
        return (copy for copy in self.list_all() if copy.marks)

    def list_all(self) -> Iterator[RemoteSecret]:
        """Every secret, in two listings: one written meanwhile looks changed; ``describe`` is exact."""
        name = self._named("*")
        secrets = list(self._calls.pages("list", name, f"{self._place}/secrets", "secrets", SECRETS_PAGE))
        variables = self._calls.pages("list", name, f"{self._place}/variables", "variables", VARIABLES_PAGE)
        notes = {variable["name"]: variable for variable in variables if variable["name"].startswith(MARKS_PREFIX)}
        for secret in secrets:
            yield _copy(secret["name"], secret, notes.get(MARKS_PREFIX + secret["name"]))

    def write(
        self,
        remote: str,
        value: Sensitive,
        marks: OwnershipTags,
        current: RemoteSecret | None,
        *,
        details: Details = NO_DETAILS,
    ) -> RemoteSecret:
        self._limits.check(remote, value)
        if current == RemoteSecret(remote, current.version_id if current else "", marks):
            return current
        if current and current.intact and current.marks and vouches(current.marks.fingerprint, marks.fingerprint):
            updated_at = current.version_id
        else:
            updated_at = self._update(remote, value, marks, current)
        self._note(remote, marks, updated_at, there=current is None or current.marks is not None)
        return RemoteSecret(remote, updated_at, marks)

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, current: RemoteSecret) -> RemoteSecret:
        raise only_written_whole(self._named(remote))

    def read(self, remote: str) -> Sensitive:
        self._limits.check_name(remote, "read")
        raise self._unreadable(self._named(remote))

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        raise self._unreadable(self._named("*"))

    def delete(self, remote: str) -> None:
        self._limits.check_name(remote, "delete")
        name = self._named(remote)
        for path in (self._secret(remote), self._variable(remote)):
            try:
                self._calls.send("delete", name, "DELETE", path)
            except NotFound:
                self._public_key("delete", name)

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        self._limits.check_name(remote, "read old versions of")
        return {}

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        self._limits.check_name(remote, "forget old versions of")
        return ()

    def purge(self, remote: str) -> tuple[str, ...]:
        self.delete(remote)
        return ()

    def close(self) -> None:
        self._calls.close()

    def _update(self, remote: str, value: Sensitive, marks: OwnershipTags, current: RemoteSecret | None) -> str:
        if current is None:
            self._note(remote, marks, None, there=False)
        else:
            self._wait_out(current.version_id)
        self._put(remote, value)
        answer = self._calls.send("write", self._named(remote), "GET", self._secret(remote))
        return str(answer[UPDATED_AT])

    def _wait_out(self, updated_at: str) -> None:
        over = datetime.fromisoformat(updated_at).timestamp() + 1
        if (left := over - self._calls.not_before()) > 0:
            time.sleep(min(left, LONGEST_WAIT))

    def _put(self, remote: str, value: Sensitive) -> None:
        name = self._named(remote)
        key = self._public_key("write", name)
        try:
            self._send_sealed(remote, value, key)
        except Invalid:
            # GitHub refuses values sealed with an older key; with the same key the reason is another.
            with self._lock:
                self._key = None
            fresh = self._public_key("write", name)
            if fresh == key:
                raise
            self._send_sealed(remote, value, fresh)

    def _send_sealed(self, remote: str, value: Sensitive, key: Key) -> None:
        key_id, public = key
        try:
            box = SealedBox(PublicKey(base64.b64decode(public)))
            sealed = base64.b64encode(box.encrypt(value.reveal().encode())).decode()
        except (CryptoError, TypeError, ValueError):
            problem, hint = "GitHub's public key is none", "Check api_url, and any proxy in between"
            raise Unavailable("write", self._named(remote), problem, hint) from None
        body = {"encrypted_value": sealed, "key_id": key_id}
        self._calls.send("write", self._named(remote), "PUT", self._secret(remote), body)

    def _public_key(self, doing: str, name: str) -> Key:
        with self._lock:
            if self._key is None:
                answer = self._calls.send(doing, name, "GET", f"{self._place}/secrets/public-key")
                self._key = (str(answer["key_id"]), str(answer["key"]))
            return self._key

    def _note(self, remote: str, marks: OwnershipTags, updated_at: str | None, *, there: bool) -> None:
        text = json.dumps({**marks.to_tags(), UPDATED_AT: updated_at})
        try:
            self._change(remote, text) if there else self._create(remote, text)
        except NotFound:
            self._create(remote, text)
        except Conflict:
            self._change(remote, text)

    def _create(self, remote: str, text: str) -> None:
        body = {"name": MARKS_PREFIX + remote.upper(), "value": text}
        self._calls.send("mark", self._named(remote), "POST", f"{self._place}/variables", body)

    def _change(self, remote: str, text: str) -> None:
        self._calls.send("mark", self._named(remote), "PATCH", self._variable(remote), {"value": text})

    def _secret(self, remote: str) -> str:
        return f"{self._place}/secrets/{remote.upper()}"

    def _variable(self, remote: str) -> str:
        return f"{self._place}/variables/{MARKS_PREFIX}{remote.upper()}"

    def _unreadable(self, name: str) -> UnsupportedOperation:
        return UnsupportedOperation("read", name, "GitHub gives values to workflows alone", "Compare by the marks")

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"


def _copy(remote: str, secret: Mapping[str, Any], variable: Mapping[str, Any] | None) -> RemoteSecret:
    note = _read_note(variable["value"]) if variable else {}
    updated_at, marks = str(secret[UPDATED_AT]), OwnershipTags.from_tags(note)
    return RemoteSecret(remote, updated_at, marks, intact=marks is None or _same(note.get(UPDATED_AT), updated_at))


def _same(noted: str | None, updated_at: str) -> bool:
    try:
        return noted is not None and _moment(noted) == _moment(updated_at)
    except ValueError:
        return False


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _read_note(text: str) -> dict[str, str]:
    try:
        note = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {key: value for key, value in note.items() if isinstance(value, str)} if isinstance(note, dict) else {}
