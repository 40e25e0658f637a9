"""The API server as one function from request to answer."""

import base64
import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from local.emulators.kubernetes import fields, patches, self_review, token_review
from local.emulators.kubernetes.access import Account, Asked, allow, signed_in
from local.emulators.kubernetes.controller import Controller
from local.emulators.kubernetes.messages import Answer, Refusal, Request
from local.emulators.kubernetes.objects import ACCESS, SECRETS, WORKLOADS, Kind, Objects, Place
from local.emulators.kubernetes.selectors import chosen
from local.emulators.kubernetes.state import State
from local.emulators.rights import Rights

Tree = dict[str, Any]

KINDS: Final = {(kind.group, kind.resource): kind for kind in (SECRETS, *WORKLOADS, *ACCESS)}
VERBS: Final = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
WINDOW: Final = 10.0
"""Seconds over which calls are counted."""


class Emulator:
    """Some namespaces of a cluster, kept under ``data``, for these accounts.

    ``requests_per_10s`` is how many calls are answered before 429; ``clock`` counts seconds. A listing that goes on
    shows what is there when it goes on, where the API server shows what was there when it began. ``controller`` tells
    how far the workloads are. With ``tells_no_rules``, another authorizer than RBAC says who may do what, as with a
    cloud's own: then nobody is told all rules at once. ``rights`` are those of logins that may not do everything.
    """

    def __init__(
        self,
        data: Path,
        accounts: Iterable[Account],
        *,
        namespaces: Iterable[str] = ("default",),
        requests_per_10s: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = State(data)
        self.controller = Controller()
        self._objects = Objects(self._state, self.controller)
        self._accounts = tuple(accounts)
        self._namespaces = frozenset(namespaces)
        self._most = requests_per_10s
        self._clock = clock
        self.tells_no_rules = False
        self.rights: tuple[Rights, ...] = ()
        self._recent: deque[float] = deque()

    def close(self) -> None:
        """Let go of the data; the emulator can't be used afterwards."""
        self._state.close()

    def admit(self, account: Account) -> None:
        """Another account from now on, or other rules and another token for one that is there."""
        self._accounts = (*(there for there in self._accounts if there.user != account.user), account)

    def answer(self, request: Request) -> Answer:
        """The answer to any call; refusals are answers too."""
        try:
            for rights in self.rights:
                rights.refresh()
            account = signed_in(self._accounts, request)
            if request.parts in (token_review.PATH, self_review.ACCESS, self_review.RULES):
                return self._review(account, request)
            kind, namespace, name, part = _address(request)
            _check_method(request, name)
            verb = "list" if request.method == "GET" and not name else VERBS[request.method]
            resource = kind.resource + (f"/{part}" if part else "")
            allow(account, Asked(verb, kind.group, resource, namespace, name or _selected(request)))
            with self._state.transaction():
                self._admit()
                if part:
                    return self._status(request, Place(kind, namespace, name, _manager(request)))
                return self._served(request, kind, namespace, name)
        except Refusal as refusal:
            return refusal.answer

    def _review(self, account: Account, request: Request) -> Answer:
        if request.method != "POST":
            raise Refusal(405, "the server does not allow this method on the requested resource")
        if request.parts == self_review.ACCESS:
            return Answer(self_review.access_review(account, request.document()), 201)
        if request.parts == self_review.RULES:
            answer = self_review.rules_review(account, request.document(), incomplete=self.tells_no_rules)
            return Answer(answer, 201)
        allow(account, Asked("create", token_review.GROUP, "tokenreviews", ""))
        return Answer(token_review.review(self._accounts, request.document(), time.time()), 201)

    def _admit(self) -> None:
        now = self._clock()
        while self._recent and now - self._recent[0] > WINDOW:
            self._recent.popleft()
        if self._most is not None and len(self._recent) >= self._most:
            raise Refusal(429, "too many requests, please try again later", headers={"Retry-After": "1"})
        self._recent.append(now)

    def _served(self, request: Request, kind: Kind, namespace: str, name: str) -> Answer:
        if request.method == "GET" and not name:
            return self._list(request, kind, namespace)
        place = Place(kind, namespace, name, _manager(request))
        if request.method == "GET":
            return _one(request, self._objects.get(place))
        if request.method == "DELETE":
            return self._delete(request, place)
        if request.method == "PATCH":
            return self._patch(request, place)
        dry = request.query.get("dryRun") == "All"
        if request.method == "POST":
            self._check_namespace(namespace)
            return _one(request, self._objects.create(place, _document(request, kind), dry=dry), 201)
        return _one(request, self._objects.change(place, _document(request, kind), dry=dry))

    def _status(self, request: Request, place: Place) -> Answer:
        """The subresource that controllers write."""
        if request.method == "DELETE":
            raise Refusal(405, "the server does not allow this method on the requested resource")
        live, tree = self._objects.get(place), request.document()
        if request.method == "GET":
            return _one(request, live)
        made = patches.merged(live, tree) if request.method == "PATCH" else tree
        return _one(request, self._objects.change_status(place, made))

    def _patch(self, request: Request, place: Place) -> Answer:
        how = request.headers.get("content-type", "").partition(";")[0]
        if how not in (patches.MERGE, patches.STRATEGIC, patches.APPLY):
            raise place.refused(415, f"the body of the request was in an unknown format - {how}")
        patch, dry = request.document(), request.query.get("dryRun") == "All"
        if how == patches.APPLY:
            return self._apply(request, place, patch, dry)
        if "force" in request.query:
            raise place.refused(422, "PatchOptions.meta.k8s.io is invalid: force: Forbidden: only for apply")
        live = self._objects.get(place)
        made = (patches.merged if how == patches.MERGE else patches.strategic)(live, patch)
        if (made.get("metadata") or {}).get("managedFields") == live["metadata"]["managedFields"]:
            made["metadata"].pop("managedFields")
        return _one(request, self._objects.change(place, made, dry=dry))

    def _apply(self, request: Request, place: Place, tree: Tree, dry: bool) -> Answer:
        if "fieldManager" not in request.query:
            raise place.refused(400, "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value")
        if (tree.get("apiVersion"), tree.get("kind")) != (place.kind.api_version, place.kind.kind):
            raise place.refused(400, "apiVersion and kind must be set as the URL has them")
        if (tree.get("metadata") or {}).get("managedFields"):
            raise place.refused(400, "metadata.managedFields must be nil")
        self._check_namespace(place.namespace)
        applier = Place(place.kind, place.namespace, place.name, place.manager, fields.APPLY)
        force = request.query.get("force") == "true"
        return _one(request, self._objects.apply(applier, tree, force=force, dry=dry))

    def _delete(self, request: Request, place: Place) -> Answer:
        left = self._objects.delete(place, request.document().get("preconditions") or {})
        if left is not None:
            return _one(request, left)
        details = {"name": place.name, "kind": place.kind.resource}
        return Answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    def _list(self, request: Request, kind: Kind, namespace: str) -> Answer:
        labels, by_fields = request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
        there = self._state.after(kind.resource, namespace, _start(request))
        items = [tree for tree in there if chosen(tree, labels, by_fields, kind.kind)]
        limit = int(request.query.get("limit") or 0)
        metadata = {"resourceVersion": str(self._state.revision())}
        if limit and len(items) > limit:
            metadata["continue"] = _token(items[limit]["metadata"]["name"])
            items = items[:limit]
        if _wanted(request, "PartialObjectMetadataList"):
            partial = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
            return Answer({**partial, "items": [_partial(tree) for tree in items]})
        head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata}
        bare = [{key: part for key, part in tree.items() if key not in ("kind", "apiVersion")} for tree in items]
        return Answer({**head, "items": bare})

    def _check_namespace(self, namespace: str) -> None:
        if namespace not in self._namespaces:
            raise Refusal(404, f'namespaces "{namespace}" not found', name=namespace, kind="namespaces")


def _address(request: Request) -> tuple[Kind, str, str, str]:
    """The kind, the namespace, the name and its part in the path; no name where it is the collection."""
    match request.parts:
        case ("api", "v1", "namespaces", namespace, resource, *rest):
            kind = KINDS.get(("", resource))
        case ("apis", group, "v1", "namespaces", namespace, resource, *rest):
            kind = KINDS.get((group, resource))
        case _:
            kind, namespace, rest = None, "", []
    name, *parts = rest or [""]
    if kind is None or parts not in ([], ["status"] if kind in WORKLOADS else []):
        raise Refusal(404, "the server could not find the requested resource")
    return kind, namespace, name, "".join(parts)


def _selected(request: Request) -> str:
    """The one object that a listing is about, which is allowed as that object is."""
    selector = request.query.get("fieldSelector", "") if request.method == "GET" else ""
    field, _, name = selector.partition("=")
    return name.removeprefix("=") if field == "metadata.name" and "," not in name else ""


def _check_method(request: Request, name: str) -> None:
    if request.method not in (("GET", "PUT", "PATCH", "DELETE") if name else ("GET", "POST")):
        raise Refusal(405, "the server does not allow this method on the requested resource")


def _document(request: Request, kind: Kind) -> Tree:
    document = request.document()
    if document.get("kind", kind.kind) != kind.kind or document.get("apiVersion", kind.api_version) != kind.api_version:
        raise Refusal(400, f"the object provided is unrecognized: it is no {kind.kind} of {kind.api_version}")
    return document


def _manager(request: Request) -> str:
    """Who writes, in the book of fields: as told, else the first word of the client's own name."""
    manager = request.query.get("fieldManager") or request.headers.get("user-agent", "").partition("/")[0] or "unknown"
    if len(manager) > 128 or not manager.isprintable():
        raise Refusal(422, "fieldManager: Invalid value: must be at most 128 printable characters")
    return manager


def _one(request: Request, tree: Tree, status: int = 200) -> Answer:
    return Answer(_partial(tree) if _wanted(request, "PartialObjectMetadata") else tree, status)


def _wanted(request: Request, form: str) -> bool:
    """Whether the client asks for this form before it asks for plain JSON. Raises :class:`Refusal` (406)."""
    accepted = [kind.strip() for kind in request.headers.get("accept", "*/*").split(",")]
    for kind in accepted:
        media, *parameters = [part.strip() for part in kind.split(";")]
        wanted = dict(part.split("=", 1) for part in parameters if "=" in part)
        if media in ("application/json", "application/*", "*/*") and wanted.get("as", form) == form:
            return wanted.get("as") == form
    raise Refusal(406, "only the following media types are accepted: application/json")


def _partial(tree: Tree) -> Tree:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": tree["metadata"]}


def _token(start: str) -> str:
    return base64.urlsafe_b64encode(json.dumps({"v": "meta.k8s.io/v1", "start": start}).encode()).decode()


def _start(request: Request) -> str:
    token = request.query.get("continue")
    if not token:
        return ""
    try:
        return str(json.loads(base64.urlsafe_b64decode(token))["start"])
    except (ValueError, KeyError, TypeError):
        raise Refusal(400, "continue key is not valid") from None
