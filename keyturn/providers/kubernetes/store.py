"""Secrets of one Kubernetes namespace as a store.

The marks are annotations and the label ``keyturn-managed-by``, which filters the listing. Finding and listing read only
metadata, and managedFields show others' changes. Every write names the version that was read and raises Conflict after
a faster one. For another type, a Secret is deleted and created again after a dry run. It is absent for that moment, and
a crash then loses others' keys in it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from keyturn.core.errors import Conflict, Invalid, NotFound, UnsupportedOperation
from keyturn.core.fingerprint import shown, vouches
from keyturn.core.ports.rollouts import Rollout
from keyturn.core.ports.stores import (
    MANAGED_BY,
    NO_DETAILS,
    TAG_MANAGED_BY,
    Detail,
    Details,
    OwnershipTags,
    RemoteSecret,
    Unsupported,
)
from keyturn.core.rights.posture import Posture, Safety
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import KUBERNETES, LIMITS, too_large
from keyturn.core.text.details import SHOWN
from keyturn.providers.answers import reads_answers
from keyturn.providers.kubernetes import values
from keyturn.providers.kubernetes.client import APPLY, JSON, MANAGER, MANY, MERGE, ONE, Doing, Namespace
from keyturn.providers.kubernetes.cluster import settings_for
from keyturn.providers.kubernetes.marks import (
    JSON_KEYS,
    KEYS,
    KubernetesSecret,
    describe_manifest,
    is_ours,
    key_annotations,
    labelled,
    marks_in,
    merge_metadata,
    new_secret,
    parse_names,
    unmarked,
)
from keyturn.providers.kubernetes.merged_keys import NOT_OURS, SharedKubernetes
from keyturn.providers.kubernetes.restart import Restarter
from keyturn.providers.kubernetes.versions import UNNOTED, finalizers, noted, outlived, past
from keyturn.providers.side_by_side import read_side_by_side
from keyturn.providers.store_refusals import StoreLimits, has_changed, insist_on_value, unfulfilled

TAKES: Final = SHOWN[KUBERNETES] | {Detail.CONTENT_TYPE}
READERS: Final = 8

OURS: Final = f"{TAG_MANAGED_BY}={MANAGED_BY}"
MANAGEABLE: Final = ",".join(f"type!={kind}" for kind in NOT_OURS)
PAST: Final = "read old versions of"
FORGET: Final = "forget old versions of"
ERASE: Final = "erase"
TYPED_KEYS: Final = frozenset({"tls.crt", "tls.key", ".dockerconfigjson"})


@dataclass(frozen=True)
class _Write:
    entries: values.Entries
    marks: OwnershipTags
    beside: Mapping[str, Any]
    restart_for: str

    @property
    def metadata(self) -> dict[str, Any]:
        data = key_annotations(self.entries.data, self.entries.json_keys, self.restart_for, self.entries.asked)
        return {**self.beside, "annotations": {**self.beside["annotations"], **data}}


@reads_answers()
class Kubernetes:
    """A :class:`keyturn.core.ports.stores.Store` in one namespace.

    With ``server``, signs in with the token in ``token_file``, else by ``kubeconfig`` and ``context``, else as the
    pod's own service account. With ``merge``, others' keys stay; otherwise a write removes them. With ``restart``, a
    write notes that the workloads using it must restart, or only those in ``workloads``. A restart longer than
    ``restart_timeout`` has failed. Raises Invalid for unusable settings.
    """

    unsupported: frozenset[Unsupported] = frozenset()

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        server: str | None = None,
        ca_file: str | None = None,
        token_file: str | None = None,
        kubeconfig: str | None = None,
        context: str | None = None,
        merge: bool = False,
        restart: bool = False,
        workloads: Sequence[str] = (),
        restart_timeout: timedelta = timedelta(minutes=30),
    ) -> None:
        self.name = name
        self._limits = StoreLimits(LIMITS[KUBERNETES], name)
        settings = settings_for(
            name, server=server, ca_file=ca_file, token_file=token_file, kubeconfig=kubeconfig, context=context
        )
        self._namespace = Namespace(namespace, settings)
        self._merge = merge
        self.restarts = restart
        only = frozenset(workloads)
        self._restarter = Restarter(self._namespace, name, self._ours, self._look_for, restart_timeout, only)
        self.shared = SharedKubernetes(name, self._namespace, restart, self._manageable)

    def posture(self, remotes: Sequence[str]) -> Iterator[Posture]:
        words = "whether Secrets are encrypted where the cluster keeps them can't be seen through its API"
        remedy = "Ask the cluster's administrators for its EncryptionConfiguration, best with a KMS provider"
        yield Posture("encryption at rest", Safety.UNSEEN, words, remedy)

    def describe(self, remote: str) -> RemoteSecret | None:
        return self._look(remote, "find")

    def list_managed(self) -> Iterator[RemoteSecret]:
        return (copy for copy, _ in self._listed(labelSelector=OURS) if copy.marks is not None)

    def list_all(self) -> Iterator[RemoteSecret]:
        return (copy for copy, leaving in self._listed(fieldSelector=MANAGEABLE) if not leaving)

    def write(
        self,
        remote: str,
        value: Sensitive,
        marks: OwnershipTags,
        current: RemoteSecret | None,
        *,
        details: Details = NO_DETAILS,
    ) -> RemoteSecret:
        """One call with the marks and the note of a restart, repeatable after a crash at any point."""
        secret = self._fresh(remote, current)
        entries = self._entries(remote, value, details.content_type or _asked_before(secret))
        settled = secret is not None and secret.intact and secret.marks == marks
        if secret and settled and not unfulfilled(details, secret, TAKES):
            return secret
        plan = _Write(entries, marks, labelled(marks, details, secret), self._restart_for(secret, marks))
        return self._create(remote, plan) if secret is None else self._update(secret, plan)

    def owed(self, remotes: Collection[str]) -> Sequence[str]:
        return self._restarter.owed(remotes)

    def restart_users(self, remotes: Collection[str]) -> Sequence[Rollout]:
        return self._restarter.restart(remotes)

    def rollouts(self, remotes: Collection[str], *, note: bool = False) -> Sequence[Rollout]:
        return self._restarter.look(remotes, note=note)

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, current: RemoteSecret) -> RemoteSecret:
        insist_on_value(self._named(remote), current, marks)
        secret = current if isinstance(current, KubernetesSecret) else self._look(remote, "label")
        if secret is None or secret != current:
            raise has_changed(self._named(remote))
        if details.content_type not in ("", _asked_before(secret)):
            hint = "Write it whole"
            raise UnsupportedOperation("label", self._named(remote), "only a write shows its type", hint)
        metadata = labelled(marks, details, secret)
        metadata["annotations"] |= secret.marked_anew(marks)
        return self._patch(secret, "label", {"metadata": metadata})

    def read(self, remote: str) -> Sensitive:
        manifest = self._get(remote, "read")
        annotations = manifest["metadata"].get("annotations") or {}
        keys = parse_names(annotations.get(KEYS)) if self._merge and marks_in(manifest["metadata"]) else None
        data = {key: text for key, text in (manifest.get("data") or {}).items() if keys is None or key in keys}
        if not data:
            raise NotFound("read", self._named(remote), "it has none of Keyturn's keys", "Write it again")
        try:
            return values.entries_text(data, parse_names(annotations.get(JSON_KEYS)))
        except ValueError:
            raise Invalid("read", self._named(remote), "it holds binary data, no text") from None

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        return read_side_by_side(self.read, remotes, READERS)

    def delete(self, remote: str) -> None:
        """With ``merge``, removes only Keyturn's keys if others exist."""
        with suppress(NotFound):
            # The data itself shows others' keys here, because managedFields can be cleared.
            manifest = self._get(remote, "delete", accept=JSON if self._merge else ONE)
            secret = self._seen(manifest)
            if self._merge and (manifest.get("data") or {}).keys() - secret.keys:
                self._patch(secret, "delete", {"metadata": unmarked(secret), "data": dict.fromkeys(secret.keys)})
            else:
                self._remove(secret, "delete")

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        with suppress(NotFound):
            return past(self._get(remote, PAST), merged=self._merge)
        return {}

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        with suppress(NotFound):
            manifest = self._get(remote, FORGET)
            if outlived(manifest, merged=self._merge):
                self._patch(self._seen(manifest), FORGET, {"metadata": UNNOTED})
        return ()

    def purge(self, remote: str) -> tuple[str, ...]:
        """With ``merge``, removes only Keyturn's keys. Reports remaining finalizers."""
        with suppress(NotFound):
            if self._merge and noted(manifest := self._get(remote, ERASE), merged=True):
                self._patch(self._seen(manifest), ERASE, {"metadata": UNNOTED})
            self.delete(remote)
            if keep := finalizers(self._get(remote, ERASE, accept=ONE)):
                return (f"it is served until its finalizers are removed: {', '.join(keep)}",)
        return ()

    def close(self) -> None:
        self._namespace.close()

    def _look(self, remote: str, doing: str) -> KubernetesSecret | None:
        with suppress(NotFound):
            return self._seen(self._get(remote, doing, accept=ONE))
        return None

    def _get(self, remote: str, doing: str, *, accept: str = JSON) -> dict[str, Any]:
        self._limits.check_name(remote, doing)
        manifest: dict[str, Any] = self._namespace.call(Doing(doing, self._named(remote), "get"), remote, accept=accept)
        return manifest

    def _seen(self, manifest: Mapping[str, Any]) -> KubernetesSecret:
        return describe_manifest(manifest, merged=self._merge)

    def _listed(self, **selector: str) -> Iterator[tuple[RemoteSecret, bool]]:
        """Plain copies, because a listing may be outdated later."""
        doing = Doing("list", self._named("*"), "list")
        for page in self._namespace.pages(doing, accept=MANY, **selector):
            for manifest in page:
                copy = self._seen(manifest)
                plain = RemoteSecret(copy.name, copy.version_id, copy.marks, copy.intact, details=copy.details)
                yield plain, "deletionTimestamp" in manifest["metadata"]

    def _manageable(self) -> Iterator[list[dict[str, Any]]]:
        return self._namespace.pages(Doing("list", self._named("*"), "list"), accept=MANY, fieldSelector=MANAGEABLE)

    def _ours(self) -> dict[str, KubernetesSecret]:
        secrets = (self._seen(manifest) for page in self._manageable() for manifest in page if is_ours(manifest))
        return {secret.name: secret for secret in secrets}

    def _look_for(self, remote: str) -> KubernetesSecret | None:
        return self._look(remote, "restart who uses")

    def _fresh(self, remote: str, current: RemoteSecret | None) -> KubernetesSecret | None:
        if current is None or isinstance(current, KubernetesSecret):
            return current
        secret = self._look(remote, "write")
        if secret is not None and current.marks is not None and secret.marks is None:
            raise Conflict("write", self._named(remote), "it lost Keyturn's marks meanwhile", "Run it again")
        return secret

    def _restart_for(self, secret: KubernetesSecret | None, marks: OwnershipTags) -> str:
        if not self.restarts:
            return ""
        plain = shown(marks.fingerprint)
        if secret is None or secret.marks is None:
            return plain
        if secret.served and vouches(secret.marks.fingerprint, marks.fingerprint):
            return secret.restart_for
        # Pods may have started with another value meanwhile, under the same annotation.
        between = not secret.served or secret.restart_for
        return f"{plain}-{secret.resource_version}" if between else plain

    def _create(self, remote: str, plan: _Write) -> KubernetesSecret:
        body = new_secret(merge_metadata({"name": remote}, plan.metadata), plan.entries.type, plan.entries.data)
        try:
            return self._post(remote, body)
        except Conflict:
            # This may be Keyturn's own earlier request, whose answer was lost.
            there = self._look(remote, "write")
            if there is None or there.marks != plan.marks or not there.served:
                raise
            return there

    def _update(self, secret: KubernetesSecret, plan: _Write) -> KubernetesSecret:
        gone = (secret.keys if self._merge else secret.keys | secret.present) - plan.entries.data.keys()
        data: dict[str, str | None] = {**dict.fromkeys(gone), **plan.entries.data}
        change = {"metadata": plan.metadata, "data": data, **self._type(secret, plan)}
        try:
            written = self._patch(secret, "write", change)
        except Invalid:
            manifest = self._get(secret.name, "write")
            if manifest.get("type") == plan.entries.type or manifest.get("immutable"):
                raise
            if plan.entries.asked:
                raise self._of_another_type(secret.name, manifest, plan.entries.asked) from None
            return self._create_again(secret, plan, manifest)
        return written if written.served else self._take_over(written, plan)

    def _type(self, secret: KubernetesSecret, plan: _Write) -> dict[str, str]:
        """None for a Secret shared with others whose type is not Keyturn's."""
        shared = self._merge and secret.foreign and not secret.keys & TYPED_KEYS
        return (
            {}
            if shared and not plan.entries.asked and plan.entries.type == values.OPAQUE
            else {"type": plan.entries.type}
        )

    def _take_over(self, secret: KubernetesSecret, plan: _Write) -> KubernetesSecret:
        """The API server then records Keyturn as manager of keys that others set to these values."""
        metadata = {"name": secret.name, "resourceVersion": secret.resource_version}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": dict(plan.entries.data)}
        return self._patched(secret.name, "write", body, content_type=APPLY, force="true")

    def _create_again(self, secret: KubernetesSecret, plan: _Write, there: Mapping[str, Any]) -> KubernetesSecret:
        theirs = {
            key: text for key, text in (there.get("data") or {}).items() if self._merge and key not in secret.keys
        }
        data = {**theirs, **plan.entries.data}
        body = new_secret(merge_metadata(there["metadata"], plan.metadata), plan.entries.type, data)
        self._post(secret.name, {**body, "metadata": {"generateName": "keyturn-"}}, dryRun="All")
        self._remove(secret, "write")
        return self._post(secret.name, body)

    def _post(self, remote: str, body: Mapping[str, Any], **arguments: str) -> KubernetesSecret:
        doing = Doing("write", self._named(remote), "create")
        return self._seen(self._namespace.call(doing, body=body, fieldManager=MANAGER, accept=ONE, **arguments))

    def _patch(self, secret: KubernetesSecret, doing: str, change: Mapping[str, Any]) -> KubernetesSecret:
        metadata = {**change["metadata"], "resourceVersion": secret.resource_version}
        return self._patched(secret.name, doing, {**change, "metadata": metadata}, content_type=MERGE)

    def _patched(self, remote: str, what: str, body: Mapping[str, Any], **arguments: Any) -> KubernetesSecret:
        doing = Doing(what, self._named(remote), "patch")
        return self._seen(self._namespace.call(doing, remote, body=body, fieldManager=MANAGER, accept=ONE, **arguments))

    def _remove(self, secret: KubernetesSecret, what: str) -> None:
        doing = Doing(what, self._named(secret.name), "delete")
        exactly = {"preconditions": {"uid": secret.uid, "resourceVersion": secret.resource_version}}
        self._namespace.call(doing, secret.name, body=exactly, accept=ONE)

    def _of_another_type(self, remote: str, existing: Mapping[str, Any], wanted: str) -> Invalid:
        problem = f"it has the type {existing.get('type')}, not {wanted}, and a Secret's type can't be changed"
        there = self._namespace.name
        hint = f"Nothing was changed. `kubectl -n {there} delete secret {remote}`, and the next sync makes it so"
        return Invalid("write", self._named(remote), problem, hint)

    def _entries(self, remote: str, value: Sensitive, wanted: str) -> values.Entries:
        self._limits.check_name(remote, "write")
        if problem := too_large(KUBERNETES, len(value.reveal().encode())):
            raise Invalid("write", self._named(remote), problem)
        entries = replace(values.entries(value), asked=wanted)
        if lacking := entries.lacking:
            problem = f"a Secret of the type {wanted} needs {' and '.join(lacking)}, which this value has not"
            raise Invalid("write", self._named(remote), problem, "Name its fields so: `fields: {KEY: FIELD}`")
        if entries.illegal_key is not None:
            problem = f"a Secret can't have a key like {entries.illegal_key!r}"
            raise Invalid("write", self._named(remote), problem, f"Keys are {values.KEY_RULE}")
        return entries

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"


def _asked_before(secret: KubernetesSecret | None) -> str:
    return secret.details.content_type if secret and secret.details else ""
