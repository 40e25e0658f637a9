"""The parts that watch accesses: log readers, and the merging of trail files."""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from keyturn.access_log.detection.policy import MonitorPolicies
from keyturn.access_log.reactions.port import Reaction
from keyturn.access_log.trail.cursors import HubCursors
from keyturn.access_log.trail.files import TrailFiles
from keyturn.access_log.trail.identity import trail_name
from keyturn.access_log.trail.merging import merge_trail
from keyturn.access_log.trail.trail import Trail
from keyturn.catalogue import Catalogue
from keyturn.catalogue.monitor_policies import DeclaredPolicies
from keyturn.client.clock import elapsed
from keyturn.core.errors import Invalid, KeyturnError
from keyturn.keys.own_login import own_principals
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import actor_of
from keyturn.serving.access_reader import AccessReader, Watch
from keyturn.serving.alert_judge import Judge
from keyturn.serving.alerts_sent import TellOnce, ToldMemory
from keyturn.serving.ledger_history import LedgerHistory, recorded_alerts
from keyturn.serving.numbers.process import ALERTS, FAILURES
from keyturn.serving.parts import Part, Tenure
from keyturn.serving.site import Site

if TYPE_CHECKING:
    from keyturn.ledger.ports import StoredLedger

LEDGER: Final = "ledger"
"""The reaction that keeps its own record of sent alerts."""

MERGE: Final = "merge/"
"""The prefix of a merging part's name, before the trail's name."""
MERGE_PAUSE: Final = 60.0
EXPIRE_PAUSE: Final = 86_400.0
"""Seconds between two deletions of old files."""


def access_parts(site: Site) -> Iterator[Part]:
    """Yield the parts; none without logs here. Raises Invalid where duckdb is missing."""
    if not site.logs:
        return
    if find_spec("duckdb") is None:
        raise Invalid("keep", "the access trail", "the package duckdb is missing", "Install keyturn[serve]")
    trail = open_trail(site)
    watch = make_watch(site, trail)
    for name, open_source in site.logs.items():
        yield AccessReader(name, open_source, watch)
    try:
        expire = partial(trail.expire, site.keep) if site.keep else None
        yield MergePart(trail_name(TrailFiles(site.trail)), site.trail, site.workspace().clock, expire)
    except KeyturnError as error:
        site.say(f"error: the trail's files are not merged: {error}")


def open_trail(site: Site) -> Trail:
    """Return the trail, with the ledger and the hub of this process."""
    workspace = site.workspace()
    ledger = cast("StoredLedger", workspace.ledger)
    return Trail(site.trail, ledger, HubCursors(workspace.hub), lambda: actor_of(site.workspace()), workspace.clock)


def make_watch(site: Site, trail: Trail) -> Watch:
    """Return what a process's readers share: trail, detector and reactions."""
    workspace = site.workspace()
    ledger, hub = cast("StoredLedger", workspace.ledger), workspace.hub
    memory, history = ToldMemory(hub), LedgerHistory(ledger, site.say)

    def wrap(reaction: Reaction) -> Reaction:
        failed = partial(site.counts.add, FAILURES, reaction.name)
        if reaction.name != LEDGER:
            return TellOnce(reaction, memory, failed=failed)
        count = partial(site.counts.add, ALERTS, reaction.name)
        return TellOnce(reaction, memory, partial(recorded_alerts, ledger), count, failed)

    reactions = site.open_reactions(wrap)
    judge = Judge(CurrentPolicies(site.workspace), history.secrets, reactions.take, history.refresh)

    def idle() -> bool:
        return not any(status.waiting for status in reactions.status())

    return Watch(trail, hub, judge, idle, workspace.clock, site.counts, site.say)


class CurrentPolicies:
    """The policies of the current catalogue: the same object until their basis changes."""

    def __init__(self, workspace: Callable[[], Workspace]) -> None:
        self._workspace = workspace
        self._catalogue = workspace().catalogue
        self._own = own_principals(workspace())
        self._basis = _basis(self._catalogue)
        self._policies = DeclaredPolicies(self._catalogue.monitors, self._catalogue, self._own)

    def __call__(self) -> MonitorPolicies:
        """Return the policies. Called once a second, so an unchanged catalogue is not compared."""
        catalogue = self._workspace().catalogue
        if catalogue is not self._catalogue:
            self._catalogue, basis = catalogue, _basis(catalogue)
            if basis != self._basis:
                self._basis = basis
                self._policies = DeclaredPolicies(catalogue.monitors, catalogue, self._own)
        return self._policies


def _basis(catalogue: Catalogue) -> tuple[Any, ...]:
    abouts = {path: (secret.about, secret.decoy) for path, secret in catalogue.secrets.items()}
    return catalogue.monitors, abouts, catalogue.mounts


class MergePart:
    """Merges a trail's small files, and has ``expire`` delete old files once a day."""

    def __init__(
        self,
        trail: str,
        directory: Path,
        clock: Callable[[], datetime],
        expire: Callable[[], object] | None = None,
    ) -> None:
        self.name = f"{MERGE}{trail}"
        self._directory = directory
        self._clock = clock
        self._expire = expire

    def run(self, tenure: Tenure) -> None:
        """Merge once a minute until the tenure ends."""
        expire_at = elapsed()
        while not tenure.over:
            merge_trail(self._directory, self._clock())
            if self._expire and elapsed() >= expire_at:
                tenure.confirm()
                self._expire()
                expire_at = elapsed() + EXPIRE_PAUSE
            tenure.wait(MERGE_PAUSE)
