"""Making, changing and removing objects of any kind, as the API server's registry does."""

import copy
import secrets
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from local.emulators.kubernetes import access_rules, fields, secret_rules, workload_rules
from local.emulators.kubernetes.controller import Controller
from local.emulators.kubernetes.messages import Cause, Refusal
from local.emulators.kubernetes.state import State

Tree = dict[str, Any]

GIVEN: Final = ("name", "generateName", "labels", "annotations", "finalizers", "ownerReferences")
"""What of the metadata a request decides."""


@dataclass(frozen=True)
class Kind:
    """One kind of object: where it is found, and what is told of it."""

    kind: str
    resource: str
    group: str
    version: str
    decoded: Callable[[Tree], Tree]
    problems: Callable[[Tree, Tree | None], Iterator[Cause]]

    @property
    def api_version(self) -> str:
        """As it stands in its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version


SECRETS: Final = Kind("Secret", "secrets", "", "v1", secret_rules.decoded, secret_rules.problems)
WORKLOADS: Final = tuple(
    Kind(kind, f"{kind.lower()}s", "apps", "v1", partial(workload_rules.decoded, kind), workload_rules.problems)
    for kind in ("Deployment", "StatefulSet", "DaemonSet")
)

RBAC: Final = "rbac.authorization.k8s.io"
ACCESS: Final = (
    Kind("Role", "roles", RBAC, "v1", access_rules.decoded, access_rules.problems),
    Kind("RoleBinding", "rolebindings", RBAC, "v1", access_rules.decoded, access_rules.problems),
    Kind("ServiceAccount", "serviceaccounts", "", "v1", access_rules.decoded, access_rules.problems),
)
"""Who may do what; accounts' rules here are told by whoever starts the emulator, and not read from these."""


@dataclass(frozen=True)
class Place:
    """Where one object is or is to be, and who writes it by which operation."""

    kind: Kind
    namespace: str
    name: str
    manager: str
    operation: str = fields.UPDATE

    def refused(self, status: int, problem: str, **more: Any) -> Refusal:
        """A refusal that names the object."""
        return Refusal(status, problem, name=self.name, kind=self.kind.resource, **more)


class Objects:
    """Every object of the cluster, one change at a time; ``dry`` changes are checked and not kept."""

    def __init__(self, state: State, controller: Controller) -> None:
        self._state = state
        self._controller = controller

    def get(self, place: Place) -> Tree:
        """The object. Raises :class:`Refusal` (404) where there is none."""
        tree = self._state.get(place.kind.resource, place.namespace, place.name)
        if tree is None:
            raise place.refused(404, f'{place.kind.resource} "{place.name}" not found')
        return tree

    def create(self, place: Place, tree: Tree, *, dry: bool = False) -> Tree:
        """A new object. Raises :class:`Refusal` (409) where one of that name is there."""
        place = _named(place, tree)
        if self._state.get(place.kind.resource, place.namespace, place.name) is not None:
            problem = f'{place.kind.resource} "{place.name}" already exists'
            raise place.refused(409, problem, reason="AlreadyExists")
        if (tree.get("metadata") or {}).get("resourceVersion"):
            raise place.refused(400, "resourceVersion should not be set on objects to be created")
        made = _given(place, tree)
        made["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now(), "resourceVersion": "0"}
        if place.kind in WORKLOADS:
            made["metadata"]["generation"] = 1
        book = fields.updated([], {}, made, _page(place))
        return self._kept(place, made, book, None, dry)

    def change(self, place: Place, tree: Tree, *, dry: bool = False) -> Tree:
        """The object as it is ``told``. Raises :class:`Refusal` (409) where it is not the version that was meant."""
        live = self.get(place)
        _check_version(place, live, tree.get("metadata") or {})
        made = _given(place, tree)
        _keep_system_fields(made, live)
        managed = (tree.get("metadata") or {}).get("managedFields")
        book = fields.read([] if managed == [{}] else live["metadata"]["managedFields"])
        return self._kept(place, made, fields.updated(book, live, made, _page(place)), live, dry)

    def change_status(self, place: Place, tree: Tree) -> Tree:
        """The object with the status that is ``told``, and nothing else of it."""
        live = self.get(place)
        _check_version(place, live, tree.get("metadata") or {})
        made = {**live, "status": tree.get("status") or {}}
        return self._stored(place, made)

    def apply(self, place: Place, config: Tree, *, force: bool, dry: bool = False) -> Tree:
        """The object with this applied to it, made where there is none."""
        live = self._state.get(place.kind.resource, place.namespace, place.name)
        before = live or {"metadata": {"name": place.name, "managedFields": []}}
        _check_version(place, live, config.get("metadata") or {})
        book = fields.read(before["metadata"]["managedFields"])
        made, book = fields.applied(book, before, config, _page(place), force=force)
        made = _given(place, made)
        if live is None:
            made["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now(), "resourceVersion": "0"}
        else:
            _keep_system_fields(made, live)
        return self._kept(place, made, book, live, dry)

    def delete(self, place: Place, preconditions: Tree) -> Tree | None:
        """Remove it; the object, where its finalizers keep it for now. Raises :class:`Refusal`."""
        live = self.get(place)
        _check_version(place, live, preconditions)
        if not live["metadata"].get("finalizers"):
            self._state.remove(place.kind.resource, place.namespace, place.name)
            return None
        live["metadata"].setdefault("deletionTimestamp", _now())
        live["metadata"]["resourceVersion"] = self._state.next_revision()
        self._state.put(place.kind.resource, place.namespace, place.name, live)
        return live

    def _kept(self, place: Place, made: Tree, book: list[fields.Entry], live: Tree | None, dry: bool) -> Tree:
        _refuse_problems(place, made, live)
        metadata = made["metadata"]
        metadata["managedFields"] = fields.written(book)
        if live is not None and _timeless(made) == _timeless(live):
            return live
        if live is not None and "generation" in metadata and made.get("spec") != live.get("spec"):
            metadata["generation"] += 1
        if dry:
            return made
        if place.kind in WORKLOADS:
            made["status"] = self._controller.status(place.kind.kind, made, live)
        return self._stored(place, made)

    def _stored(self, place: Place, made: Tree) -> Tree:
        metadata = made["metadata"]
        metadata["resourceVersion"] = self._state.next_revision()
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            self._state.remove(place.kind.resource, place.namespace, place.name)
        else:
            self._state.put(place.kind.resource, place.namespace, place.name, made)
        return made


def _named(place: Place, tree: Tree) -> Place:
    metadata = tree.get("metadata") or {}
    name = metadata.get("name") or ""
    if not name and (prefix := metadata.get("generateName")):
        name = f"{prefix}{secrets.token_hex(3)[:5]}"
    if not name:
        raise place.refused(422, f"{place.kind.kind} is invalid: metadata.name: Required value: name or generateName")
    if metadata.get("namespace", place.namespace) != place.namespace:
        raise place.refused(400, "the namespace of the provided object does not match the namespace of the request")
    return Place(place.kind, place.namespace, name, place.manager, place.operation)


def _given(place: Place, tree: Tree) -> Tree:
    """What a request decides of an object."""
    metadata = tree.get("metadata") or {}
    if metadata.get("name", place.name) != place.name:
        raise place.refused(400, "the name of the object does not match the name on the URL")
    for part in ("labels", "annotations"):
        texts = metadata.get(part) or {}
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise place.refused(400, f"json: cannot unmarshal metadata.{part} into a map of strings")
    made = place.kind.decoded(tree)
    parts = {part: copy.deepcopy(metadata[part]) for part in GIVEN if metadata.get(part)}
    head = {"apiVersion": place.kind.api_version, "kind": place.kind.kind}
    return {**made, **head, "metadata": {**parts, "name": place.name, "namespace": place.namespace}}


def _keep_system_fields(made: Tree, live: Tree) -> None:
    for part in ("uid", "creationTimestamp", "deletionTimestamp", "generation", "resourceVersion"):
        if part in live["metadata"]:
            made["metadata"][part] = live["metadata"][part]


def _check_version(place: Place, live: Tree | None, wanted: Tree) -> None:
    """Raises :class:`Refusal` (409) where the uid or the version that was meant is not what is there."""
    uid, version = wanted.get("uid"), wanted.get("resourceVersion")
    there = live["metadata"] if live else {}
    failed = f'Operation cannot be fulfilled on {place.kind.resource} "{place.name}": '
    if uid and uid != there.get("uid"):
        raise place.refused(409, f"{failed}Precondition failed: UID in precondition: {uid}")
    if version and version != there.get("resourceVersion"):
        problem = "the object has been modified; please apply your changes to the latest version and try again"
        raise place.refused(409, failed + problem)


def _refuse_problems(place: Place, made: Tree, live: Tree | None) -> None:
    causes = [*secret_rules.metadata_problems(made["metadata"]), *place.kind.problems(made, live)]
    if causes:
        message = ", ".join(f"{cause.field}: {cause.message}" for cause in causes)
        raise place.refused(422, f'{place.kind.kind} "{place.name}" is invalid: {message}', causes=causes)


def _timeless(tree: Tree) -> Tree:
    """The object without what changes although nothing was changed, and without what only a controller writes."""
    metadata = {**tree["metadata"], "resourceVersion": ""}
    metadata["managedFields"] = sorted(
        ({**entry, "time": ""} for entry in metadata["managedFields"]), key=lambda entry: str(entry)
    )
    return {part: whole for part, whole in tree.items() if part != "status"} | {"metadata": metadata}


def _page(place: Place) -> fields.Entry:
    return fields.Entry(place.manager, place.operation, place.kind.api_version, _now(), frozenset())


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
