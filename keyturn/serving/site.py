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
    """Opens whatever is done about alerts here, each reaction wrapped."""

    def __call__(self, wrap: Wrap) -> Reactions:
        """Raises Invalid for settings that can't be."""


@dataclass(frozen=True)
class BackupPlan:
    """What makes the backups of a workspace, and how often: ``key`` is another once a new one has to be opened."""

    open_maker: Callable[[Workspace], BackupMaker]
    every: timedelta
    base_every: timedelta
    key: object


@dataclass(frozen=True)
class Site:
    """What parts are made of. ``workspace`` gives the one to work with now: its catalogue may change.

    ``open_changes`` opens what tells of the hub's changes. ``logs`` are the access logs that are read on this machine,
    each by what opens it, ``trail`` is the directory that they are kept in, ``keep`` how long, None for good. ``say``
    is given one line at a time, from several threads. ``looks`` look at the whole workspace for its numbers, which
    stand on the ``board``, and in the hub for others to tell where this process ``publishes`` them. ``backup_plan``
    says how the hub is backed up, if it is.
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
