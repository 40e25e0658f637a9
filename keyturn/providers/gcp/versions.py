"""Old versions in Google Cloud: read, retire and destroy them.

Destruction is immediate and final, unless the secret delays it (``version_destroy_ttl``). Then the version is disabled,
and enabling it cancels the destruction. Source: "Delay destruction of secret versions".
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.types import SecretVersion

from keyturn.core.errors import Conflict, Locked, NotFound
from keyturn.core.sensitive import Sensitive
from keyturn.providers.gcp.marks import last
from keyturn.providers.side_by_side import read_side_by_side

PAST: Final = "read old versions of"
FORGET: Final = "forget old versions of"
AT_ONCE: Final = 16
ENABLED: Final = "state:ENABLED"
NOT_DESTROYED: Final = "NOT state:DESTROYED"
"""Filters of the listing. Source: "Filter secrets and secret versions"."""
DISABLE: Final = "disable"
DESTROY: Final = "destroy"

State = SecretVersion.State

Call = Callable[[str, str, Callable[..., Any], Mapping[str, Any]], Any]


class GcpPast:
    def __init__(
        self,
        client: SecretManagerServiceClient,
        call: Call,
        pages: Callable[[str, str, Callable[..., Any], Mapping[str, Any]], Iterator[Any]],
        path: Callable[[str, str], str],
        access: Callable[[str, str, str], bytes],
        named: Callable[[str], str],
    ) -> None:
        self._client = client
        self._call = call
        self._pages = pages
        self._path = path
        self._access = access
        self._named = named

    def past(self, remote: str) -> dict[str, Sensitive]:
        old = [last(version.name) for version in self._old(remote, PAST) if version.state == State.ENABLED]
        return read_side_by_side(lambda number: self._text(remote, number), old, AT_ONCE)

    def forget(self, remote: str) -> tuple[str, ...]:
        """Destroy every version but the served one. Returns those only scheduled for destruction."""
        old = [version for version in self._old(remote, FORGET) if not version.HasField("scheduled_destroy_time")]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda version: self._destroy(remote, version.name), old))
        return tuple(self._words(remote, version) for version in self._old(remote, FORGET))

    def _old(self, remote: str, doing: str) -> list[Any]:
        """Every version that is not destroyed, except the served one: the newest, if enabled.

        The alias "latest" may lag behind (source: "Resource consistency").
        """
        request = {"parent": self._path(remote, doing)}
        try:
            pages = list(self._pages(doing, remote, self._client.list_secret_versions, request))
        except NotFound:
            return []
        versions = [version for page in pages for version in page.versions]
        newest = max((int(last(version.name)) for version in versions), default=0)
        undestroyed = (version for version in versions if version.state != State.DESTROYED)
        return [
            version for version in undestroyed if version.state != State.ENABLED or int(last(version.name)) != newest
        ]

    def _text(self, remote: str, number: str) -> Sensitive:
        try:
            return Sensitive(self._access(remote, number, PAST).decode())
        except (Conflict, UnicodeDecodeError):
            raise NotFound(PAST, self._named(remote), f"version {number} holds no text any more") from None

    def _destroy(self, remote: str, name: str) -> None:
        # Another user may be faster; the listing shows what remains.
        with suppress(Conflict, NotFound):
            self._call(FORGET, remote, self._client.destroy_secret_version, {"name": name})

    def _words(self, remote: str, version: Any) -> str:
        number = last(version.name)
        if not version.HasField("scheduled_destroy_time"):
            problem = f"version {number} could not be destroyed"
            raise Locked(FORGET, self._named(remote), problem, "It is tried again by itself")
        ends = version.scheduled_destroy_time.ToDatetime()
        return (
            f"version {number} is disabled, and destroyed at {ends:%Y-%m-%d %H:%M} UTC:"
            " until then anyone who may enable versions can restore it"
        )


def to_retire(
    versions: Iterable[Any],
    added: SecretVersion,
    latest: SecretVersion,
    aliased: Collection[int],
    destroy_after: timedelta | None,
) -> Iterator[tuple[str, Any]]:
    """The actions, newest first, for ``versions`` older than ``added``.

    Its predecessor and ``latest`` stay, because readers may still receive either (source: "Resource consistency").
    """
    stay = min(int(last(added.name)) - 1, int(last(latest.name)))
    disabled = replaced = made = SecretVersion.pb(added).create_time.ToDatetime()
    for version in versions:
        number, state = int(last(version.name)), version.state
        # A version has no time of disabling: the creation of the second version after it counts.
        waited = destroy_after is not None and made - disabled >= destroy_after
        if number < stay and number not in aliased and not version.HasField("scheduled_destroy_time"):
            if state == State.ENABLED:
                yield DISABLE, version
            elif state == State.DISABLED and waited:
                yield DESTROY, version
        disabled, replaced = replaced, min(replaced, version.create_time.ToDatetime())
