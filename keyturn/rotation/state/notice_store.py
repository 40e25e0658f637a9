"""Which consumers know which version, in a few hub entries, each with a part of all secrets.

Changed parts are written by compare-and-set, because followers and a sync may run at once.
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
"""Its path in the hub's state."""

LOOKED: Final = "looked"
"""The entry with the time of the last check of all secrets."""

PARTS: Final = 16
"""For 10,000 secrets, about 600 each; a hub entry holds a megabyte."""

FORMAT: Final = 1

HeardByPath = Mapping[str, Heard]
"""One part: the entry of each secret, by its path."""


def place_of(workspace: Workspace, name: str) -> str:
    """An entry's path in Keyturn's mount, separate for each catalogue id."""
    whose = workspace.catalogue.id
    return f"{NOTICES}/{name}" if whose == DEFAULT_ID else f"{NOTICES}/{whose}/{name}"


def part_of(path: str) -> int:
    """The part of a secret, always the same one."""
    return zlib.crc32(path.encode()) % PARTS


def by_part(paths: Iterable[str]) -> dict[int, list[str]]:
    """The secrets of each part, in order."""
    parts: dict[int, list[str]] = defaultdict(list)
    for path in paths:
        parts[part_of(path)].append(path)
    return dict(parts)


def load_part(workspace: Workspace, part: int) -> tuple[dict[str, Heard], int]:
    """One part's entries, and the version to write the next one over. Raises Invalid for unreadable data."""
    state = workspace.hub.read_state(place_of(workspace, str(part)))
    return (read_part(workspace, part, state), state.version) if state else ({}, 0)


def read_part(workspace: Workspace, part: int, state: State) -> dict[str, Heard]:
    """One part's entries. Raises Invalid, naming only its place."""
    place = f"{workspace.hub.state_mount}/{place_of(workspace, str(part))}"
    try:
        if int(state.data.get("format", FORMAT)) > FORMAT:
            problem, hint = f"{place} is of a newer format", "Let the newest Keyturn that works here do it"
            raise Invalid("tell", "consumers", problem, hint)
        return {path: Heard.from_data(heard) for path, heard in json.loads(state.data["heard"]).items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        problem = f"the record of notices {place} can't be read: something other than Keyturn wrote there"
        hint = f"Remove it (`vault kv metadata delete {place}`): changes since the last full sync are notified again"
        raise Invalid("tell", "consumers", problem, hint) from None


def load_heard(workspace: Workspace, paths: Iterable[str]) -> dict[str, Heard | KeyturnError]:
    """The entries of these secrets, or why they can't be read; secrets without one are left out."""
    parts = by_part(paths)

    def one(part: int) -> Mapping[str, Heard | KeyturnError]:
        try:
            return load_part(workspace, part)[0]
        except KeyturnError as error:
            return dict.fromkeys(parts[part], error)

    loaded = side_by_side(one, parts)
    return {path: of[path] for part, of in zip(parts, loaded, strict=True) for path in parts[part] if path in of}


def change_part(workspace: Workspace, part: int, change: Callable[[dict[str, Heard]], HeardByPath]) -> HeardByPath:
    """Apply a change to one part by compare-and-set with retries and return the part.

    Writes only changes. Raises Contended when others keep writing it.
    """

    def to_data(entries: HeardByPath) -> dict[str, Any]:
        data = json.dumps({path: heard.to_data() for path, heard in sorted(entries.items())}, separators=(",", ":"))
        return {"format": FORMAT, "heard": data}

    place = place_of(workspace, str(part))
    return update_state(
        workspace, place, lambda: load_part(workspace, part), lambda before: change(dict(before)), to_data
    )


def last_look(workspace: Workspace) -> datetime | None:
    """When all secrets were last checked, by the hub's clock; None for never.

    No consumer waits for an older version of a secret without an entry.
    """
    state = workspace.hub.read_state(place_of(workspace, LOOKED))
    return _look_in(state) if state else None


def _look_in(state: State) -> datetime | None:
    try:
        return datetime.fromisoformat(state.data["at"])
    except (ValueError, TypeError, KeyError):
        return None


def keep_look(workspace: Workspace, at: datetime) -> None:
    """Save when all secrets were checked; a later time from another run stays."""

    def load() -> tuple[datetime | None, int]:
        state = workspace.hub.read_state(place_of(workspace, LOOKED))
        return (_look_in(state), state.version) if state else (None, 0)

    def later(before: datetime | None) -> datetime:
        return max(before or at, at)

    update_state(
        workspace, place_of(workspace, LOOKED), load, later, lambda look: {"at": look.isoformat() if look else ""}
    )


def was_there(info: SecretInfo, looked: datetime | None) -> bool:
    """Whether the newest version predates the first check, so that no consumer is notified of it."""
    return looked is None or info.newest is None or info.newest.created_at < looked
