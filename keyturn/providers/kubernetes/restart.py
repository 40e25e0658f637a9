"""Restart the workloads whose pods use a Secret by an annotation, like ``kubectl rollout restart``.

The annotation is a digest of the workload's Secrets, so the same content restarts none twice. The call that changes a
Secret's data also notes the pending restart. The note goes after all users have the annotation, so a crash loses
nothing. Nothing here waits for pods.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from keyturn.core.errors import Conflict, KeyturnError, NotFound
from keyturn.core.ports.rollouts import Rollout, RolloutState
from keyturn.providers.kubernetes.client import MANAGER, MERGE, Doing, Namespace
from keyturn.providers.kubernetes.marks import KubernetesSecret
from keyturn.providers.kubernetes.rollout import describe_unfinished, has_timed_out

RESTARTED_FOR: Final = "keyturn.dev/restarted-for"
RESTARTED_AT: Final = "keyturn.dev/restarted-at"
ROLLED_OUT: Final = "keyturn.dev/rolled-out"
"""The restart that was seen finished."""

KINDS: Final = (
    ("deployment", "deployments", "deployment"),
    ("stateful set", "statefulsets", "stateful_set"),
    ("daemon set", "daemonsets", "daemon_set"),
)

FEW: Final = 10

ROUNDS: Final = 5
"""A workload's status changes during a rollout."""


@dataclass(frozen=True)
class Workload:
    kind: str
    resource: str
    word: str
    namespace: str
    body: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def label(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def secrets(self) -> frozenset[str]:
        return frozenset(_secrets_of(self._template.get("spec") or {})) - {""}

    @property
    def restarted_for(self) -> str:
        return str(self._annotations.get(RESTARTED_FOR) or "")

    @property
    def restarted_at(self) -> datetime | None:
        with suppress(ValueError):
            moment = datetime.fromisoformat(str(self._annotations.get(RESTARTED_AT) or ""))
            return moment if moment.tzinfo else None
        return None

    @property
    def noted(self) -> bool:
        annotations = self.body["metadata"].get("annotations") or {}
        return bool(self.restarted_for) and annotations.get(ROLLED_OUT) == self.restarted_for

    @property
    def _template(self) -> Mapping[str, Any]:
        template: Mapping[str, Any] = (self.body.get("spec") or {}).get("template") or {}
        return template

    @property
    def _annotations(self) -> Mapping[str, Any]:
        return (self._template.get("metadata") or {}).get("annotations") or {}


@dataclass(frozen=True)
class Restarter:
    """``ours`` lists the Secrets with anything of Keyturn, by name; ``look_for`` gives one.

    A rollout longer than ``limit`` has failed. ``only``, unless empty, names the workloads.
    """

    namespace: Namespace
    store: str
    ours: Callable[[], Mapping[str, KubernetesSecret]]
    look_for: Callable[[str], KubernetesSecret | None]
    limit: timedelta
    only: frozenset[str] = frozenset()
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def owed(self, remotes: Collection[str]) -> list[str]:
        return sorted(name for name, secret in self._found(remotes).items() if secret.restart_for)

    def restart(self, remotes: Collection[str]) -> list[Rollout]:
        """A refusal stops no other restart; the first is raised last."""
        # Workloads before Secrets: the author of a later change restarts the workload after this read.
        workloads, contents = list(self._workloads("restart")), self.ours()
        owed = [content for content in contents.values() if content.restart_for and content.name in remotes]
        names = {content.name for content in owed}
        restarted, refused = [], dict[str, KeyturnError]()
        for workload in workloads:
            if used := names & workload.secrets:
                try:
                    restarted += self._restarted(workload, contents)
                except KeyturnError as error:
                    refused |= dict.fromkeys(used, error)
        for secret in owed:
            if secret.name not in refused:
                self._settle(secret)
        if refused:
            raise next(iter(refused.values()))
        return restarted

    def look(self, remotes: Collection[str], *, note: bool) -> list[Rollout]:
        # Secrets before workloads: a settled restart has its annotation by the second read.
        secrets = self._found(remotes)
        names = frozenset(remotes)
        owed = [
            Rollout("", RolloutState.OWED, remotes=(secret.name,)) for secret in secrets.values() if secret.restart_for
        ]
        owed.sort(key=lambda rollout: rollout.remotes)
        users = [user for user in self._workloads("look at") if names & user.secrets]
        return [*owed, *(self._stands(user, names & user.secrets, note=note) for user in users)]

    def _found(self, remotes: Collection[str]) -> Mapping[str, KubernetesSecret]:
        if len(remotes) > FEW:
            return {name: content for name, content in self.ours().items() if name in remotes}
        return {name: secret for name in remotes if (secret := self.look_for(name))}

    def _workloads(self, doing: str, **selector: str) -> Iterator[Workload]:
        for kind, resource, word in KINDS:
            yield from self._of_kind(Doing(doing, f"{self.store}:*", "list", resource), kind, word, **selector)

    def _of_kind(self, doing: Doing, kind: str, word: str, **selector: str) -> Iterator[Workload]:
        for page in self.namespace.pages(doing, **selector):
            for body in page:
                if not self.only or body["metadata"]["name"] in self.only:
                    yield Workload(kind, doing.resource, word, self.namespace.name, body)

    def _again(self, workload: Workload) -> Workload | None:
        """By a listing, so that the right to list is enough."""
        doing = Doing("restart", self._named(workload), "list", workload.resource)
        selector = f"metadata.name={workload.name}"
        return next(self._of_kind(doing, workload.kind, workload.word, fieldSelector=selector), None)

    def _restarted(self, workload: Workload, contents: Mapping[str, KubernetesSecret]) -> list[Rollout]:
        for _ in range(ROUNDS):
            wanted = content_digest(contents[name] for name in workload.secrets if name in contents)
            if workload.restarted_for == wanted:
                return []
            try:
                body = self._patch(workload, "restart", exactly(workload, template(wanted, self.clock())))
            except NotFound:
                return []  # deleted meanwhile
            except Conflict:
                there = self._again(workload)
                if there is None:
                    return []
                workload, contents = there, self.ours()
                continue
            return [self._stands(_with(workload, body), workload.secrets & contents.keys(), note=False)]
        raise Conflict("restart", self._named(workload), "others keep changing it", "The next sync tries it again")

    def _settle(self, secret: KubernetesSecret) -> None:
        there: KubernetesSecret | None = secret
        for _ in range(ROUNDS):
            if there is None or there.restart_for != secret.restart_for:
                return
            metadata = {**secret.restarted, "resourceVersion": there.resource_version}
            doing = Doing("restart who uses", f"{self.store}:{secret.name}", "patch")
            try:
                self._call(doing, secret.name, {"metadata": metadata})
            except NotFound:
                return
            except Conflict:
                there = self.look_for(secret.name)
            else:
                return

    def _stands(self, workload: Workload, used: Iterable[str], *, note: bool) -> Rollout:
        state, reason = RolloutState.FINISHED, ""
        if not workload.noted and (reason := describe_unfinished(workload.word, workload.body)):
            state, reason = self._judged(workload, reason)
        elif note and workload.restarted_for and not workload.noted:
            self._note(workload)
        return Rollout(workload.label, state, reason, tuple(sorted(used)))

    def _judged(self, workload: Workload, left: str) -> tuple[RolloutState, str]:
        """Others' rollouts never fail."""
        if not workload.restarted_for:
            return RolloutState.ROLLING, left
        if has_timed_out(workload.body):
            return RolloutState.FAILED, f"it makes no progress within its deadline: {left}"
        at = workload.restarted_at
        if at and self.clock() - at > self.limit:
            return RolloutState.FAILED, f"it is not done after {minutes(self.limit)}: {left}"
        return RolloutState.ROLLING, left

    def _note(self, workload: Workload) -> None:
        with suppress(KeyturnError):
            change = {"metadata": {"annotations": {ROLLED_OUT: workload.restarted_for}}}
            self._patch(workload, "look at", exactly(workload, change))

    def _patch(self, workload: Workload, what: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        doing = Doing(what, self._named(workload), "patch", workload.resource)
        return self._call(doing, workload.name, body)

    def _call(self, doing: Doing, name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self.namespace.call(
            doing, name, body=body, fieldManager=MANAGER, content_type=MERGE
        )
        return answer

    def _named(self, workload: Workload) -> str:
        return f"{self.store}:{workload.word.replace('_', ' ')} {workload.name}"


def content_digest(contents: Iterable[KubernetesSecret]) -> str:
    lines = sorted(f"{secret.name} {secret.content}" for secret in contents)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def template(restarted_for: str, at: datetime) -> dict[str, Any]:
    annotations = {RESTARTED_FOR: restarted_for, RESTARTED_AT: at.isoformat(timespec="seconds")}
    spec = {"template": {"metadata": {"annotations": annotations}}}
    return {"metadata": {"annotations": {ROLLED_OUT: None}}, "spec": spec}


def minutes(limit: timedelta) -> str:
    whole, seconds = divmod(int(limit.total_seconds()), 60)
    return f"{whole} min" if not seconds else f"{int(limit.total_seconds())} s"


def exactly(workload: Workload, change: Mapping[str, Any]) -> dict[str, Any]:
    version = {"resourceVersion": workload.body["metadata"]["resourceVersion"]}
    return {**change, "metadata": {**change.get("metadata", {}), **version}}


def _with(workload: Workload, body: Mapping[str, Any]) -> Workload:
    return Workload(workload.kind, workload.resource, workload.word, workload.namespace, body)


def _secrets_of(pod: Mapping[str, Any]) -> Iterator[str]:
    for container in (*(pod.get("containers") or ()), *(pod.get("initContainers") or ())):
        for variable in container.get("env") or ():
            yield _named((variable.get("valueFrom") or {}).get("secretKeyRef"))
        for source in container.get("envFrom") or ():
            yield _named(source.get("secretRef"))
    for volume in pod.get("volumes") or ():
        yield from _secrets_of_volume(volume)
    for pull in pod.get("imagePullSecrets") or ():
        yield _named(pull)


def _secrets_of_volume(volume: Mapping[str, Any]) -> Iterator[str]:
    yield (volume.get("secret") or {}).get("secretName") or ""
    yield _named((volume.get("csi") or {}).get("nodePublishSecretRef"))
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield _named(source.get("secret"))


def _named(reference: Mapping[str, Any] | None) -> str:
    return (reference or {}).get("name") or ""
