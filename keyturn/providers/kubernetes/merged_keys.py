"""Single keys in others' Secrets: a patch of these keys and their note, only of the version that was read."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from keyturn.core.errors import Invalid, NotFound
from keyturn.core.fingerprint import payload
from keyturn.core.ports.merged_keys import NOTE, Change, Shared
from keyturn.core.sensitive import SecretFields
from keyturn.core.store_limits import KUBERNETES, LIMITS, too_large
from keyturn.providers.answers import reads_answers
from keyturn.providers.kubernetes import client as calls
from keyturn.providers.kubernetes.client import MANAGER, Doing, Namespace
from keyturn.providers.kubernetes.marks import RESTART_FOR, marks_in, new_secret
from keyturn.providers.kubernetes.values import KEY, KEY_RULE, OPAQUE
from keyturn.providers.sharing import MERGE
from keyturn.providers.store_refusals import StoreLimits

NOT_OURS: Final = ("kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token", "helm.sh/release.v1")
"""Types of Secrets that the cluster or Helm manages."""


@reads_answers()
class SharedKubernetes:
    """``Shares`` in one namespace; ``restarts`` means that its users will be restarted."""

    atomic = True

    def __init__(
        self, name: str, namespace: Namespace, restarts: bool, listed: Callable[[], Iterator[list[dict[str, Any]]]]
    ) -> None:
        self.name = name
        self._namespace = namespace
        self._restarts = restarts
        self._pages = listed
        self._limits = StoreLimits(LIMITS[KUBERNETES], name)

    def look(self, remote: str) -> Shared | None:
        self._limits.check_name(remote, MERGE)
        try:
            manifest = self._namespace.call(Doing(MERGE, self._named(remote), "get"), remote)
        except NotFound:
            return None
        if problem := _refused(manifest):
            raise Invalid(MERGE, self._named(remote), problem, "Choose another name; nothing was written")
        metadata = manifest["metadata"]
        tags = dict(metadata.get("annotations") or {})
        members = {key: _decoded(text) for key, text in (manifest.get("data") or {}).items()}
        return Shared(remote, metadata["resourceVersion"], members, None, tags, marks_in(metadata), texts=True)

    def put(self, remote: str, change: Change, current: Shared | None) -> None:
        """Write keys and note in one call. Raises Conflict after a faster write."""
        self._check(remote, change, current)
        put = {key: _encoded(value) for key, value in change.put.items()}
        restart_for = self._restart_for(change, current)
        annotations = {**change.tags, **({RESTART_FOR: restart_for} if restart_for else {})}
        if current is None:
            metadata = {"name": remote, "annotations": {key: text for key, text in annotations.items() if text}}
            self._post(remote, new_secret(metadata, OPAQUE, put))
        else:
            data = {**put, **dict.fromkeys(change.take)}
            self._patch(remote, {"metadata": {"annotations": annotations}, "data": data}, current.version_id)

    def listed(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        for page in self._pages():
            for manifest in page:
                tags = manifest["metadata"].get("annotations") or {}
                if any(key.startswith(NOTE) for key in tags):
                    yield manifest["metadata"]["name"], tags

    def tidy(self, remote: str) -> None:
        """Nothing remains to remove: a write is one call."""

    def _restart_for(self, change: Change, current: Shared | None) -> str:
        if not self._restarts or (current is not None and not change):
            return ""
        return f"merged-{current.version_id if current else 0}"

    def _check(self, remote: str, change: Change, current: Shared | None) -> None:
        for illegal in (key for key in change.put if not KEY.fullmatch(key)):
            message = f"a Secret can't have a key like {illegal!r}"
            raise Invalid(MERGE, self._named(remote), message, f"Keys are {KEY_RULE}")
        members = {
            key: member for key, member in (current.members if current else {}).items() if key not in change.take
        }
        size = len(payload(SecretFields({**members, **change.put})).reveal().encode(errors="replace"))
        if change and (problem := too_large(KUBERNETES, size)):
            raise Invalid(MERGE, self._named(remote), f"{problem}, with the keys of others", "Nothing was written")

    def _post(self, remote: str, body: Mapping[str, Any]) -> None:
        doing = Doing(MERGE, self._named(remote), "create")
        self._namespace.call(doing, body=body, fieldManager=MANAGER, accept=calls.ONE)

    def _patch(self, remote: str, change: Mapping[str, Any], version: str) -> None:
        body = {**change, "metadata": {**change["metadata"], "resourceVersion": version}}
        doing = Doing(MERGE, self._named(remote), "patch")
        self._namespace.call(doing, remote, body=body, fieldManager=MANAGER, accept=calls.ONE, content_type=calls.MERGE)

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"


def _refused(manifest: Mapping[str, Any]) -> str:
    if "deletionTimestamp" in manifest["metadata"]:
        return "it is being deleted"
    if manifest.get("immutable"):
        return "it is immutable"
    return (
        f"its type is {manifest['type']}, which the cluster or Helm keeps" if manifest.get("type") in NOT_OURS else ""
    )


def _decoded(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace")


def _encoded(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(text.encode()).decode()
