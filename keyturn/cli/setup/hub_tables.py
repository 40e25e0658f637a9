"""A plan of the hub's own configuration, as a table and as JSON."""

import difflib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from keyturn.core.rights.hub_setup import Difference, HubPlan, Item

COLUMNS: Final = ("", "in the hub", "what")
IN_PLACE: Final = "in place"
"""As in :class:`keyturn.core.rights.hub_setup.SetupVerdict`, which is not imported for the help."""
POLICY: Final = "policy"
UNCOMPARED: Final = "the hub never returns it, so it can't be compared; --write-secrets writes it again"


def is_told(item: "Item") -> bool:
    return item.verdict != IN_PLACE or bool(item.uncompared)


def item_rows(planned: "HubPlan", everything: bool) -> Iterator[tuple[str, str, str]]:
    for item in planned.items:
        if everything or is_told(item):
            lines = [item.why] if item.why else []
            lines += [f"{name}: {UNCOMPARED}" for name in item.uncompared]
            lines += [line for each in item.differences for line in difference_lines(each)]
            yield str(item.verdict), item.resource.key, "\n".join(lines)


def difference_lines(difference: "Difference") -> Iterator[str]:
    if difference.field == POLICY:
        before, after = (str(text or "").splitlines() for text in (difference.present, difference.wanted))
        changes = difflib.unified_diff(before, after, "in the hub", "wanted", n=1, lineterm="")
        yield from (line for line in changes if not line[1:].lstrip().startswith("#"))
        return
    yield f"{difference.field}: is {_value(difference.present)}, shall be {_value(difference.wanted)}"


def _value(value: Any) -> str:
    return "absent" if value is None else json.dumps(value, default=str)


def plan_data(planned: "HubPlan", everything: bool) -> dict[str, Any]:
    shown = [item for item in planned.items if everything or is_told(item)]
    return {
        "items": [_item_data(item) for item in shown],
        "differs": planned.differs,
        "unknown": len(planned.unknown),
        "in_place": sum(item.verdict == IN_PLACE for item in planned.items),
        "uncompared": sum(bool(item.uncompared) for item in planned.items),
    }


def _item_data(item: "Item") -> dict[str, Any]:
    return {
        "name": item.resource.key,
        "verdict": str(item.verdict),
        "why": item.why,
        "differences": [vars(difference) for difference in item.differences],
        "uncompared": list(item.uncompared),
    }


def summarize(planned: "HubPlan") -> str:
    counts = dict[str, int]()
    for item in planned.items:
        counts[str(item.verdict)] = counts.get(str(item.verdict), 0) + 1
    return f"in the hub: {', '.join(f'{count} {verdict}' for verdict, count in counts.items()) or 'nothing is needed'}"
