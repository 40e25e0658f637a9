"""Who has heard of which version, as the hub keeps it: a few entries, each with a part of all secrets.

A run reads the parts that it needs, and writes one only where something has changed in it, by compare-and-set: two
followers and a sync may be at work at once.
"""

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from keyturn.catalogue.models import DEFAULT_ID
from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.notifications.notice_state import Heard
from keyturn.core.ports.hub import SecretInfo, State
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.entries import update_state

NOTICES: Final = "notices"
"""Where it is kept in the hub's state."""

LOOKED: Final = "looked"
"""The entry that tells when all secrets were looked at last."""

PARTS: Final = 16
"""Some 600 secrets in each of 10,000; an entry of the hub holds a megabyte."""

FORMAT: Final = 1

HeardByPath = Mapping[str, Heard]
"""One part: what is kept of each secret, by its path."""


def place_of(workspace: Workspace, name: str) -> str:
    """Where an entry is kept in Keyturn's own mount: each catalogue of a hub has its own, by its id."""
    whose = workspace.catalogue.id
    return f"{NOTICES}/{name}" if whose == DEFAULT_ID else f"{NOTICES}/{whose}/{name}"


def part_of(path: str) -> int:
    """The part that a secret belongs to, always the same one."""
    return zlib.crc32(path.encode()) % PARTS


def by_part(paths: Iterable[str]) -> dict[int, list[str]]:
    """The secrets of each part, in their order."""
    parts: dict[int, list[str]] = defaultdict(list)
    for path in paths:
        parts[part_of(path)].append(path)
    return dict(parts)


def load_part(workspace: Workspace, part: int) -> tuple[dict[str, Heard], int]:
    """What one part keeps, and the version to write the next one over. Raises Invalid for what can't be read."""
    state = workspace.hub.read_state(place_of(workspace, str(part)))
    return (read_part(workspace, part, state), state.version) if state else ({}, 0)


def read_part(workspace: Workspace, part: int, state: State) -> dict[str, Heard]:
    """The entries of one part. Raises Invalid, naming no more of it than its place."""
    place = f"{workspace.hub.state_mount}/{place_of(workspace, str(part))}"
    try:
        if int(state.data.get("format", FORMAT)) > FORMAT:
            problem, hint = f"{place} is of a newer format", "Let the newest Keyturn that works here do it"
            raise Invalid("tell", "consumers", problem, hint)
        return {path: Heard.from_data(heard) for path, heard in json.loads(state.data["heard"]).items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        problem = f"{place}, which tells who has heard of which version, can't be read: somebody else has written there"
        hint = (
            f"Remove it (`vault kv metadata delete {place}`): what was written since the last whole sync is told anew"
        )
        raise Invalid("tell", "consumers", problem, hint) from None


def load_heard(workspace: Workspace, paths: Iterable[str]) -> dict[str, Heard | KeyturnError]:
    """What is kept of these secrets, or why that can't be read; those of whom nothing is are left out."""
    parts = by_part(paths)

    def one(part: int) -> Mapping[str, Heard | KeyturnError]:
        try:
            return load_part(workspace, part)[0]
        except KeyturnError as error:
            return dict.fromkeys(parts[part], error)

    loaded = side_by_side(one, parts)
    return {path: of[path] for part, of in zip(parts, loaded, strict=True) for path in parts[part] if path in of}


def change_part(workspace: Workspace, part: int, change: Callable[[dict[str, Heard]], HeardByPath]) -> HeardByPath:
    """Lay a change over one part, whoever else writes; one that changes nothing writes nothing. What is kept then.

    Raises Contended when others keep writing it.
    """

    def to_data(entries: HeardByPath) -> dict[str, Any]:
        data = json.dumps({path: heard.to_data() for path, heard in sorted(entries.items())}, separators=(",", ":"))
        return {"format": FORMAT, "heard": data}

    place = place_of(workspace, str(part))
    return update_state(
        workspace, place, lambda: load_part(workspace, part), lambda before: change(dict(before)), to_data
    )


def last_look(workspace: Workspace) -> datetime | None:
    """When all secrets were looked at last, by the hub's clock; None where they never were.

    A version made before that, of a secret that nothing is kept of, is none that anybody waits to hear of.
    """
    state = workspace.hub.read_state(place_of(workspace, LOOKED))
    return _look_in(state) if state else None


def _look_in(state: State) -> datetime | None:
    try:
        return datetime.fromisoformat(state.data["at"])
    except (ValueError, TypeError, KeyError):
        return None


def keep_look(workspace: Workspace, at: datetime) -> None:
    """Keep that all secrets were looked at then; a later look that another run has kept stays."""

    def load() -> tuple[datetime | None, int]:
        state = workspace.hub.read_state(place_of(workspace, LOOKED))
        return (_look_in(state), state.version) if state else (None, 0)

    def later(before: datetime | None) -> datetime:
        return max(before or at, at)

    update_state(
        workspace, place_of(workspace, LOOKED), load, later, lambda look: {"at": look.isoformat() if look else ""}
    )


def was_there(info: SecretInfo, looked: datetime | None) -> bool:
    """Whether the newest version was there before anybody looked: then nobody is told of it."""
    return looked is None or info.newest is None or info.newest.created_at < looked
