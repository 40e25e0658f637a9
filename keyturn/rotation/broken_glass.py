"""What was done without the second person whom it needs: recorded and told first, and looked at by another since."""

import json
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Final

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound
from keyturn.core.hub import Identity
from keyturn.rotation.context import Workspace
from keyturn.rotation.deeds import Deed, insist_on_name
from keyturn.rotation.entries import update_state
from keyturn.rotation.journal import record_action, remark_of_process
from keyturn.rotation.limits import speak_up

BROKEN: Final = "break-glass"


@dataclass(frozen=True)
class BrokenGlass:
    """Something that was done without the second person whom it needs, and whether somebody has looked at it since."""

    id: str
    at: str
    action: str
    words: str
    reason: str
    actor: str
    entity: str
    remark: str
    reviewed_by: str = ""
    reviewed_at: str = ""
    verdict: str = ""
    review_by: str = ""
    """By when somebody has to have looked at it; empty where nobody says."""


def break_glass(workspace: Workspace, deed: Deed, reason: str) -> None:
    """Go on without a second person: that is recorded and told first, and waits for a review."""
    now = workspace.hub_now()
    identity = Identity("", "", "", "")
    with suppress(KeyturnError):
        identity = workspace.hub.identity()
    name = f"BG-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    broken = BrokenGlass(
        name, now.isoformat(), deed.action, deed.words, reason, identity.words, identity.entity_id, remark_of_process()
    )
    workspace.hub.write_state(f"{BROKEN}/{name}", {"glass": json.dumps(asdict(broken))}, cas=0)
    speak_up(workspace, "break glass", f"{name}: {deed.action} {deed.words}; {reason}")


def list_broken(workspace: Workspace) -> list[BrokenGlass]:
    """Every time the glass was broken, the oldest first. Raises Invalid for a malformed entry."""
    return [read_broken(workspace, place.rpartition("/")[2])[0] for place in sorted(workspace.hub.list_state(BROKEN))]


def list_unreviewed(workspace: Workspace) -> list[BrokenGlass]:
    """Those that nobody has looked at since."""
    return [broken for broken in list_broken(workspace) if not broken.reviewed_by]


def review_broken(workspace: Workspace, name: str, verdict: str) -> BrokenGlass:
    """Write down that another person has looked at it. Raises Denied for who has done it themselves."""
    identity = workspace.hub.identity()
    broken, _ = read_broken(workspace, name)
    if not identity.entity_id or identity.entity_id == broken.entity:
        problem = "you have broken it yourself" if identity.entity_id else "the hub knows no entity for this login"
        raise Denied("review", name, problem, "Somebody else has to look at it, with a login of their own")
    if not verdict.strip():
        raise Invalid("review", name, "nothing is said", "Say with --verdict what you have seen")
    reviewed = replace(
        broken,
        reviewed_by=identity.words,
        reviewed_at=workspace.hub_now().isoformat(),
        verdict=verdict.strip(),
    )

    def load() -> tuple[BrokenGlass, int]:
        return read_broken(workspace, name)

    def change(current: BrokenGlass) -> BrokenGlass:
        return current if current.reviewed_by else reviewed

    def to_data(current: BrokenGlass) -> dict[str, str]:
        return {"glass": json.dumps(asdict(current))}

    with record_action(workspace, "review", note=f"{name}: {verdict.strip()}"):
        return update_state(workspace, f"{BROKEN}/{name}", load, change, to_data)


def read_broken(workspace: Workspace, name: str) -> tuple[BrokenGlass, int]:
    """One of them, and its version. Raises NotFound, and Invalid for a malformed entry."""
    insist_on_name(name, "BG-")
    place = f"{BROKEN}/{name}"
    state = workspace.hub.read_state(place)
    if state is None:
        raise NotFound("find", name, "the glass was not broken under that name", "See `keyturn incidents`")
    try:
        return BrokenGlass(**json.loads(state.data["glass"])), state.version
    except (ValueError, TypeError, KeyError, AttributeError):
        problem = f"the entry {place} of Keyturn's state is malformed"
        raise Invalid("read", name, problem, "The ledger's entry `break glass` tells what was done") from None
