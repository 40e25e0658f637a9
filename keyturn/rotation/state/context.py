"""The context of every step: the catalogue, the hub, and how to open adapters."""

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
from keyturn.catalogue.operator.hourly_limits import LimitSettings
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
from keyturn.core.ports.merged_keys import sharing
from keyturn.core.ports.restored import RestoredMark
from keyturn.core.ports.stores import Store
from keyturn.core.ports.strategies import Strategy
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.rotation.state.copy_parts import Parts
from keyturn.rotation.state.restore_watch import RestoreWatch

T = TypeVar("T")
R = TypeVar("R")


TOGETHER: Final = 16
"""Items per thread task: handing a task over costs more than many items."""


def this_process() -> str:
    """``host/pid/start``: identifies a process even when its pid is used again."""
    return f"{socket.gethostname()}/{os.getpid()}/{_stands(os.getpid())[1]}"


def alive(holder: str) -> bool | None:
    """Whether the process still runs; None if unknown: it is on another host, or suspended."""
    host, _, process = holder.partition("/")
    pid, _, started = process.partition("/")
    if host != socket.gethostname():
        return None
    state, began = _stands(int(pid)) if pid.isdecimal() else ("X", "")
    # A process that ended stays as a zombie until its parent reaps it.
    if began != started or state in "ZX":
        return False
    return None if state in "Tt" else True


def _stands(pid: int) -> tuple[str, str]:
    """The state of a process, as in proc(5), and its start time; an absent process is dead."""
    try:
        state, *others = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "X", ""
    return state, others[18]


def side_by_side(work: Callable[[T], R], items: Iterable[T], at_once: int | None = None) -> list[R]:
    """The results of ``work`` in the order of ``items``, in at most ``at_once`` threads."""
    listed = list(items)
    if len(listed) < 2:
        return [work(item) for item in listed]
    threads = min(len(listed), at_once or len(listed))
    size = max(1, min(TOGETHER, len(listed) // (4 * threads)))
    parts = [listed[begin : begin + size] for begin in range(0, len(listed), size)]
    # Each thread keeps the caller's context.
    contexts = [copy_context() for _ in parts]
    with ThreadPoolExecutor(threads) as pool:
        done = pool.map(lambda context, part: context.run(lambda: [work(item) for item in part]), contexts, parts)
        return [result for results in done for result in results]


def verify_nothing(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Reject every signature, where no verifier is configured."""
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
        """Notify ``consumer`` that ``path`` is at ``version`` since ``at``; returns once acknowledged.

        Retries under one message id and raises the last error. ``made``: ``at`` is when the hub made the version, and
        part of the id. Not ``replaced``: the version ended then.
        """

    def accepts_next_key(self, consumer: str, path: str, version: int, at: datetime, *, made: bool = False) -> bool:
        """Whether ``consumer`` acknowledges a repeated notice that only its next webhook key signs.

        False where it refuses the signature; raises other errors.
        """

    def check_health(self, consumer: str) -> None:
        """Check that ``consumer`` is healthy. Raises its answer when it is not."""


@dataclass(frozen=True)
class Workspace:
    """One opened catalogue with its hub, for every function of the library. Shared by threads.

    Adapters are cheap to open again. `WorkspaceNames` gives its name on a Prefect server.
    """

    catalogue: Catalogue
    hub: Hub
    open_strategy: Callable[[str], Strategy]
    open_store: Callable[[str], Store]
    sender: Sender
    ledger: Ledger
    clock: Callable[[], datetime]
    open_replacement: Callable[[str], Strategy] | None = None
    """The strategy that replaces a revoked credential; None for the usual one."""
    holder: str = field(default_factory=this_process)
    patience: float = 60.0
    """Seconds, by the hub's clock, without a write from a holder whose state is unknown, before it counts as dead. The
    record's version stops such a holder if it comes back.
    """
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    """Random numbers from 0 to 1, for the waits after write conflicts."""
    hub_clock: Callable[[], datetime] | None = None
    """Replaces the hub's clock."""

    def hub_now(self) -> datetime:
        """The hub's time, which all workers share for common counts."""
        return self.hub_clock() if self.hub_clock else self.hub.now()

    @property
    def pause(self) -> Pause:
        """The wait between two attempts at a concurrent change."""
        return jittered(self.sleep, self.chance)

    limits: LimitSettings = field(default_factory=LimitSettings)
    """The hourly limits of requests."""
    approvals: ApprovalSettings = field(default_factory=ApprovalSettings)
    """The actions that need a second person's approval."""
    own_keys: OwnKeySettings = field(default_factory=OwnKeySettings)
    """When Keyturn's own keys are replaced."""
    verify_signature: Callable[[bytes, bytes, bytes], bool] = verify_nothing
    """Whether a signature is valid, for an Ed25519 key of 32 bytes and a message."""

    open_key: Callable[[str], ManagedKey] | None = None
    """Opens a managed key of the catalogue by name; None where the process uses none."""

    open_maker: Callable[[str], AccountMaker] | None = None
    """Opens the account maker of a `grants` entry by name."""

    open_partner: Callable[[str], StatePort] | None = None
    """Opens the Keyturn mount of the organisation that owns a store's part of a hub, for reading; by the store's name
    and with its login.
    """

    partner_channel: Callable[[str], Channel | None] | None = None
    """Opens an organisation's channel for news of its copies, by name; None where none is configured."""

    channel: Channel | None = None
    """The channel of the person on call; None where none is configured."""
    access_page: str = ""
    """The page of access requests, with ``{request}`` for a request's name; empty for none."""

    watch: RestoreWatch = field(default_factory=RestoreWatch, compare=False, repr=False)

    def open_restore(self) -> RestoredMark | None:
        """The mark of a restored hub until `keyturn repair recover` has finished; None for every other hub.

        Raises the errors of the check, so that no unchecked value leaves a restored hub.
        """
        return self.watch.open_mark(self.hub)

    def open_copy(self, path: str, place: Destination) -> Store:
        """The store of one copy of a secret; for a merged copy, the view of its keys."""
        return self.open_part(path, place.store, place.keys) if place.merge else self.open_store(place.store)

    def open_part(self, path: str, store: str, keys: Collection[str] = ()) -> Store:
        """The view of this secret's keys in secrets that others own. Raises UnsupportedOperation."""
        whole = self.open_store(store)
        if (shares := sharing(whole)) is None:
            raise UnsupportedOperation("merge into", store, "it lays no single keys into a secret", "Leave merge out")
        return Parts(whole, shares, path, keys, self.fingerprint_of)

    def places(self, path: str, fields: Iterable[str] | None = None) -> tuple[Destination, ...]:
        """The places that the secret is pushed to; patterns expand to ``fields``, or to those of CURRENT.

        Raises Invalid where two fields have the same copy. For patterns, raises NotFound without a version, and all
        read errors: an unknown list is never empty.
        """
        declared = self.catalogue.destinations(path)
        plain = tuple(place for place in declared if isinstance(place, Destination))
        if len(plain) == len(declared):
            return plain
        return spread_patterns(self.catalogue, path, self.field_names(path) if fields is None else fields)

    def field_names(self, path: str) -> tuple[str, ...]:
        """The names of CURRENT's fields. Raises NotFound where the hub has none, and read errors."""
        if current := self.hub.read(path):
            return tuple(current.fields)
        hint = "Rotate it once, write its first version, or see what has become of it: workspace status"
        raise NotFound("find the fields of", path, "the hub has no version of it that can be read", hint)

    def secret(self, path: str) -> Secret:
        """The catalogue's entry. Raises NotFound with the likely path meant."""
        return self.catalogue.secret(path)

    def target(self, path: str) -> str:
        """The unique name of the rotation's target; empty for none."""
        name = getattr(self.secret(path).rotation, "target", None)
        return " ".join(self.catalogue.target(name).system) if name else ""

    @property
    def fingerprint_keys(self) -> FingerprintKeys:
        """The hub's fingerprint keys."""
        return self.hub.fingerprint_keys()

    def fingerprint(self, path: str, fields: SecretFields) -> Fingerprint:
        """The fingerprint of the whole secret at ``path``."""
        return self.fingerprint_of(path, payload(fields))

    def fingerprint_of(self, path: str, text: Sensitive) -> Fingerprint:
        """The fingerprint of a text at ``path``: equal texts of two secrets differ."""
        return self.fingerprint_keys.make(path, text)
