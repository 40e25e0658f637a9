"""The credential before CURRENT, in words: its account, its users and its state."""

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.core.rotation_record import Rotation, Stage
from keyturn.core.schedule.windows import told
from keyturn.rotation.grace import grace_over
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.naming import names_of


@dataclass(frozen=True)
class Retirement:
    """The result for the old credential, identified by ``names``.

    If ``retired``, ``cut_off`` lists what spoke against it; otherwise ``held_by`` does, and ``left`` is why it is
    spared for good.
    """

    path: str
    version: int | None
    retired: bool
    held_by: tuple[str, ...] = ()
    names: str = ""
    cut_off: tuple[str, ...] = ()
    left: str = ""

    @property
    def state(self) -> str:
        """In one word: retired, left alone for good, or kept."""
        return "retired" if self.retired else "left alone" if self.left else "kept"

    @property
    def message(self) -> str:
        """What was done, and to which credential; empty for nothing."""
        whose = f"the credential before version {self.version} ({self.names or 'without a name'})"
        if self.retired and not self.names:
            return f"nothing of what was before version {self.version} could be ended: no target knows it"
        if self.retired:
            return f"ended {whose}{'; cut off: ' + '; '.join(self.cut_off) if self.cut_off else ''}"
        return f"{whose} was not ended: {self.left}" if self.left else "; ".join(self.held_by)


def credential_names(workspace: Workspace, path: str, ends: Mapping[str, str]) -> str:
    """A credential's name at its target, such as ``username ml_trainer_a``, as far as it may be shown."""
    return names_of(workspace.catalogue, workspace.hub, path).told(ends)


def state_of_previous(
    workspace: Workspace, path: str, rotation: Rotation, retirement: Retirement | None = None, *, in_step: bool = False
) -> str:
    """Whether the credential that ``rotation`` replaced works, and until when; ``retirement`` is the result of ending
    it.

    ``in_step``: every copy was just seen in sync.
    """
    if retirement and (retirement.retired or retirement.left):
        return retirement.message
    if retirement and retirement.version is None:
        whose = f"the credential before it ({credential_names(workspace, path, rotation.ends)})"
        return f"{whose} is no longer this run's to end: see `keyturn history`"
    if not workspace.open_strategy(path).overlaps:
        which = "what was taken back" if rotation.stage is Stage.REVERTED else "the credential before it"
        return f"{which} was changed in place: it is refused since then"
    if rotation.stage is Stage.REVERTED:
        until = _ending(workspace, path, rotation, in_step=in_step)
        return f"what was taken back ({credential_names(workspace, path, rotation.ends)}) still works; {until}"
    if not rotation.ends:
        return unended(rotation)
    held_by = "; ".join(retirement.held_by) if retirement else ""
    suspected = ", though others may know it" if rotation.urgent else ""
    until = f"held by: {held_by}" if held_by else _ending(workspace, path, rotation, in_step=in_step)
    remedy = f". End it at once: `keyturn retire {path} --force`" if suspected and held_by else ""
    whose = f"the credential before it ({credential_names(workspace, path, rotation.ends)})"
    return f"{whose} still works{suspected}; {until}{remedy}"


def unended(rotation: Rotation) -> str:
    """The words for a credential without a name."""
    if not rotation.base_version:
        return "there was no credential before it"
    return "Keyturn can't revoke the old value: the applications that check it decide how long to accept it"


def _ending(workspace: Workspace, path: str, rotation: Rotation, *, in_step: bool) -> str:
    """When the old credential ends, as far as known."""
    timing, since = workspace.secret(path).rotation, rotation.in_force_at or rotation.promoted_at
    acknowledged = "every consumer has acknowledged"
    if rotation.urgent:
        return f"it ends once every copy is in sync and {acknowledged}"
    latest = f", {told(since + timing.max_grace)} at the latest" if timing.max_grace and since else ""
    at = grace_over(workspace, path, rotation)
    if at is None and not in_step:
        return f"it ends {timing.grace} after every copy is in sync, once {acknowledged}{latest}"
    at = at or workspace.hub_now() + timing.grace
    return f"it ends {told(at)} at the earliest, once every copy is in sync and {acknowledged}{latest}"
