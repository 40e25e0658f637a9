"""Static keys that a workload identity can replace, and what speaks for and against ending one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn.catalogue import Catalogue
from keyturn.catalogue.models import Secret
from keyturn.catalogue.recipes import IdentityRecipe
from keyturn.core.errors import KeyturnError
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.record_store import load_record


@dataclass(frozen=True)
class StaticKey:
    """A secret whose kind a workload identity can replace. ``error`` says why the hub's part is unknown."""

    path: str
    kind: str
    identity: str
    routes: tuple[str, ...]
    """The routes that name the secret and have an identity."""
    since: datetime | None = None
    """When the value in force was made; None where there is none."""
    ended_by: str = ""
    """The incident that ended it."""
    error: str = ""

    @property
    def state(self) -> str:
        if self.error:
            return f"unknown: {self.error}"
        if self.ended_by:
            return f"ended by {self.ended_by}"
        if self.since is None:
            return "no value yet"
        return f"being replaced: route {', '.join(self.routes)}" if self.routes else "static"

    @property
    def left(self) -> bool:
        """Whether the key may still work."""
        return bool(self.error) or (not self.ended_by and self.since is not None)


def secret_kind(secret: Secret) -> str:
    """The recipe or, without one, the strategy."""
    return str(secret.rotation.recipe or secret.rotation.strategy)


def replaceable(catalogue: Catalogue, library: Mapping[str, IdentityRecipe]) -> Iterator[StaticKey]:
    """Yield the declared secrets that an identity can replace, without asking the hub."""
    kinds = {kind: name for name, recipe in library.items() for kind in recipe.replaces}
    for path, secret in sorted(catalogue.secrets.items()):
        kind = secret_kind(secret)
        if kind in kinds and not secret.decoy:
            routes = (name for name, route in catalogue.routes.items() if route.identity and route.secret == path)
            yield StaticKey(path, kind, kinds[kind], tuple(sorted(routes)))


def static_keys(workspace: Workspace, library: Mapping[str, IdentityRecipe], only: str = "") -> list[StaticKey]:
    """The secrets that an identity can replace, with their state in the hub, the oldest first; or only one of them."""

    def look(key: StaticKey) -> StaticKey:
        try:
            info, record = workspace.hub.describe(key.path), load_record(workspace, key.path)
            since = info.rotated_at if info and info.served else None
            return StaticKey(key.path, key.kind, key.identity, key.routes, since, record.frozen)
        except KeyturnError as error:
            return StaticKey(key.path, key.kind, key.identity, key.routes, error=error.problem)

    chosen = [key for key in replaceable(workspace.catalogue, library) if only in ("", key.path)]
    keys = side_by_side(look, chosen)
    return sorted(keys, key=lambda key: (key.since is None, key.since and key.since.timestamp(), key.path))


@dataclass(frozen=True)
class UseReport:
    """What is known of a key's use since a moment. ``unknown`` names the sources that can't say."""

    evidence: tuple[str, ...]
    unknown: tuple[str, ...]
    looked: tuple[str, ...]

    def to_data(self) -> dict[str, Any]:
        return {"evidence": self.evidence, "unknown": self.unknown, "looked": self.looked}


def use_at_target(workspace: Workspace, path: str, since: datetime) -> UseReport:
    """What the service says about the use of the value in force."""
    try:
        strategy = workspace.open_strategy(path)
        if not getattr(strategy, "reports_use", False):
            return UseReport((), ("the service does not report when this kind of key was used",), ())
        current = workspace.hub.read(path)
        names = strategy.credential_id(current.fields) if current else {}
        if not names:
            return UseReport((), ("the value in force does not name its key",), ())
        used = strategy.in_use(names, since)
    except KeyturnError as error:
        return UseReport((), (f"the service could not be asked: {error.problem}",), ())
    return UseReport(tuple(used), (), ("the service",))
