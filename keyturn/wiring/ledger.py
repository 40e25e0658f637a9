"""Keeping the ledger that the hub names: finding it, its spool, its key, and making checkpoints of it."""

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from keyturn.core.errors import Denied, Invalid, NotFound
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
"""Seconds that a revocation waits for a ledger that others hold, or whose server is gone."""


@dataclass(frozen=True)
class Located:
    """Where this machine reaches the ledger that the hub names. ``sure``: the hub, or a given name, says it is that."""

    address: str
    sure: bool = True


def configured_ledger(env: Mapping[str, str], *, patience: float = PATIENCE) -> StoredLedger:
    """The ledger that the environment alone says, for what reads without a hub; nothing is touched yet.

    Raises Invalid, and Unavailable where the package is missing that opens it.
    """
    return open_ledger(ledger_address(env), origin=first_name(env), patience=patience)


def reached_ledger(env: Mapping[str, str], hub: Hub, *, patience: float = PATIENCE) -> StoredLedger:
    """The ledger that the hub names, to be read: nobody has looked yet whether it is that one.

    Raises Invalid where this machine can't reach it, and what the hub raises.
    """
    name, _ = read_name(hub)
    if name is None:
        insist_on_a_name(env)
        return configured_ledger(env, patience=patience)
    return open_ledger(locate_ledger(name, env).address, origin=name.origin, patience=patience)


def find_ledger(env: Mapping[str, str], hub: Hub, *, patience: float = PATIENCE) -> StoredLedger:
    """The ledger that the hub names, to be written; the first use names it.

    Raises Invalid where this machine can't reach it, or reaches another one, and what the hub and the ledger raise.
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
    """Raises Invalid where neither the hub nor the environment says which ledger it is."""
    if not is_given(env):
        hint = "Run `keyturn setup hub --apply` or `keyturn hub apply`, and set KEYTURN_LEDGER on the workers"
        raise Invalid("find", "the ledger", "the hub names none yet, and KEYTURN_LEDGER is not set here", hint)


def locate_ledger(name: LedgerName, env: Mapping[str, str]) -> Located:
    """Where this machine reaches the ledger: as KEYTURN_LEDGER says, else where the hub says. Raises Invalid."""
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
    """Raises Invalid for a file in the place of a database, the reverse, and another database."""
    place = name.place
    same = place.shared == wanted.shared
    if place.shared and wanted.shared:
        same = database_of(place.address) == database_of(wanted.address)
    if place == NOWHERE or same:
        return
    raise Invalid("write to", f"the ledger {wanted.words}", f"the hub names {name.origin} {place.words}", REMEDY)


def _elsewhere(name: LedgerName) -> Invalid:
    """This machine does not have the ledger, or this user may not see it."""
    problem = f"it is {name.place.words}, and can't be reached from {socket.gethostname()} as this user"
    hint = "Run this where the ledger is, or set KEYTURN_LEDGER. PostgreSQL can be reached from all machines"
    return Invalid("write to", f"the ledger {name.origin}", problem, hint)


def spool_file(env: Mapping[str, str]) -> Path:
    """Where entries wait that neither the ledger nor the hub takes at the moment; each machine has its own.

    It is what KEYTURN_LEDGER_SPOOL says, else next to a SQLite ledger, else in the user's state directory.
    """
    if file := env.get(SPOOL):
        return Path(file).expanduser().absolute()
    address = ledger_address(env)
    if "://" in address:
        address = str(own_ledger())
    return Path(f"{address}.spool").expanduser().absolute()


def named_ledger(env: Mapping[str, str], hub: Hub, *, patience: float = PATIENCE) -> NamedLedger:
    """The ledger that the hub names; it is looked for at its first use."""
    return NamedLedger(lambda: find_ledger(env, hub, patience=patience))


def spooled_ledger(env: Mapping[str, str], hub: Hub, lost: Lost) -> Spooled:
    """The same for what must not be held up by it: what the ledger does not take waits in the hub, else in the spool.

    ``lost`` is called with entries that could be written nowhere. Raises Invalid.
    """
    return Spooled(named_ledger(env, hub, patience=HASTE), spool_file(env), lost, hub)


def environment_witnesses(env: Mapping[str, str]) -> Witnesses:
    """Those that the environment names, perhaps none. Raises Invalid."""
    from keyturn.providers.ledger.ed25519 import verify_ed25519
    from keyturn.providers.ledger.http_witness import WITNESSES, configured_witnesses

    return Witnesses(configured_witnesses(env) if env.get(WITNESSES) else (), verify_ed25519)


def public_key(hub: EnginesPort, origin: str) -> PublicKey:
    """The key that signs the checkpoints of the ledger of that name, as the hub tells it. Raises NotFound, Denied."""
    return PublicKey(origin, hub.signer(SIGNING_KEY).public_key())


def make_checkpoint(
    hub: Hub, ledger: StoredLedger, clock: Callable[[], datetime], witnesses: Witnesses | None = None
) -> Checkpoint | None:
    """Sign how the ledger stands, and keep that in it and in the hub; None when nothing is new since the last one.

    ``witnesses`` are asked to cosign it. It costs what is new, but once a day, when all entries are read.
    Raises Invalid for a ledger that is not the one that the hub names, Rewritten when what the last one covers is not
    there any more, and what the hub and the ledger raise.
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
    """Where the hub's engine has turned the key, let the one that signed last sign for the new one, in an entry.

    One that may sign no more (``min_encryption_version``) signs for none: then both keys have to be told to whoever
    verifies, and nothing else is held up.
    """
    signer = hub.signer(SIGNING_KEY)
    engine = [PublicKey(ledger.origin, key) for key in signer.public_keys()]
    earlier = [key for key in engine if key in name.keys]
    if not earlier or engine[-1] in name.keys:
        return
    with suppress(Invalid, Denied, NotFound):
        old = signer.earlier(earlier[-1].key)
        ledger.append([succession_entry(old, engine[-1], clock(), hub.identity().words)])
