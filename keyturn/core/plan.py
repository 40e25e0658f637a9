"""What is to be done so that every copy is in step, shown before it is done."""

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
"""What the key that signs plans is derived for: no value that somebody gets fingerprinted passes for a plan."""

SLOT: Final = "#"
"""Stands between the name of others' secret and the hub's, in what tells apart who has keys in one."""


class Action(StrEnum):
    """What a plan says of one copy."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    ADOPT = "adopt"
    IN_SYNC = "in sync"
    DRIFTED = "drifted"
    """Somebody else has changed it. It is written again, unless the catalogue wants that reported alone."""
    CONFLICT = "conflict"
    """Somebody else has it, or two secrets want it: nothing is done."""
    AHEAD = "ahead"
    """A copy or the ledger knows a newer version of the secret than the hub, or the hub was restored and what it holds
    may have been revoked since: nothing of it is written anywhere."""
    BLOCKED = "blocked"
    """It can't be done now, and the reason says why."""
    NOT_COMPARED = "not compared"
    """Its marks do not show whether it is in sync, and the login in use may not read values."""


WRITES: Final = frozenset({Action.CREATE, Action.UPDATE, Action.ADOPT, Action.DRIFTED})
TROUBLE: Final = frozenset({Action.CONFLICT, Action.AHEAD, Action.BLOCKED})


@dataclass(frozen=True, slots=True)
class Item:
    """One copy in a plan, in names only.

    ``version`` is the hub's, 0 where it has none; ``holds`` the hub version that the copy holds by its marks,
    ``found`` the store's own version id, empty where there is no copy. ``fingerprint`` is the one the copy is to
    have, empty where nothing is written. ``hands_off`` says that the catalogue wants nothing done. A deletion is
    not done before ``due``, RFC 3339. ``merged`` says that the copy is single keys in a secret that others own.
    ``beside`` tells what is to stand beside the copy from anything else: twelve hex digits, empty where nothing is
    asked for or written.
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
        """What tells it from other copies in the store: several secrets may have keys in one."""
        return f"{self.name}{SLOT}{self.path}" if self.merged else self.name

    @property
    def label(self) -> str:
        """How it is named to people."""
        return f"{self.store}:{self.name}"

    @property
    def work(self) -> bool:
        """Whether applying the plan does anything to it."""
        return (self.action in WRITES or self.action is Action.DELETE) and not self.hands_off


@dataclass(frozen=True)
class HubListing:
    """What the hub told without values: of which secrets, and the time by its own clock before it was asked."""

    at: datetime
    secrets: Survey


@dataclass(frozen=True)
class Plan:
    """Every copy of the chosen secrets. ``paths`` are the patterns that chose them; none for all of them.

    One that is ``deep`` has asked for each copy by itself, and so has found what listings hide. ``remarks`` are what
    a person should know besides: what could not be compared, and stores that were left with copies in them. ``listing``
    is what it was made of; None for one that comes out of a file.
    """

    made_at: datetime
    paths: tuple[str, ...]
    items: tuple[Item, ...]
    deep: bool = False
    remarks: tuple[str, ...] = ()
    listing: HubListing | None = field(default=None, compare=False, repr=False)
    lost: tuple[str, ...] | None = field(default=None, compare=False, repr=False)
    """The secrets that the hub has lost newer versions of; None where the ledger could not be asked and no copy tells
    of any, and for a plan that comes out of a file.
    """

    @property
    def work(self) -> tuple[Item, ...]:
        """What applying it does."""
        return tuple(item for item in self.items if item.work)

    @property
    def trouble(self) -> tuple[Item, ...]:
        """What a person has to look at."""
        return tuple(item for item in self.items if item.action in TROUBLE)

    def counts(self) -> dict[str, int]:
        """How many copies of each action, those without any left out."""
        return {str(a): n for a in Action if (n := sum(item.action is a for item in self.items))}


def write_plan(plan: Plan, key: Sensitive) -> str:
    """The plan as a file holds it: JSON, with a signature that only this hub's Keyturn can make."""
    chosen = {"paths": plan.paths, "deep": plan.deep, "remarks": plan.remarks}
    body = {"format": FORMAT, "made_at": plan.made_at.isoformat(), **chosen, "items": _rows(plan.items)}
    return json.dumps({"plan": body, "signature": _signature(body, key)}, indent=1) + "\n"


def read_plan(text: str, key: Sensitive, name: str, former: Sequence[Sensitive] = ()) -> Plan:
    """The plan in a file's text. Raises Invalid for one that is broken, or not signed by this hub's Keyturn.

    One that was signed with one of the ``former`` keys is refused too: whoever has got such a key can sign with it.
    """
    hint = "Make it anew with: keyturn plan -o FILE"
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
    """Each item without the fields that say nothing."""
    return [{key: value for key, value in asdict(item).items() if value} for item in items]


def _is_signed(plan: Any, signature: Any, keys: Iterable[Sensitive]) -> bool:
    return any(hmac.compare_digest(str(signature).encode(), _signature(plan, key).encode()) for key in keys)


def _signature(plan: Any, key: Sensitive) -> str:
    body = json.dumps(plan, sort_keys=True, separators=(",", ":"))
    return fingerprint(derived_key(key, PURPOSE), Sensitive(body))


def moved(planned: Sequence[Item], now: Sequence[Item]) -> list[str]:
    """What is no longer as a plan found it, a sentence for each; empty where nothing has moved."""
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
