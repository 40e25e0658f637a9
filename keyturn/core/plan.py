"""The plan that brings every copy in sync, shown before it is applied."""

import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from keyturn.core.errors import Invalid
from keyturn.core.fingerprint import derived_key, fingerprint
from keyturn.core.ports.hub import Survey
from keyturn.core.sensitive import Sensitive

FORMAT: Final = 1
PURPOSE: Final = "keyturn plan signing 1"
"""Purpose of the plan-signing key: no fingerprint can pass for a plan."""

SLOT: Final = "#"
"""Separates a shared secret's name and the hub path in :attr:`Item.slot`."""


class Action(StrEnum):
    """The planned action for one copy."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    ADOPT = "adopt"
    IN_SYNC = "in sync"
    DRIFTED = "drifted"
    """Changed by others; written again unless the catalogue only wants a report."""
    CONFLICT = "conflict"
    """Owned by others or wanted by two secrets: nothing is done."""
    AHEAD = "ahead"
    """A copy or the ledger knows a newer version than the hub, or a restored hub's version may be revoked. Nothing of
    the secret is written.
    """
    BLOCKED = "blocked"
    """Impossible now, for the given reason."""
    NOT_COMPARED = "not compared"
    """Its marks show no result, and the login may not read values."""


WRITES: Final = frozenset({Action.CREATE, Action.UPDATE, Action.ADOPT, Action.DRIFTED})
TROUBLE: Final = frozenset({Action.CONFLICT, Action.AHEAD, Action.BLOCKED})


@dataclass(frozen=True, slots=True)
class Item:
    """One copy in a plan, without values.

    ``version`` is the hub's, 0 if none; ``holds`` the one in the copy's marks; ``found`` the store's version id, empty
    without a copy. ``fingerprint`` is the planned one, empty if nothing is written. ``hands_off``: the catalogue wants
    no action. A deletion waits until ``due``, RFC 3339. ``merged``: single keys in others' secret. ``beside``
    identifies the planned details: twelve hex digits or empty.
    """

    action: Action
    path: str
    store: str
    name: str
    version: int = 0
    holds: int = 0
    found: str = ""
    fingerprint: str = ""
    why: str = ""
    kind: str = ""
    hands_off: bool = False
    due: str = ""
    merged: bool = False
    beside: str = ""

    @property
    def slot(self) -> str:
        """Its unique name in the store, where several secrets may share one."""
        return f"{self.name}{SLOT}{self.path}" if self.merged else self.name

    @property
    def label(self) -> str:
        """Its name for people."""
        return f"{self.store}:{self.name}"

    @property
    def work(self) -> bool:
        """Whether applying the plan changes it."""
        return (self.action in WRITES or self.action is Action.DELETE) and not self.hands_off


@dataclass(frozen=True)
class HubListing:
    """What the hub reported, without values, and its time before the query."""

    at: datetime
    secrets: Survey


@dataclass(frozen=True)
class Plan:
    """The plan for all copies of the chosen secrets; empty ``paths`` mean all.

    A ``deep`` plan describes each copy, which finds what listings hide. ``remarks`` are for people: what was not
    compared, and abandoned stores with copies. ``listing`` is the source; None from a file.
    """

    made_at: datetime
    paths: tuple[str, ...]
    items: tuple[Item, ...]
    deep: bool = False
    remarks: tuple[str, ...] = ()
    listing: HubListing | None = field(default=None, compare=False, repr=False)
    lost: tuple[str, ...] | None = field(default=None, compare=False, repr=False)
    """Secrets whose newer versions the hub lost.

    None if the ledger is unavailable and no copy shows any, and from a file.
    """

    @property
    def work(self) -> tuple[Item, ...]:
        """The items that applying it changes."""
        return tuple(item for item in self.items if item.work)

    @property
    def trouble(self) -> tuple[Item, ...]:
        """The items that a person has to look at."""
        return tuple(item for item in self.items if item.action in TROUBLE)

    def counts(self) -> dict[str, int]:
        """The number of copies per action, without zeros."""
        return {str(a): n for a in Action if (n := sum(item.action is a for item in self.items))}


def write_plan(plan: Plan, key: Sensitive) -> str:
    """The plan as JSON with a signature that only this hub's Keyturn can make."""
    chosen = {"paths": plan.paths, "deep": plan.deep, "remarks": plan.remarks}
    body = {"format": FORMAT, "made_at": plan.made_at.isoformat(), **chosen, "items": _rows(plan.items)}
    return json.dumps({"plan": body, "signature": _signature(body, key)}, indent=1) + "\n"


def read_plan(text: str, key: Sensitive, name: str, former: Sequence[Sensitive] = ()) -> Plan:
    """Parse a plan. Raises Invalid if malformed or not signed by this hub's Keyturn.

    Signatures with ``former`` keys are refused, since those may have leaked.
    """
    hint = "Make a new one with: keyturn plan --out FILE"
    try:
        held = json.loads(text)
        body, signature = held["plan"], held["signature"]
        sound, outlived = _is_signed(body, signature, [key]), _is_signed(body, signature, former)
    except (ValueError, KeyError, TypeError):
        raise Invalid("read", name, "it is not a plan", hint) from None
    if outlived:
        raise Invalid("read", name, "it was signed with a key that has been replaced since", hint)
    if not sound:
        raise Invalid("read", name, "its signature is wrong: it was changed, or made with another hub", hint)
    if body["format"] != FORMAT:
        raise Invalid("read", name, f"its format is {body['format']}, this release writes {FORMAT}", hint)
    items = tuple(Item(**{**row, "action": Action(row["action"])}) for row in body["items"])
    remarks = tuple(body.get("remarks", ()))
    return Plan(datetime.fromisoformat(body["made_at"]), tuple(body["paths"]), items, body["deep"], remarks)


def _rows(items: Sequence[Item]) -> list[dict[str, Any]]:
    """Return each item without empty fields."""
    return [{key: value for key, value in asdict(item).items() if value} for item in items]


def _is_signed(plan: Any, signature: Any, keys: Iterable[Sensitive]) -> bool:
    return any(hmac.compare_digest(str(signature).encode(), _signature(plan, key).encode()) for key in keys)


def _signature(plan: Any, key: Sensitive) -> str:
    body = json.dumps(plan, sort_keys=True, separators=(",", ":"))
    return fingerprint(derived_key(key, PURPOSE), Sensitive(body))


def moved(planned: Sequence[Item], now: Sequence[Item]) -> list[str]:
    """A sentence for each change since the plan was made."""
    stands = {(item.store, item.slot): item for item in now}
    differences = []
    for item in planned:
        other = stands.get((item.store, item.slot))
        if other is None:
            differences.append(f"{item.label} is no longer part of the plan")
        elif _stands(item) != _stands(other):
            differences.append(
                f"{item.label} was to {item.action} (version {item.version}), now {other.action} ({other.version})"
            )
    return differences


def _stands(item: Item) -> tuple[object, ...]:
    return item.action, item.version, item.found, item.fingerprint, item.beside
