"""What the parts of one process share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from keyturn.access_log.reactions.port import Reaction
from keyturn.access_log.reactions.reactions import Reactions
from keyturn.core.ports.access_source import AccessSource
from keyturn.recovery.making import BackupMaker
from keyturn.rotation.state.context import Workspace
from keyturn.serving.numbers.board import Board, Look
from keyturn.serving.numbers.displayed import Area
from keyturn.serving.numbers.process import Counts
from keyturn.sync.changes import ChangeSource

Wrap = Callable[[Reaction], Reaction]


class OpenReactions(Protocol):
    """Opens all reactions to alerts here, each wrapped."""

    def __call__(self, wrap: Wrap) -> Reactions:
        """Raises Invalid for invalid settings."""


@dataclass(frozen=True)
class BackupPlan:
    """The backup schedule of a workspace and its maker; a new ``key`` requires a new maker."""

    open_maker: Callable[[Workspace], BackupMaker]
    every: timedelta
    base_every: timedelta
    key: object


@dataclass(frozen=True)
class Site:
    """The environment of the parts; ``workspace`` returns the current one, because its catalogue may change.

    ``open_changes`` opens the hub's change source. ``logs`` has an opener for each access log of this machine.
    ``trail`` is the trail's directory, and ``keep`` its retention, None for unlimited. ``say`` gets one line at a time,
    from several threads. ``looks`` read the workspace for the metrics on the ``board``, and with ``publishes`` also for
    the hub. ``backup_plan`` returns the backup schedule, if any.
    """

    workspace: Callable[[], Workspace]
    open_changes: Callable[[], ChangeSource]
    say: Callable[[str], None]
    open_reactions: OpenReactions
    trail: Path
    logs: Mapping[str, Callable[[], AccessSource]] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    keep: timedelta | None = None
    looks: Mapping[Area, Look] = field(default_factory=dict)
    board: Board = field(default_factory=Board)
    publishes: bool = False
    backup_plan: Callable[[Workspace], BackupPlan | None] = lambda workspace: None
