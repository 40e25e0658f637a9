"""Whatever people do, in whatever order, between rotations, syncs and revocations: the invariants hold.

At the end a person does what the messages say, and all is right again; and a revocation ends whatever works by then.
"""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from keyturn.core.schedule.due import Trigger
from keyturn.revocation.incidents.incident import Mode
from tests.crash.kinds import Kind
from tests.crash.site import Site
from tests.faults.operators import Case
from tests.support import sampling

pytestmark = pytest.mark.sampled(37, of="files")


def old_value_back(case: Case) -> None:
    """Somebody writes the first value again, as the newest version."""
    case.put(case.known[0])


def another_field(case: Case) -> None:
    """Somebody adds a field beside the credential."""
    case.put((case.current() or case.known[-1]).merged({"note": f"by hand {len(case.said)}"}))


def on_a_version(act: Callable[[Case], None]) -> Callable[[Case], None]:
    """An act that needs a version in the hub; nothing where somebody has removed all of it."""
    return lambda case: act(case) if (info := case.site.lab.hub.describe(case.path)) and info.versions else None


def change_at_target(case: Case) -> None:
    """A DBA changes the password, where there is a target."""
    if case.kind.refuses:
        case.change_at_target()


ACTS: Final[dict[str, Callable[[Case], object]]] = {
    "delete CURRENT": on_a_version(lambda case: case.delete()),
    "undelete all": lambda case: case.undelete(),
    "destroy CURRENT": on_a_version(lambda case: case.destroy()),
    "destroy the first": on_a_version(lambda case: case.destroy(1)),
    "remove": on_a_version(lambda case: case.remove()),
    "forget the record": lambda case: case.forget_record(),
    "old value back": old_value_back,
    "another field": another_field,
    "change at the target": change_at_target,
    "edit the copy": lambda case: case.edit_copy(),
    "clock an hour ahead": lambda case: case.passes(hours=1),
    "clock back": lambda case: case.passes(hours=-2),
    "a month": lambda case: case.passes(days=31),
    "rotate": lambda case: case.rotate(),
    "rotate by schedule": lambda case: case.rotate(Trigger.SCHEDULE),
    "retire": lambda case: case.retire(),
    "sync": lambda case: case.sync(),
    "revoke": lambda case: case.revoke(),
    "revoke only": lambda case: case.revoke(Mode.REVOKE_ONLY),
    "schedules": lambda case: case.scheduled(),
}

KINDS: Final = ("alternating-users, PostgreSQL", "redis-acl", "generated")


@pytest.mark.parametrize("name", KINDS)
def test_any_doings_leave_nothing_false_and_can_be_mended(site: Site, kinds: dict[str, Kind], name: str) -> None:
    @seed(sampling.seed())
    @settings(
        max_examples=sampling.examples(4, 50),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
    @given(st.lists(st.sampled_from(sorted(ACTS)), min_size=3, max_size=8))
    def history(acts: list[str]) -> None:
        case = Case.of(site, kinds[name])
        for act in acts:
            ACTS[act](case)
        case.mend()
        case.assert_serving()
        if not case.revoke().open:
            case.assert_right()

    history()
