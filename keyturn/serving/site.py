"""What the parts of one process share."""

from collections.abc import Callable
from dataclasses import dataclass

from keyturn.rotation.context import Workspace
from keyturn.sync.changes import ChangeSource


@dataclass(frozen=True)
class Site:
    """What parts are made of. ``workspace`` gives the one to work with now: its catalogue may change.

    ``open_changes`` opens what tells of the hub's changes; ``say`` is given one line at a time, from several threads.
    """

    workspace: Callable[[], Workspace]
    open_changes: Callable[[], ChangeSource]
    say: Callable[[str], None]
