"""Which ledger a command reads, and which keys it trusts: given ones, or the hub's."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.cli.environment import insist_on_hub, known_stack
from keyturn.cli.local_stack import load_local
from keyturn.cli.output import note
from keyturn.core.errors import Invalid, Rewritten

if TYPE_CHECKING:
    from keyturn.core.ports.hub import Hub
    from keyturn.ledger.ports import LedgerSource, StoredLedger
    from keyturn.ledger.signed_notes import PublicKey


@dataclass(frozen=True)
class Trust:
    """The trusted keys, and the checkpoints known from elsewhere."""

    keys: "Sequence[PublicKey]"
    known: Sequence[str] = ()


def settle_ledger() -> None:
    """Set KEYTURN_LEDGER to the local stack's, running or not, if VAULT_ADDR is not set."""
    if not os.environ.get("VAULT_ADDR") and (stack := known_stack()):
        os.environ.update(load_local("environment").ledger(stack))


@contextmanager
def the_ledger() -> "Iterator[StoredLedger]":
    """The ledger of KEYTURN_LEDGER, else the one that the hub names. Raises Invalid, Unavailable."""
    from keyturn.wiring.ledger import configured_ledger

    if is_told_by_hub():
        with the_hub() as hub, ledger_of(hub) as ledger:
            yield ledger
    else:
        with closing(configured_ledger(os.environ)) as ledger:
            yield ledger


@contextmanager
def ledger_of(hub: "Hub") -> "Iterator[StoredLedger]":
    """The ledger that the hub names. Raises Invalid if this machine cannot reach it."""
    from keyturn.wiring.ledger import reached_ledger

    with closing(reached_ledger(os.environ, hub)) as ledger:
        yield ledger


def is_told_by_hub() -> bool:
    """Whether only the hub names the ledger."""
    from keyturn.providers.ledger.address import VARIABLE

    return bool(os.environ.get("VAULT_ADDR")) and not os.environ.get(VARIABLE)


@contextmanager
def the_hub(*, signing: bool = False) -> "Iterator[Hub]":
    """The environment's hub, or the local stack's. Raises Unavailable, Invalid.

    ``signing`` selects the login that may sign.
    """
    insist_on_hub(signing=signing)

    from keyturn.providers.vault.hub import VaultHub
    from keyturn.settings.hub import HubSettings

    hub = VaultHub(HubSettings.from_environment())
    try:
        yield hub
    finally:
        hub.close()


@contextmanager
def read_only(file: Path | None = None) -> "Iterator[LedgerSource]":
    """The given SQLite file, or the ledger in use, read-only. Raises Unavailable, Rewritten."""
    from keyturn.providers.ledger.sqlite import SqliteCopy

    if file is None:
        with the_ledger() as ledger:
            if "://" in ledger.address:
                yield ledger
                return
            file = Path(ledger.address)
    with SqliteCopy(file.expanduser().absolute()) as copy:
        yield copy


def given_keys(keys: Sequence[str], file: Path | None) -> "list[PublicKey]":
    """The public keys of the options; empty without any. Raises Invalid, OSError."""
    from keyturn.ledger.signed_notes import PublicKey

    try:
        lines = file.read_text().split() if file else []
    except UnicodeDecodeError:
        raise Invalid("read", str(file), "it holds no key", "Write one with: keyturn ledger key") from None
    if file and not lines:
        raise Invalid("read", str(file), "it holds no key", "Write one with: keyturn ledger key")
    return [PublicKey.parse(text) for text in (*keys, *lines)]


def trust(keys: "Sequence[PublicKey]", origin: "Callable[[Hub], str]") -> Trust:
    """These keys only; without any, the hub's key and the newest checkpoint that the hub has kept."""
    if keys:
        return Trust(keys)
    insist_on_hub_or_key()
    with the_hub() as hub:
        from keyturn.ledger.checkpointer import CheckpointInHub

        name = origin(hub)
        newest, _ = CheckpointInHub(hub, name).read()
        note("the hub has the key and the newest checkpoint; with --public-key only that key is trusted")
        return Trust(hub_keys(hub, name), [newest] if newest else [])


def keys_of_proof(checkpoint: str, keys: Sequence[str], file: Path | None) -> "Sequence[PublicKey]":
    """The keys for a proof under this checkpoint: those of the options, else the hub's for its ledger.

    Raises the errors of :func:`given_keys` and :func:`trust`.
    """
    from keyturn.ledger.checkpoints import read_checkpoint

    return trust(given_keys(keys, file), lambda _: read_checkpoint(checkpoint).origin).keys


def insist_on_hub_or_key() -> None:
    """Raises Invalid without a hub: then the verifier must give the key."""
    if not os.environ.get("VAULT_ADDR") and known_stack() is None:
        problem = "no public key of the ledger is given, and no hub is named to ask for it"
        raise Invalid("verify", "the signatures", problem, "Give --public-key-file FILE, or set VAULT_ADDR")


def hub_keys(hub: "Hub", origin: str) -> "Sequence[PublicKey]":
    """The keys that the hub names for a current or earlier ledger. Raises Invalid for any other."""
    from keyturn.ledger.naming import read_name
    from keyturn.wiring.ledger import public_key

    name, _ = read_name(hub)
    if name is None or (name.origin == origin and not name.keys):
        return [public_key(hub, origin)]
    if keys := name.keys_of(origin):
        return keys
    hint = "Unset KEYTURN_LEDGER_NAME, or give a --public-key"
    raise Invalid("verify", origin, f"the hub names another ledger: {name.origin}", hint)


def origin_of(source: "LedgerSource") -> str:
    """The name in the checkpoints of a copy. Only their signatures prove it. Raises Rewritten without a checkpoint."""
    from keyturn.ledger.checkpoints import read_checkpoint

    for signed in source.checkpoints():
        return read_checkpoint(signed).origin
    raise Rewritten("read", "the copy", "it has no checkpoint, so nothing vouches for it", "Ask for one that has")


def named_origin(hub: "Hub") -> str:
    """The name from KEYTURN_LEDGER_NAME, else the hub's. Raises Invalid."""
    from keyturn.ledger.naming import read_name
    from keyturn.providers.ledger.address import first_name, given_name

    name, _ = read_name(hub)
    return given_name(os.environ) or (name.origin if name else first_name(os.environ))


def told_origin(source: "LedgerSource") -> str:
    """The name from KEYTURN_LEDGER_NAME, else that of the checkpoints, else the workspace's. Raises Invalid."""
    from keyturn.providers.ledger.address import first_name, given_name

    if name := given_name(os.environ):
        return name
    return origin_of(source) if any(True for _ in source.checkpoints()) else first_name(os.environ)
