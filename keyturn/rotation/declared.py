"""The catalogue's declaration of a secret compared with the hub: its fields, and its last rotation."""

from collections.abc import Collection, Sequence
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.hub import HubSecret
from keyturn.core.rotation_record import IN_FORCE, Record, Rotation, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.secret_fields import secret_fields
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.owners import claimed

AT_ONCE: Final = 16
NO_STORE: Final = "the secret had a copy there at its last rotation, and the catalogue lacks the store"


def missing_fields(workspace: Workspace, path: str, serving: SecretFields) -> tuple[str, ...]:
    """The declared fields that a version lacks, where another of its fields may be the secret instead.

    A version with only addresses is normal before the first rotation, which adds the credential.
    """
    declared = workspace.secret(path).rotation.declared_fields
    missing = declared - {name for name, _ in serving.items()}
    others = secret_fields(workspace, HubSecret(path, 0, serving)).keys() - declared if missing else ()
    return tuple(sorted(missing)) if others else ()


def describe_missing_fields(missing: Collection[str], serving: SecretFields) -> str:
    """The difference in words."""
    has = ", ".join(sorted(name for name, _ in serving.items()))
    several = "s" if len(missing) > 1 else ""
    return f"the catalogue declares the field{several} {', '.join(missing)}, and the secret in the hub has {has}"


def find_missing_fields(
    workspace: Workspace, paths: Sequence[str], unread: dict[str, str] | None = None
) -> dict[str, str]:
    """The secrets that lack a declared field, each with the difference in words.

    An unreadable secret is left out. ``unread``, if given, receives it with the reason.
    """

    def look(path: str) -> str:
        try:
            current = workspace.hub.read(path)
        except KeyturnError as error:
            if unread is not None:
                unread[path] = str(error)
            return ""
        missing = missing_fields(workspace, path, current.fields) if current else ()
        return describe_missing_fields(missing, current.fields) if current and missing else ""

    declaring = [path for path in paths if workspace.secret(path).rotation.declared_fields]
    lines = side_by_side(look, declaring, AT_ONCE)
    return {path: words for path, words in zip(declaring, lines, strict=True) if words}


def known_stores(workspace: Workspace, path: str) -> dict[str, str]:
    """The stores with declared copies of a secret, each with the unique name of its system."""
    names = dict.fromkeys(place.store for place in workspace.catalogue.destinations(path))
    return {name: describe_system(workspace, name) for name in names}


def describe_system(workspace: Workspace, store: str) -> str:
    """The unique name of a store's system; empty for an undeclared store."""
    return " ".join(map(str, workspace.catalogue.store(store).system)) if store in workspace.catalogue.stores else ""


def last_rotation(record: Record, before: int = 0) -> Rotation | None:
    """The newest rotation that promoted a version, among numbers below ``before``; 0 for all."""
    past = [*record.history, *([record.rotation] if record.rotation else [])]
    over = [each for each in past if each.version and each.stage in (*IN_FORCE, Stage.RETIRED, Stage.CUT)]
    return next((each for each in reversed(over) if not before or each.sequence < before), None)


def describe_contradiction(workspace: Workspace, path: str, last: Rotation | None) -> str:
    """How the strategy, target or account differs from the last rotation's; empty where it doesn't."""
    if last is None:
        return ""
    strategy, target = workspace.secret(path).rotation.strategy, workspace.target(path)
    account, named = last.ends.get("username", ""), claimed(workspace, path)
    before = after = ""
    if last.strategy != strategy:
        before, after = f"by {last.strategy}{f' at {last.target}' if last.target else ''}", strategy
    elif last.target and last.target != target:
        before, after = f"at {last.target}", target or "no target"
    elif account and named and account not in named:
        before, after = f"of the account {account}", ", ".join(sorted(named))
    return f"its last rotation was {before}, and the catalogue declares {after}" if before else ""


def contradicting_stores(workspace: Workspace, last: Rotation | None) -> dict[str, str]:
    """The last rotation's stores that the catalogue lacks or declares differently, with why."""
    stores = last.stores if last else {}
    systems = {name: (system, describe_system(workspace, name)) for name, system in stores.items()}
    return {
        name: f"it was {before} at the last rotation, and is {now} in the catalogue" if now else NO_STORE
        for name, (before, now) in systems.items()
        if before != now
    }
