"""Google Cloud Secret Manager as a store.

The label ``keyturn-managed-by`` marks ownership; the other marks and the number of Keyturn's last version are
annotations. A write adds the version before it annotates the secret: after a crash in between, the copy looks stale.
The expiry is not set, because Google deletes an expired secret.

A version that another writer adds, disables or destroys does not change the secret. So
:meth:`GcpSecretManager.describe` detects it, and :meth:`GcpSecretManager.list_managed` does not. Quotas per project and
minute: 90,000 accesses, 600 reads, 600 writes (source: "Quotas and limits").
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import Any, Final, Literal, TypeVar

from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.secretmanager_v1.types import Secret, SecretVersion

from keyturn.core import errors
from keyturn.core.fingerprint import vouches
from keyturn.core.ports.stores import (
    MANAGED_BY,
    NO_DETAILS,
    TAG_FINGERPRINT,
    TAG_MANAGED_BY,
    TAG_VERSION,
    TAGS_BESIDE,
    Details,
    OwnershipTags,
    RemoteSecret,
    Unsupported,
    changed_tags,
)
from keyturn.core.rights.posture import MOST_COPIES, Posture, Safety, copies_named, could_not_look
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import GCP_SECRET_MANAGER, illegal_name, too_large
from keyturn.core.text.details import SHOWN
from keyturn.providers.gcp import marks as secret_marks
from keyturn.providers.gcp.client import crc32c, kept_at, open_client
from keyturn.providers.gcp.errors import from_gcp
from keyturn.providers.gcp.marks import OURS, GcpSecret, describe_entry, describe_secret, last
from keyturn.providers.gcp.merged_keys import SharedGcp
from keyturn.providers.gcp.versions import DESTROY, ENABLED, NOT_DESTROYED, GcpPast, to_retire
from keyturn.providers.pages import PageGuard
from keyturn.providers.side_by_side import read_side_by_side
from keyturn.providers.store_refusals import has_changed, insist_on_value, unfulfilled

DEADLINE: Final = 10.0
"""Seconds for one call. The flows retry."""
PAGE_SIZE: Final = 1000
READERS: Final = 16
MOST_RETIRED: Final = 10
"""Per write, to spare the quota; the next write continues."""
TTLS: Final = (timedelta(minutes=1), timedelta(days=36_500))
"""Source: "Set up an expiry for a secret"."""
SEE_POLICY: Final = "secretmanager.secrets.getIamPolicy"
ANYBODY: Final = frozenset({"allUsers", "allAuthenticatedUsers"})
_T = TypeVar("_T")


class GcpSecretManager:
    """A :class:`keyturn.core.ports.stores.Store` of one project's global secrets, or of one ``location``'s.

    ``kms_key_name`` encrypts new regional secrets. ``replication`` lists the locations of new global ones, else Google
    chooses. Google deletes a copy ``ttl`` after its last write. ``old_versions`` is what to do with versions older than
    the two newest; those with an alias stay.
    """

    unsupported: frozenset[Unsupported] = frozenset({Unsupported.LISTED_CHANGES})

    def __init__(
        self,
        name: str,
        *,
        project: str,
        location: str | None = None,
        endpoint: str | None = None,
        ca_file: str | None = None,
        token_file: str | None = None,
        replication: Sequence[str] = (),
        kms_key_name: str | None = None,
        annotations: Mapping[str, str] | None = None,
        ttl: timedelta | None = None,
        old_versions: Literal["keep", "disable", "destroy"] = "disable",
        destroy_after: timedelta = timedelta(days=7),
    ) -> None:
        """Raises Denied without credentials, and Invalid for settings out of bounds.

        ``endpoint`` is a loopback host:port without credentials, or any address with a ``ca_file`` (PEM), which may
        get the token in ``token_file``.
        """
        self.name = name
        self._location = location
        self._parent = f"projects/{project}" + (f"/locations/{location}" if location else "")
        self._kept = kept_at(replication, regional=location is not None, kms_key_name=kms_key_name)
        self._annotations = dict(annotations or {})
        self._expiry = {} if ttl is None else {"ttl": ttl}
        self._retires = old_versions != "keep"
        self._destroy_after = destroy_after if old_versions == "destroy" else None
        problem = secret_marks.wrong(self._annotations)
        if ttl is not None and not TTLS[0] <= ttl <= TTLS[1]:
            problem = "its ttl is not between one minute and 100 years"
        if problem:
            raise errors.Invalid("open", name, problem, "Correct the store's settings")
        with self._translated("open"):
            self._client = open_client(name, location, endpoint, ca_file, token_file)
        self._past = GcpPast(self._client, self._call, self._pages, self._path, self._access, self._named)
        calls = self._client, self._call, self._pages, self._path, self._access
        self.shared = SharedGcp(name, *calls, self._parent, self._kept)

    def describe(self, remote: str) -> RemoteSecret | None:
        """Makes two calls at most; a disabled or destroyed latest version is not intact."""
        return self._look(remote, "find")

    def list_managed(self) -> Iterator[RemoteSecret]:
        return (copy for copy in map(describe_entry, self._secrets(OURS)) if copy.marks)

    def list_all(self) -> Iterator[RemoteSecret]:
        return map(describe_entry, self._secrets(""))

    def posture(self, remotes: Sequence[str]) -> Iterator[Posture]:
        """Sources: "Replication" and "IAMPolicy" in the documentation of Secret Manager."""
        ours = frozenset(remotes)
        mine = {name: secret for secret in self._secrets(OURS) if (name := last(secret.name)) in ours}
        yield _replication(mine, self._location)
        yield self._public_access(list(mine)[:MOST_COPIES])

    def _public_access(self, names: Sequence[str]) -> Posture:
        what, public, count = "access by anyone", list[str](), 0
        for name in names:
            try:
                resource = {"resource": self._path(name, "find")}
                policy = self._call("find", name, self._client.get_iam_policy, resource)
            except errors.Denied:
                return could_not_look(what, SEE_POLICY)
            except errors.NotFound:
                continue
            count += 1
            if any(ANYBODY & set(binding.members) for binding in policy.bindings):
                public.append(name)
        if public:
            remedy = "Remove allUsers and allAuthenticatedUsers: `gcloud secrets remove-iam-policy-binding`"
            return Posture(what, Safety.BROKEN, f"open to anyone: {copies_named(public)}", remedy)
        return Posture(what, Safety.SOUND, f"none of {count} secrets is open to anyone by itself")

    def write(
        self,
        remote: str,
        value: Sensitive,
        marks: OwnershipTags,
        current: RemoteSecret | None,
        *,
        details: Details = NO_DETAILS,
    ) -> RemoteSecret:
        """Safe to repeat after a crash at any point. Raises Conflict after a concurrent change."""
        self._check(remote, value)
        if current is not None and not isinstance(current, GcpSecret):
            # A listed copy may be old, and lacks the etag.
            current = self._look(remote, "write")
        before = current or self._create(remote, marks, details)
        if before.intact and before.marks == marks and not unfulfilled(details, before, SHOWN[GCP_SECRET_MANAGER]):
            return before
        self._check_room(before, marks, details)
        if self._serves(before, value, marks):
            return self._record(before, marks, details, before.version_id)
        added = self._add(remote, value)
        written = self._record(before, marks, details, last(added.name))
        self._retire(written, added)
        return written

    def create(
        self, remote: str, value: Sensitive, marks: OwnershipTags, *, details: Details = NO_DETAILS
    ) -> RemoteSecret:
        """Raises Taken. The value is read back unless Google confirms its checksum."""
        self._check(remote, value)
        try:
            made = self._make(remote, marks, details)
        except errors.Conflict:
            problem, hint = "a secret of that name is there", "Look at it before writing"
            raise errors.Taken("write", self._named(remote), problem, hint) from None
        self._check_room(made, marks, details)
        added = self._add(remote, value)
        number = last(added.name)
        checked = added.client_specified_payload_checksum
        if not checked and self._access(remote, number, "write") != value.reveal().encode():
            raise errors.Conflict("write", self._named(remote), "it serves another value than was written")
        return self._record(made, marks, details, number)

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, current: RemoteSecret) -> RemoteSecret:
        """The marked version number stays, so another writer's version remains visible. Raises Conflict."""
        insist_on_value(self._named(remote), current, marks)
        existing = current if isinstance(current, GcpSecret) else self._look(remote, "label")
        if existing is None or existing != current:
            raise has_changed(self._named(remote))
        self._check_room(existing, marks, details)
        labelled = self._update(existing, marks, details, existing.version_id, "label")
        return replace(describe_secret(remote, labelled, None), version_id=existing.version_id, intact=True)

    def read(self, remote: str) -> Sensitive:
        """Verifies the checksum. Raises NotFound also if the latest version isn't enabled."""
        try:
            return Sensitive(self._access(remote, "latest", "read").decode())
        except errors.Conflict:
            problem, hint = "its latest version is disabled or destroyed", "Enable it, or push the secret again"
            raise errors.NotFound("read", self._named(remote), problem, hint) from None
        except UnicodeDecodeError:
            raise errors.Invalid("read", self._named(remote), "its value is not UTF-8 text") from None

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        return read_side_by_side(self.read, remotes, READERS)

    def delete(self, remote: str) -> None:
        with suppress(errors.NotFound):
            self._call("delete", remote, self._client.delete_secret, {"name": self._path(remote, "delete")})

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        return self._past.past(remote)

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        """Destroy every old version, regardless of ``old_versions`` and aliases."""
        return self._past.forget(remote)

    def purge(self, remote: str) -> tuple[str, ...]:
        self.delete(remote)
        return ()

    def close(self) -> None:
        self._client.transport.close()  # type: ignore[no-untyped-call]

    def _look(self, remote: str, doing: str) -> GcpSecret | None:
        try:
            secret = self._call(doing, remote, self._client.get_secret, {"name": self._path(remote, doing)})
        except errors.NotFound:
            return None
        return describe_secret(remote, secret, self._latest(remote, doing))

    def _secrets(self, wanted: str) -> Iterator[Any]:
        request = {"parent": self._parent, "filter": wanted, "page_size": PAGE_SIZE}
        for page in self._pages("list", None, self._client.list_secrets, request):
            yield from page.secrets

    def _pages(
        self, doing: str, remote: str | None, rpc: Callable[..., Any], request: Mapping[str, Any]
    ) -> Iterator[Any]:
        pages = self._call(doing, remote, rpc, request).pages
        guard = PageGuard(doing, self.name if remote is None else self._named(remote))
        while True:
            with self._translated(doing, remote):
                page = next(pages, None)
            if page is None:
                return
            yield type(page).pb(page)
            if page.next_page_token:
                guard.follow(page.next_page_token)

    def _latest(self, remote: str, doing: str) -> SecretVersion | None:
        name = f"{self._path(remote, doing)}/versions/latest"
        try:
            return self._call(doing, remote, self._client.get_secret_version, {"name": name})
        except errors.NotFound:
            return None

    def _access(self, remote: str, version: str, doing: str) -> bytes:
        name = f"{self._path(remote, doing)}/versions/{version}"
        payload = self._call(doing, remote, self._client.access_secret_version, {"name": name}).payload
        if crc32c(payload.data) != payload.data_crc32c:
            raise errors.Unavailable(doing, self._named(remote), "the value arrived with a wrong checksum")
        return payload.data

    def _create(self, remote: str, marks: OwnershipTags, details: Details) -> GcpSecret:
        try:
            return self._make(remote, marks, details)
        except errors.Conflict:
            # Perhaps ours, after a lost answer.
            there = self._look(remote, "write")
            if there is None or there.marks is None or there.marks.source != marks.source:
                raise
            return there

    def _make(self, remote: str, marks: OwnershipTags, details: Details) -> GcpSecret:
        ours = {key: text for key, text in marks.beside().items() if key != TAG_FINGERPRINT}
        annotations = {**self._annotations, **details.annotations, **ours}
        labels = {**details.tags, TAG_MANAGED_BY: MANAGED_BY}
        secret = {**self._kept, "labels": labels, "annotations": annotations}
        request = {"parent": self._parent, "secret_id": remote, "secret": secret | self._expiry}
        return describe_secret(remote, self._call("write", remote, self._client.create_secret, request), None)

    def _serves(self, before: GcpSecret, value: Sensitive, marks: OwnershipTags) -> bool:
        if before.intact and before.marks is not None:
            return vouches(before.marks.fingerprint, marks.fingerprint)
        if not before.version_id:
            return False
        try:
            return self._access(before.name, before.version_id, "write") == value.reveal().encode()
        except errors.Conflict:
            return False

    def _add(self, remote: str, value: Sensitive) -> SecretVersion:
        payload = {"data": value.reveal().encode(), "data_crc32c": crc32c(value.reveal().encode())}
        request = {"parent": self._path(remote, "write"), "payload": payload}
        return self._call("write", remote, self._client.add_secret_version, request)

    def _record(self, before: GcpSecret, marks: OwnershipTags, details: Details, number: str) -> GcpSecret:
        try:
            secret = self._update(before, marks, details, number, "write")
        except errors.Conflict:
            self._disclaim(before.name, number)
            raise
        written = describe_secret(before.name, secret, None)
        return replace(written, version_id=number, intact=True)

    def _update(self, before: GcpSecret, marks: OwnershipTags, details: Details, number: str, doing: str) -> Secret:
        labels, annotations = self._labelled(before, details), self._annotated(before, marks, details, number)
        return self._change(before, {"labels": labels, "annotations": annotations} | self._expiry, doing)

    def _labelled(self, before: GcpSecret, details: Details) -> dict[str, str]:
        ours = before.marks.tags if before.marks else ()
        return {**changed_tags(before.labels, details.tags, ours), TAG_MANAGED_BY: MANAGED_BY}

    def _annotated(self, before: GcpSecret, marks: OwnershipTags, details: Details, number: str) -> dict[str, str]:
        theirs = {key: text for key, text in before.annotations.items() if key not in TAGS_BESIDE}
        wanted = {**self._annotations, **details.annotations}
        beside = changed_tags(theirs, wanted, before.marks.annotations if before.marks else ())
        return {**beside, **marks.beside(), TAG_VERSION: number}

    def _check_room(self, before: GcpSecret, marks: OwnershipTags, details: Details) -> None:
        annotations = self._annotated(before, marks, details, f"{before.version_id}0")
        problem = secret_marks.too_large(annotations) or secret_marks.too_many(self._labelled(before, details))
        if problem:
            hint = "Remove labels and annotations that are not needed"
            raise errors.Invalid("write", self._named(before.name), problem, hint)

    def _disclaim(self, remote: str, number: str) -> None:
        """Make listings show the copy as stale if our version is the latest but the marks describe another."""
        now = self._look(remote, "write")
        if now and now.marks and now.version_id == number and not now.intact:
            annotations = {key: text for key, text in now.annotations.items() if key != TAG_VERSION}
            self._change(now, {"annotations": annotations}, "write")

    def _change(self, before: GcpSecret, fields: Mapping[str, Any], doing: str) -> Secret:
        secret = {"name": self._path(before.name, doing), "etag": before.etag, **fields}
        request = {"secret": secret, "update_mask": {"paths": list(fields)}}
        return self._call(doing, before.name, self._client.update_secret, request)

    def _retire(self, written: GcpSecret, added: SecretVersion) -> None:
        if not self._retires or written.version_id == "1":
            return
        if (latest := self._latest(written.name, "write")) is None:
            return
        versions = self._old_versions(written.name)
        steps = to_retire(versions, added, latest, written.aliased, self._destroy_after)
        for step, version in islice(steps, MOST_RETIRED):
            destroys = step == DESTROY
            rpc = self._client.destroy_secret_version if destroys else self._client.disable_secret_version
            with suppress(errors.Conflict, errors.NotFound):
                self._call(f"{step} an old version of", written.name, rpc, {"name": version.name, "etag": version.etag})

    def _old_versions(self, remote: str) -> Iterator[Any]:
        wanted = ENABLED if self._destroy_after is None else NOT_DESTROYED
        request = {"parent": self._path(remote, "write"), "filter": wanted}
        doing = "list the versions of"
        for page in self._pages(doing, remote, self._client.list_secret_versions, request):
            yield from page.versions

    def _check(self, remote: str, value: Sensitive) -> None:
        self._path(remote, "write")
        if problem := too_large(GCP_SECRET_MANAGER, len(value.reveal().encode())):
            raise errors.Invalid("write", self._named(remote), problem)

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"

    def _path(self, remote: str, doing: str) -> str:
        if problem := illegal_name(GCP_SECRET_MANAGER, remote):
            raise errors.Invalid(doing, self._named(remote), problem)
        return f"{self._parent}/secrets/{remote}"

    def _call(self, doing: str, remote: str | None, rpc: Callable[..., _T], request: Mapping[str, Any]) -> _T:
        with self._translated(doing, remote):
            return rpc(request=request, retry=None, timeout=DEADLINE)

    @contextmanager
    def _translated(self, doing: str, remote: str | None = None) -> Iterator[None]:
        try:
            yield
        except (api.GoogleAPIError, auth.GoogleAuthError) as error:
            raise from_gcp(error, doing, self.name if remote is None else self._named(remote)) from None


def _replication(mine: Mapping[str, Any], location: str | None) -> Posture:
    what = "replication"
    if location:
        return Posture(what, Safety.SOUND, f"regional secrets: in {location} alone, as the catalogue says")
    single = [name for name, secret in mine.items() if len(secret.replication.user_managed.replicas) == 1]
    if single:
        remedy = "Name several locations in replication for new copies; Google changes it for none that is there"
        return Posture(what, Safety.WEAK, f"in one location alone: {copies_named(single)}", remedy)
    return Posture(what, Safety.SOUND, f"{len(mine)} secrets in several locations, which Google keeps in sync")
