"""Single keys in secrets of Google Cloud that others own.

Versions are numbered: a gap reveals a concurrent one, and the change is merged into it. The notes are annotations,
written only if the secret's etag is unchanged.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.types import Secret

from keyturn.core.errors import Invalid, Locked, NotFound
from keyturn.core.ports.merged_keys import NOTE, Change, Shared
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import GCP_SECRET_MANAGER, too_large
from keyturn.providers.gcp import marks as secret_marks
from keyturn.providers.gcp.client import crc32c
from keyturn.providers.gcp.marks import last, marks_of
from keyturn.providers.gcp.versions import Call, State
from keyturn.providers.sharing import MERGE, NOTHING_WRITTEN, checked_text, shared_text

ATTEMPTS: Final = 4
SIZE: Final = partial(too_large, GCP_SECRET_MANAGER)


class SharedGcp:
    """``Shares`` in one project."""

    atomic = False

    def __init__(
        self,
        name: str,
        client: SecretManagerServiceClient,
        call: Call,
        pages: Callable[[str, str | None, Callable[..., Any], Mapping[str, Any]], Iterator[Any]],
        path: Callable[[str, str], str],
        access: Callable[[str, str, str], bytes],
        parent: str,
        placement: Mapping[str, Any],
    ) -> None:
        self.name = name
        self._client = client
        self._call = call
        self._pages = pages
        self._path = path
        self._access = access
        self._parent = parent
        self._kept = placement

    def look(self, remote: str) -> Shared | None:
        """Lists the versions, because "latest" may lag behind."""
        try:
            secret = self._call(MERGE, remote, self._client.get_secret, {"name": self._path(remote, MERGE)})
        except NotFound:
            return None
        bare = Secret.pb(secret)
        number = self._newest(remote)
        text = self._text(remote, number) if number else None
        tags = dict(bare.annotations)
        return shared_text(self._named(remote), remote, number, text, tags, marks_of(bare), snapshot=bare.etag)

    def put(self, remote: str, change: Change, current: Shared | None) -> None:
        checked_text(self._named(remote), SIZE, change, current)
        etag = self._note(remote, change.laid, current)
        if change or current is None:
            self._add(remote, change, current)
        if current is not None and change.removed:
            self._annotate(remote, {**current.tags, **change.tags}, etag)

    def listed(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        request = {"parent": self._parent, "page_size": 1000}
        for page in self._pages("list", None, self._client.list_secrets, request):
            for secret in page.secrets:
                if any(key.startswith(NOTE) for key in secret.annotations):
                    yield last(secret.name), dict(secret.annotations)

    def tidy(self, remote: str) -> None:
        """A version exists or it does not, so nothing remains."""

    def _newest(self, remote: str) -> str:
        request = {"parent": self._path(remote, MERGE), "page_size": 1}
        page = next(self._pages(MERGE, remote, self._client.list_secret_versions, request), None)
        newest = page.versions[0] if page is not None and page.versions else None
        if newest is not None and newest.state != State.ENABLED:
            problem = "its newest version is disabled or destroyed"
            raise Invalid(MERGE, self._named(remote), problem, "Let its owner enable it; nothing was written")
        return last(newest.name) if newest is not None else ""

    def _text(self, remote: str, number: str) -> Sensitive:
        try:
            return Sensitive(self._access(remote, number, MERGE).decode())
        except UnicodeDecodeError:
            raise Invalid(MERGE, self._named(remote), "it holds binary data, no object", NOTHING_WRITTEN) from None

    def _note(self, remote: str, laid: Mapping[str, str], current: Shared | None) -> str:
        if current is not None:
            return self._annotate(remote, {**current.tags, **laid}, current.seen) if laid else str(current.seen)
        secret = {**self._kept, "annotations": laid}
        request = {"parent": self._parent, "secret_id": remote, "secret": secret}
        return str(self._call(MERGE, remote, self._client.create_secret, request).etag)

    def _annotate(self, remote: str, tags: Mapping[str, str | None], etag: str) -> str:
        annotations = {key: text for key, text in tags.items() if text is not None}
        if problem := secret_marks.too_large(annotations):
            raise Invalid(MERGE, self._named(remote), problem, "Remove annotations that are not needed")
        secret = {"name": self._path(remote, MERGE), "etag": etag, "annotations": annotations}
        request = {"secret": secret, "update_mask": {"paths": ["annotations"]}}
        return str(self._call(MERGE, remote, self._client.update_secret, request).etag)

    def _add(self, remote: str, change: Change, current: Shared | None) -> None:
        before, expected = current, int(current.version_id or 0) + 1 if current else 1
        for _ in range(ATTEMPTS):
            data = checked_text(self._named(remote), SIZE, change, before).reveal().encode()
            payload = {"data": data, "data_crc32c": crc32c(data)}
            request = {"parent": self._path(remote, MERGE), "payload": payload}
            made = int(last(self._call(MERGE, remote, self._client.add_secret_version, request).name))
            if made == expected:
                return
            text, number = self._text(remote, str(made - 1)), str(made - 1)
            before, expected = shared_text(self._named(remote), remote, number, text, {}, None), made + 1
        raise Locked(MERGE, self._named(remote), "others keep writing it", "Find out who else writes the secret")

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"
