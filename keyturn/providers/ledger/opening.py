"""Keeping the ledger that the environment names: opening it, its spool, its key, and making checkpoints of it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, NoReturn, cast

from keyturn.core.errors import Denied, Invalid, NotFound, Unavailable, Unrecorded
from keyturn.core.hub import EnginesPort, Hub
from keyturn.core.ledger import Entry
from keyturn.ledger.checkpointer import CheckpointInHub, sign_checkpoint
from keyturn.ledger.checkpoints import Checkpoint
from keyturn.ledger.naming import SIGNING_KEY, LedgerName, NamedLedger, insist_on_named, keep_keys
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.signed_notes import PublicKey
from keyturn.ledger.spool import Lost, Spooled
from keyturn.ledger.succession import succession_entry
from keyturn.ledger.witnessing import Witnesses
from keyturn.providers.ledger.address import PATIENCE, ledger_address, ledger_origin, open_ledger, own_ledger

SPOOL: Final = "KEYTURN_LEDGER_SPOOL"


HASTE: Final = 0.5
"""Seconds that a revocation waits for a ledger that others hold, or whose server is gone."""


def configured_ledger(env: Mapping[str, str], *, patience: float = PATIENCE) -> StoredLedger:
    """The ledger that the environment names, by its name in checkpoints; nothing is touched yet.

    Raises Invalid, and Unavailable where the package is missing that opens it.
    """
    address = ledger_address(env)
    return open_ledger(address, origin=ledger_origin(address, env), patience=patience)


def spool_file(env: Mapping[str, str]) -> Path:
    """Where entries wait that the ledger does not take at the moment; each machine has its own.

    It is what KEYTURN_LEDGER_SPOOL says, else beside a SQLite ledger, else in the user's state directory.
    """
    if file := env.get(SPOOL):
        return Path(file).expanduser().absolute()
    address = ledger_address(env)
    if "://" in address:
        address = str(own_ledger())
    return Path(f"{address}.spool").expanduser().absolute()


def named_ledger(env: Mapping[str, str], hub: Hub) -> NamedLedger:
    """The same ledger, which takes nothing unless it is the one that the hub names. Raises Invalid."""
    return NamedLedger(ledger_to_write(env), hub)


def spooled_ledger(
    env: Mapping[str, str], hub: Hub, lost: Lost, missing: Callable[[str], None] = lambda why: None
) -> Spooled:
    """The same for what must not be held up by it: what the ledger does not take at the moment waits in the spool.

    So does all of it where the ledger can't be opened here, which ``missing`` is told. ``lost`` is told of entries that
    could be written nowhere. Raises Invalid.
    """
    ledger = ledger_to_write(env, patience=HASTE)
    if isinstance(ledger, Unopened):
        missing(str(ledger.why))
    return Spooled(NamedLedger(ledger, hub), spool_file(env), lost)


def ledger_to_write(env: Mapping[str, str], *, patience: float = PATIENCE) -> StoredLedger:
    """The same ledger; where it can't be opened here, one that says so at the first entry. Raises Invalid."""
    try:
        return configured_ledger(env, patience=patience)
    except Unavailable as error:
        return cast("StoredLedger", Unopened(ledger_origin(ledger_address(env), env), error))


class Unopened:
    """A ledger that this machine can't open: nothing is written to it, and nothing known of it."""

    def __init__(self, origin: str, why: Unavailable) -> None:
        self.origin = origin
        self.why = why

    def append(self, entries: Sequence[Entry]) -> None:
        """Raises Unrecorded."""
        raise Unrecorded("write", "the ledger", self.why.problem, self.why.hint)

    def close(self) -> None:
        """There is nothing to let go of."""

    def __getattr__(self, verb: str) -> Callable[..., NoReturn]:
        """Every other verb raises Unavailable."""

        def refuse(*_: object, **__: object) -> NoReturn:
            raise self.why

        return refuse


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
    keep_keys(hub, name)
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
