"""Opens the hub's ledger with its spool and key, and makes checkpoints."""

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from keyturn.core.errors import Denied, Invalid, NotFound, Unavailable
from keyturn.core.ports.hub import EnginesPort, Hub
from keyturn.ledger.checkpointer import CheckpointInHub, sign_checkpoint
from keyturn.ledger.checkpoints import Checkpoint
from keyturn.ledger.naming import (
    NOWHERE,
    REMEDY,
    SIGNING_KEY,
    LedgerName,
    LedgerPlace,
    NamedLedger,
    claim_name,
    insist_on_named,
    keep_keys,
    keep_place,
    read_name,
)
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.signed_notes import PublicKey
from keyturn.ledger.storage.spool import Lost, Spooled
from keyturn.ledger.succession import succession_entry
from keyturn.ledger.witness.requests import Witnesses
from keyturn.providers.ledger.address import (
    PATIENCE,
    VARIABLE,
    database_of,
    earlier_name,
    first_name,
    given_name,
    is_given,
    ledger_address,
    open_ledger,
    own_ledger,
    recorded_place,
)

SPOOL: Final = "KEYTURN_LEDGER_SPOOL"


HASTE: Final = 0.5
"""Seconds that a revocation waits for a locked or unreachable ledger."""


@dataclass(frozen=True)
class Located:
    """Where this machine reaches the hub's ledger. ``sure``: the hub or a given name confirms it."""

    address: str
    sure: bool = True


def configured_ledger(env: Mapping[str, str], *, patience: float = PATIENCE) -> StoredLedger:
    """The environment's ledger, for reading without a hub, opened on first use.

    Raises Invalid, and Unavailable without its package.
    """
    return open_ledger(ledger_address(env), origin=first_name(env), patience=patience)


def reached_ledger(env: Mapping[str, str], hub: Hub, *, patience: float = PATIENCE) -> StoredLedger:
    """The hub's ledger, for reading, unchecked. Raises Invalid where unreachable, and what the hub raises."""
    name, _ = read_name(hub)
    if name is None:
        insist_on_a_name(env)
        return configured_ledger(env, patience=patience)
    return open_ledger(locate_ledger(name, env).address, origin=name.origin, patience=patience)


def find_ledger(env: Mapping[str, str], hub: Hub, *, patience: float = PATIENCE) -> StoredLedger:
    """The hub's ledger, for writing. The first use names it.

    Raises Invalid for an unreachable or other ledger, and what the hub and the ledger raise.
    """
    name, _ = read_name(hub)
    if name is None:
        insist_on_a_name(env)
        name = claim_name(hub, first_name(env), recorded_place(ledger_address(env)))
    located = locate_ledger(name, env)
    ledger = open_ledger(located.address, origin=name.origin, patience=patience)
    try:
        insist_on_named(hub, ledger, name, placed=located.sure)
    except BaseException:
        ledger.close()
        raise
    return ledger


def insist_on_a_name(env: Mapping[str, str]) -> None:
    """Raise Invalid where neither the hub nor the environment names a ledger."""
    if not is_given(env):
        hint = "Run `keyturn setup hub --apply`, set KEYTURN_LEDGER for each worker, and restart the workers"
        raise Invalid("find", "the ledger", "the hub names none yet, and KEYTURN_LEDGER is not set here", hint)


def locate_ledger(name: LedgerName, env: Mapping[str, str]) -> Located:
    """Where this machine reaches the ledger: KEYTURN_LEDGER, else the hub's record. Raises Invalid."""
    named, place = given_name(env), name.place
    if named and named != name.origin:
        raise Invalid("write to", f"the ledger {named}", f"the hub names {name.origin}", REMEDY)
    if address := env.get(VARIABLE):
        wanted = recorded_place(address)
        insist_on_same_kind(name, wanted)
        return Located(address, bool(named) or place in (NOWHERE, wanted) or (place.shared and wanted.shared))
    if place.shared:
        return Located(place.address)
    own = str(own_ledger())
    if place.host == socket.gethostname() and os.path.exists(place.address):
        return Located(place.address)
    if (named and place.address in ("", own)) or earlier_name(own) == name.origin:
        return Located(own)
    raise _elsewhere(name)


def insist_on_same_kind(name: LedgerName, wanted: LedgerPlace) -> None:
    """Raise Invalid for a file instead of a database, the reverse, and another database."""
    place = name.place
    same = place.shared == wanted.shared
    if place.shared and wanted.shared:
        same = database_of(place.address) == database_of(wanted.address)
    if place == NOWHERE or same:
        return
    raise Invalid("write to", f"the ledger {wanted.words}", f"the hub names {name.origin} {place.words}", REMEDY)


def _elsewhere(name: LedgerName) -> Invalid:
    """The error where this machine or user can't reach the ledger."""
    from keyturn.providers.ledger.sqlite_file import ONE_USER

    problem = f"it is {name.place.words}, and can't be reached from {socket.gethostname()} as this user"
    hint = f"On the workers' host, as their user, set KEYTURN_LEDGER as they have it. {ONE_USER}"
    return Invalid("write to", f"the ledger {name.origin}", problem, hint)


def spool_file(env: Mapping[str, str]) -> Path:
    """The machine's spool: KEYTURN_LEDGER_SPOOL, else next to a SQLite ledger, else in the state directory."""
    if file := env.get(SPOOL):
        return Path(file).expanduser().absolute()
    address = ledger_address(env)
    if "://" in address:
        address = str(own_ledger())
    return Path(f"{address}.spool").expanduser().absolute()


def named_ledger(env: Mapping[str, str], hub: Hub, *, patience: float = PATIENCE) -> NamedLedger:
    """The ledger that the hub names, opened at first use."""
    return NamedLedger(lambda: find_ledger(env, hub, patience=patience))


def spooled_ledger(env: Mapping[str, str], hub: Hub, lost: Lost) -> Spooled:
    """The hub's ledger without waiting: rejected entries go to the hub, else to the spool.

    ``lost`` gets entries that fail everywhere. Raises Invalid.
    """
    return Spooled(named_ledger(env, hub, patience=HASTE), spool_file(env), lost, hub)


def hubless_ledger(env: Mapping[str, str], lost: Lost) -> Spooled | None:
    """The spool alone, without a hub; None unless the environment names a hub, a ledger or a spool."""
    if not any(env.get(name) for name in (VARIABLE, SPOOL, "VAULT_ADDR")):
        return None

    def find() -> StoredLedger:
        raise Unavailable("find", "the ledger", "the hub, which names it, can't be asked")

    return Spooled(NamedLedger(find), spool_file(env), lost)


def environment_witnesses(env: Mapping[str, str]) -> Witnesses:
    """The witnesses that the environment names, if any. Raises Invalid."""
    from keyturn.providers.ledger.ed25519 import verify_ed25519
    from keyturn.providers.ledger.http_witness import WITNESSES, configured_witnesses

    return Witnesses(configured_witnesses(env) if env.get(WITNESSES) else (), verify_ed25519)


def public_key(hub: EnginesPort, origin: str) -> PublicKey:
    """The key that signs this ledger's checkpoints, by the hub. Raises NotFound, Denied."""
    return PublicKey(origin, hub.signer(SIGNING_KEY).public_key())


def make_checkpoint(
    hub: Hub, ledger: StoredLedger, clock: Callable[[], datetime], witnesses: Witnesses | None = None
) -> Checkpoint | None:
    """Sign the ledger's state and store it in the ledger and the hub; None when nothing is new.

    It reads new entries, and once a day all. Raises Invalid for a ledger that the hub does not name, Rewritten for
    changed entries, and what the hub and the ledger raise.
    """
    from keyturn.providers.ledger.ed25519 import verify_ed25519

    name = insist_on_named(hub, ledger)
    hand_over(hub, ledger, name, clock)
    keep_place(hub, keep_keys(hub, name), recorded_place(ledger.address))
    copy, now = CheckpointInHub(hub, ledger.origin), clock()
    whole = copy.look_is_due(now)
    made = sign_checkpoint(
        ledger, hub.signer(SIGNING_KEY), copy, clock, verify_ed25519, thorough=whole, witnesses=witnesses
    )
    if whole:
        copy.looked_through(now)
    return made


def hand_over(hub: Hub, ledger: StoredLedger, name: LedgerName, clock: Callable[[], datetime]) -> None:
    """Record an entry in which the old signing key signs for the engine's new one.

    An old key that may no longer sign (``min_encryption_version``) is skipped. Then verifiers need both keys.
    """
    signer = hub.signer(SIGNING_KEY)
    engine = [PublicKey(ledger.origin, key) for key in signer.public_keys()]
    earlier = [key for key in engine if key in name.keys]
    if not earlier or engine[-1] in name.keys:
        return
    with suppress(Invalid, Denied, NotFound):
        old = signer.earlier(earlier[-1].key)
        ledger.append([succession_entry(old, engine[-1], clock(), hub.identity().words)])
