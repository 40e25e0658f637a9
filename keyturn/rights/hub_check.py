"""Whether the hub's setup is as declared: checked once a day, recorded in the ledger, and stored."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from keyturn.core.errors import Conflict, Invalid
from keyturn.core.ports.hub import StatePort
from keyturn.core.rights.hub_setup import HUB_CHECKS, HubPlan, HubResource, Item, Kind, SetupVerdict
from keyturn.rights.hub_plan import plan_setup
from keyturn.rights.hub_record import read_record
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action

CHECK: Final = "check hub"
LAST: Final = f"{HUB_CHECKS}/last"
SHOWN: Final = 20
"""The number of things that are named; the others are counted."""
LATE: Final = timedelta(hours=50)
"""The age from which a missing check is reported."""


@dataclass(frozen=True)
class HubCheck:
    """The result of a check, in names: what differs and in which fields, and what could not be read.

    ``since`` is when a difference was first seen; None where everything is as declared.
    """

    at: datetime
    in_place: int
    differing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    since: datetime | None = None
    uncompared: tuple[str, ...] = ()
    """Resources whose secrets can't be compared, and that are otherwise as declared."""

    @property
    def sound(self) -> bool:
        return not self.differing and not self.unknown

    @property
    def words(self) -> str:
        parts = [_listed("not as declared", self.differing), _listed("could not be looked at", self.unknown)]
        sound = "" if any(parts) else f"all {self.in_place} as declared"
        return "; ".join(filter(None, (*parts, sound, _listed("secrets that can't be compared", self.uncompared))))

    def to_data(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "in_place": self.in_place,
            "differing": list(self.differing),
            "unknown": list(self.unknown),
            "since": self.since.isoformat() if self.since else None,
            "uncompared": list(self.uncompared),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "HubCheck":
        try:
            since = data["since"]
            return cls(
                datetime.fromisoformat(data["at"]),
                int(data["in_place"]),
                tuple(map(str, data["differing"])),
                tuple(map(str, data["unknown"])),
                datetime.fromisoformat(since) if since else None,
                tuple(map(str, data.get("uncompared", ()))),
            )
        except (KeyError, TypeError, ValueError):
            problem = "it can't be read: something other than Keyturn wrote there"
            raise Invalid("read", f"the hub's entry {LAST}", problem, "Delete it: the next look writes it") from None


def check_hub(workspace: Workspace, wanted: Sequence[HubResource]) -> HubCheck:
    """Check all resources except audit devices, record the result in the ledger, and store it.

    Changes nothing that it checks. Raises an error where the record of Keyturn's resources can't be read.
    """
    with record_action(workspace, CHECK, changes=False) as doing:
        # The options of audit devices may hold credentials: they are for the planner's login, and for no worker.
        visible = [resource for resource in wanted if resource.kind is not Kind.AUDIT_DEVICE]
        plan = plan_setup(workspace.hub.setup(), visible, read_record(workspace.hub))
        check = summarized(plan, workspace.hub_now())
        doing.note = check.words
    return keep_check(workspace.hub, check)


def summarized(plan: HubPlan, at: datetime) -> HubCheck:
    differing = plan.of(*(verdict for verdict in SetupVerdict if verdict not in SOUND))
    in_place = len(plan.of(SetupVerdict.IN_PLACE))
    uncompared = tuple(f"{item.resource.key} ({', '.join(item.uncompared)})" for item in plan.items if item.uncompared)
    return HubCheck(at, in_place, tuple(map(_line, differing)), tuple(map(_line, plan.unknown)), uncompared=uncompared)


SOUND: Final = (SetupVerdict.IN_PLACE, SetupVerdict.UNKNOWN)


def keep_check(hub: StatePort, check: HubCheck) -> HubCheck:
    """Store the check over the last one, with the time since when it is so.

    Of two concurrent checks one is stored, because both saw the same.
    """
    state = hub.read_state(LAST)
    if not check.sound:
        last = _readable(state.data) if state else None
        check = replace(check, since=(last.since if last else None) or check.at)
    with suppress(Conflict):
        hub.write_state(LAST, check.to_data(), cas=state.version if state else 0)
    return check


def last_check(workspace: Workspace) -> HubCheck | None:
    """Return the last check; None where there was none. Raises Denied, Invalid."""
    state = workspace.hub.read_state(LAST)
    return HubCheck.from_data(state.data) if state else None


def insist_on_declared(check: HubCheck) -> None:
    if not check.sound:
        hint = "`keyturn setup hub` shows both values, `keyturn setup hub --apply` sets back what Keyturn has made"
        raise Invalid("check", "the hub's set-up", check.words, hint)


def _readable(data: Mapping[str, Any]) -> HubCheck | None:
    with suppress(Invalid):
        return HubCheck.from_data(data)
    return None


def _line(item: Item) -> str:
    fields = ", ".join(difference.field for difference in item.differences)
    return f"{item.verdict} {item.resource.key}{f' ({fields})' if fields else ''}"


def _listed(what: str, lines: Sequence[str]) -> str:
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"{what}: {', '.join(lines[:SHOWN])}{more}" if lines else ""
