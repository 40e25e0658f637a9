"""Offboardings as the hub stores them: the newest of each project."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from keyturn.core.errors import Invalid, NotFound
from keyturn.revocation.incidents.store import OFFBOARDINGS
from keyturn.rotation.signers import canonical
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.entries import update_state


@dataclass(frozen=True)
class Offboarding:
    """One end of a project.

    ``shared`` are those of ``paths`` that others use too. ``removed`` names objects of the hub. Keyturn does not end
    what ``remains``. ``finished_at`` is empty until all was tried.
    """

    project: str
    incident: str
    reason: str
    paths: tuple[str, ...]
    shared: tuple[str, ...]
    catalogue: str
    actor: str
    begun_at: str
    requests: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    remains: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    finished_at: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, in hexadecimal digits."""
        return hashlib.sha256(canonical(asdict(self))).hexdigest()

    @property
    def note(self) -> str:
        """The note of its last entry in the ledger."""
        return f"{self.incident}: project {self.project}, digest {self.digest}"

    @staticmethod
    def from_data(data: dict[str, Any]) -> "Offboarding":
        """The reverse of ``asdict``. Raises TypeError for malformed data."""
        lists = ("paths", "shared", "requests", "removed", "remains", "unproven")
        texts = {name: tuple(map(str, value)) if name in lists else str(value) for name, value in data.items()}
        return Offboarding(**texts)  # type: ignore[arg-type]  # each by its name


def find_offboarding(workspace: Workspace, project: str) -> Offboarding | None:
    """A project's newest offboarding, or None. Raises Invalid for a malformed entry."""
    return _read(workspace, project)[0]


def claim_project(workspace: Workspace, wanted: Offboarding, before: Offboarding | None) -> Offboarding:
    """Replace ``before``, and return the stored one: another process may be faster."""
    place = _place(wanted.project)

    def change(current: Offboarding | None) -> Offboarding | None:
        return wanted if current == before else current

    def to_data(current: Offboarding | None) -> dict[str, str]:
        return _data(current or wanted)

    return update_state(workspace, place, lambda: _read(workspace, wanted.project), change, to_data) or wanted


def update_offboarding(
    workspace: Workspace, begun: Offboarding, change: Callable[[Offboarding], Offboarding]
) -> Offboarding:
    """Apply a change, also during other writes; a newer offboarding stays unchanged."""

    def load() -> tuple[Offboarding, int]:
        current, version = _read(workspace, begun.project)
        if current is None:
            hint = "Run the same again: it starts over"
            raise NotFound("find", f"project {begun.project}", "the record of its end was removed from the hub", hint)
        return current, version

    def changed(current: Offboarding) -> Offboarding:
        return change(current) if current.incident == begun.incident else current

    return update_state(workspace, _place(begun.project), load, changed, _data)


def _data(offboarding: Offboarding) -> dict[str, str]:
    return {"offboarding": json.dumps(asdict(offboarding))}


def _place(project: str) -> str:
    return f"{OFFBOARDINGS}/{project}"


def _read(workspace: Workspace, project: str) -> tuple[Offboarding | None, int]:
    place = _place(project)
    state = workspace.hub.read_state(place)
    if state is None:
        return None, 0
    try:
        offboarding = Offboarding.from_data(json.loads(state.data["offboarding"]))
        if offboarding.project != project:
            raise ValueError("project")
    except (ValueError, TypeError, KeyError, AttributeError):
        hint = "Restore it from a backup of the hub, or remove it with its metadata: then the project ends again"
        raise Invalid("read", place, f"the entry {place} of Keyturn's state is malformed", hint) from None
    return offboarding, state.version
