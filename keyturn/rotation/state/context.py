"""What every step needs: the catalogue, the hub, and how to open the adapters it names."""

import os
import random
import socket
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol, TypeVar

from keyturn.catalogue import Catalogue
from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.models import Secret
from keyturn.catalogue.operator.approvals import ApprovalSettings
from keyturn.catalogue.operator.limits import LimitSettings
from keyturn.catalogue.operator.own_keys import OwnKeySettings
from keyturn.catalogue.spreading import spread_patterns
from keyturn.core.compare_and_set import Pause, jittered
from keyturn.core.errors import NotFound, UnsupportedOperation
from keyturn.core.fingerprint import Fingerprint, payload
from keyturn.core.fingerprint_keys import FingerprintKeys
from keyturn.core.notifications.channel import Channel
from keyturn.core.notifications.notices import SECRET_ROTATED
from keyturn.core.ports.grants import AccountMaker
from keyturn.core.ports.hub import Hub, StatePort
from keyturn.core.ports.ledger import Ledger
from keyturn.core.ports.managed_keys import ManagedKey
from keyturn.core.ports.restored import RestoredMark
from keyturn.core.ports.shared import sharing
from keyturn.core.ports.stores import Store
from keyturn.core.ports.strategies import Strategy
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.rotation.state.copy_parts import Parts
from keyturn.rotation.state.restore_watch import RestoreWatch

T = TypeVar("T")
R = TypeVar("R")


TOGETHER: Final = 16
"""So many of thousands of items go to a thread at once: handing one over costs more than many of them."""


def this_process() -> str:
    """``host/pid/start``: names a process so that its death can be told, even when its pid is used again."""
    return f"{socket.gethostname()}/{os.getpid()}/{_stands(os.getpid())[1]}"


def alive(holder: str) -> bool | None:
    """Whether the process still runs; None when nobody here can tell: it is on another host, or suspended."""
    host, _, process = holder.partition("/")
    pid, _, started = process.partition("/")
    if host != socket.gethostname():
        return None
    state, began = _stands(int(pid)) if pid.isdecimal() else ("X", "")
    # A process that ended stays as a zombie until its parent asks for it.
    if began != started or state in "ZX":
        return False
    return None if state in "Tt" else True


def _stands(pid: int) -> tuple[str, str]:
    """The state of a process, as proc(5) letters it, and when it began; an absent one is dead."""
    try:
        state, *others = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "X", ""
    return state, others[18]


def side_by_side(work: Callable[[T], R], items: Iterable[T], at_once: int | None = None) -> list[R]:
    """The results of ``work`` in the order of ``items``, in threads where there are several, ``at_once`` at most."""
    listed = list(items)
    if len(listed) < 2:
        return [work(item) for item in listed]
    threads = min(len(listed), at_once or len(listed))
    size = max(1, min(TOGETHER, len(listed) // (4 * threads)))
    parts = [listed[begin : begin + size] for begin in range(0, len(listed), size)]
    # Each thread works in the name of whoever asked.
    contexts = [copy_context() for _ in parts]
    with ThreadPoolExecutor(threads) as pool:
        done = pool.map(lambda context, part: context.run(lambda: [work(item) for item in part]), contexts, parts)
        return [result for results in done for result in results]


def verify_nothing(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Where nothing is there to verify signatures with, none holds."""
    return False


class Sender(Protocol):
    """Delivers notices to consumers."""

    def deliver(
        self,
        consumer: str,
        path: str,
        version: int,
        at: datetime,
        event: str = SECRET_ROTATED,
        *,
        made: bool = False,
        replaced: bool = True,
    ) -> None:
        """Tell ``consumer`` that ``path`` is at ``version`` since ``at``; returns once it has acknowledged.

        Tries several times under one message id and raises the last error. ``made`` says that ``at`` is when the hub
        made the version, which is part of the id then; where it is not ``replaced``, it was ended then.
        """

    def accepts_next_key(self, consumer: str, path: str, version: int, at: datetime, *, made: bool = False) -> bool:
        """Whether ``consumer`` acknowledges a notice again that it has heard, once its next webhook key alone signs it.

        False where it refuses the signature; raises whatever else keeps it from answering.
        """

    def check_health(self, consumer: str) -> None:
        """Ask ``consumer`` whether it is well; raises what it answered when it is not."""


@dataclass(frozen=True)
class Workspace:
    """One opened catalogue with its hub: what every function of the library works on. Shared by threads.

    Opening adapters is cheap after the first time. What it is called on a Prefect server is said by `WorkspaceNames`.
    """

    catalogue: Catalogue
    hub: Hub
    open_strategy: Callable[[str], Strategy]
    open_store: Callable[[str], Store]
    sender: Sender
    ledger: Ledger
    clock: Callable[[], datetime]
    open_replacement: Callable[[str], Strategy] | None = None
    """The strategy that makes what takes the place of a revoked credential; None where it is the usual one."""
    holder: str = field(default_factory=this_process)
    patience: float = 60.0
    """Seconds, by the hub's clock, without a word from a holder of whom nobody can tell whether it runs, before it
    counts as dead. It decides only who goes on: one that comes back later is stopped by the record's version."""
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    """Numbers from 0 to 1: how long workers wait who have come in each other's way."""
    hub_clock: Callable[[], datetime] | None = None
    """Another clock in the place of the hub's own."""

    def hub_now(self) -> datetime:
        """The time by the hub's clock, which all workers share: what they count together is counted by it."""
        return self.hub_clock() if self.hub_clock else self.hub.now()

    @property
    def pause(self) -> Pause:
        """The wait between two attempts at what others change at the same time."""
        return jittered(self.sleep, self.chance)

    limits: LimitSettings = field(default_factory=LimitSettings)
    """How often within an hour something may be asked for."""
    approvals: ApprovalSettings = field(default_factory=ApprovalSettings)
    """What a second person has to approve."""
    own_keys: OwnKeySettings = field(default_factory=OwnKeySettings)
    """When Keyturn's own keys are replaced."""
    verify_signature: Callable[[bytes, bytes, bytes], bool] = verify_nothing
    """Whether, for an Ed25519 key of 32 bytes and a message, the signature holds."""

    open_key: Callable[[str], ManagedKey] | None = None
    """Opens a managed key of the catalogue by its name; None where the process has none to do with."""

    open_maker: Callable[[str], AccountMaker] | None = None
    """Opens what makes the accounts of an entry of the catalogue's `grants`, by its name."""

    open_partner: Callable[[str], StatePort] | None = None
    """Opens what the organisation in whose part of a hub a store is has in its Keyturn's own mount, to be read; by the
    store's name and with its login."""

    partner_channel: Callable[[str], Channel | None] | None = None
    """Where an organisation is told of what becomes of its copies, by its name; None where nothing says."""

    channel: Channel | None = None
    """Where whoever is on call is told; None where nothing names it here."""
    access_page: str = ""
    """The page that shows requests for access, with ``{request}`` for a request's name; empty where there is none."""

    watch: RestoreWatch = field(default_factory=RestoreWatch, compare=False, repr=False)

    def open_restore(self) -> RestoredMark | None:
        """The mark of a hub that was restored, until `keyturn recover` has gone through; None for every other hub.

        Raises what keeps anybody from looking: what came with a restore is carried nowhere unseen.
        """
        return self.watch.open_mark(self.hub)

    def open_copy(self, path: str, place: Destination) -> Store:
        """The store of one copy of a secret; of one that is merged, the view of its keys alone."""
        return self.open_part(path, place.store, place.keys) if place.merge else self.open_store(place.store)

    def open_part(self, path: str, store: str, keys: Collection[str] = ()) -> Store:
        """The view of what is this secret's in secrets that others own. Raises UnsupportedOperation."""
        whole = self.open_store(store)
        if (shares := sharing(whole)) is None:
            raise UnsupportedOperation("merge into", store, "it lays no single keys into a secret", "Leave merge out")
        return Parts(whole, shares, path, keys, self.fingerprint_of)

    def places(self, path: str, fields: Iterable[str] | None = None) -> tuple[Destination, ...]:
        """Every place that the secret is pushed to; of patterns of fields, that of each of ``fields`` or of CURRENT's.

        Raises Invalid where two fields' copies would be one, and of such patterns alone: NotFound where the hub has no
        version of the secret, and what else keeps CURRENT's names from being read. So what is not known is never none.
        """
        declared = self.catalogue.destinations(path)
        plain = tuple(place for place in declared if isinstance(place, Destination))
        if len(plain) == len(declared):
            return plain
        return spread_patterns(self.catalogue, path, self.field_names(path) if fields is None else fields)

    def field_names(self, path: str) -> tuple[str, ...]:
        """The names of CURRENT's fields. Raises NotFound where the hub has none, and why it can't be read."""
        if current := self.hub.read(path):
            return tuple(current.fields)
        hint = "Rotate it once, write its first version, or see what has become of it: workspace status"
        raise NotFound("find the fields of", path, "the hub has no version of it that can be read", hint)

    def secret(self, path: str) -> Secret:
        """The catalogue's entry. Raises NotFound with the likely path meant."""
        return self.catalogue.secret(path)

    def target(self, path: str) -> str:
        """What tells the target of the secret's rotation from every other system; empty for one without."""
        name = getattr(self.secret(path).rotation, "target", None)
        return " ".join(self.catalogue.target(name).system) if name else ""

    @property
    def fingerprint_keys(self) -> FingerprintKeys:
        """The hub's keys of fingerprints."""
        return self.hub.fingerprint_keys()

    def fingerprint(self, path: str, fields: SecretFields) -> Fingerprint:
        """The fingerprint of the whole secret at ``path``."""
        return self.fingerprint_of(path, payload(fields))

    def fingerprint_of(self, path: str, text: Sensitive) -> Fingerprint:
        """The fingerprint of a text of the secret at ``path``: equal texts of two secrets have two."""
        return self.fingerprint_keys.make(path, text)
