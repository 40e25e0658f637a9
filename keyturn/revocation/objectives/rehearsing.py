"""Rehearses a revocation with a throw-away credential of the same kind at the same target, and measures it.

The live credential and its copies are never touched. The name of the throw-away credential is in the hub before the
target is touched, so that a later run removes what a killed one has left.
"""

import hashlib
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from keyturn.core.errors import Denied, Invalid, KeyturnError, Locked, UnsupportedOperation
from keyturn.core.ports.strategies import SHADOW, Change, MakesShadows, Shadow
from keyturn.core.rights.capabilities import capability
from keyturn.core.sensitive import SecretFields
from keyturn.revocation.end_credentials import target_name
from keyturn.revocation.objectives.record import Rehearsal, Rehearsals, change_rehearsals, load_rehearsals
from keyturn.rotation.state.context import Workspace, alive
from keyturn.rotation.state.journal import record_action
from keyturn.rotation.state.record_store import load_record
from keyturn.strategies.manual import ManualSettings

REHEARSE: Final = "rehearse"
"""The ledger's name for a rehearsal."""
LEAST: Final = 60.0
"""Seconds for which the target is asked at least."""
MOST: Final = 900.0
"""Seconds for which the target is asked at most: half of the time limit of the run."""
LONGEST: Final = timedelta(minutes=30)
"""A rehearsal that began earlier has lost its process."""
PAUSE: Final = 0.1
"""Seconds between two tries of the revoked credential; grows with the time since."""


def why_not_rehearsed(workspace: Workspace, path: str) -> str:
    """Why the secret can't be rehearsed; empty if it can."""
    rotation = workspace.secret(path).rotation
    if isinstance(rotation, ManualSettings):
        return "a person ends it where it is honoured"
    if not getattr(rotation, "target", None):
        return "there is no target that could refuse it"
    try:
        shadow_of(workspace, path, shadow_name(workspace, path))
    except UnsupportedOperation as error:
        return error.problem
    except KeyturnError as error:
        return f"its target can't be opened: {error.problem}"
    return ""


def shadow_name(workspace: Workspace, path: str) -> str:
    """The throw-away credential's name, the same in each run, so that a restored hub finds it too.

    It depends on the accounts that only this secret may rotate, so other installations have other names.
    """
    rotation = workspace.secret(path).rotation
    claims = [str(getattr(rotation, claim)) for claim in rotation.claims]
    owner = "\n".join((workspace.catalogue.id, path, workspace.target(path), *claims))
    return f"{SHADOW}{hashlib.sha256(owner.encode()).hexdigest()[:10]}"


def shadow_of(workspace: Workspace, path: str, name: str) -> Shadow:
    """The throw-away credential of this name. Raises UnsupportedOperation with the reason."""
    strategy = workspace.open_strategy(path)
    if (maker := capability(strategy, MakesShadows)) is None:
        kind = workspace.secret(path).rotation.strategy
        why = "it is changed in place" if not strategy.overlaps else "no second credential can be told from a live one"
        raise UnsupportedOperation(REHEARSE, path, f"{why} (strategy {kind})", "Declare a secret for drills instead")
    return maker.shadow(name)


def rehearse(workspace: Workspace, path: str, timer: Callable[[], float] = time.monotonic) -> Rehearsal:
    """Create a throw-away credential, revoke it, and measure until the target refuses it. Removes it afterwards.

    Raises UnsupportedOperation for a kind that can't be rehearsed, Locked while the secret or another rehearsal is
    under way, Unrecorded before any change without the ledger.
    """
    if why := why_not_rehearsed(workspace, path):
        hint = "Declare a secret of the same kind below drills/, with `drill`"
        raise UnsupportedOperation(REHEARSE, path, f"it cannot be rehearsed: {why}", hint)
    record = load_record(workspace, path)
    if record.open or record.frozen:
        raise Locked(REHEARSE, path, "a rotation or an incident holds it", "It is tried again")
    with record_action(workspace, REHEARSE, path, place=target_name(workspace, path)) as doing:
        entry = take_over(workspace, path)
        name = shadow_name(workspace, path)
        mine = replace(entry[0], shadow=name, holder=workspace.holder, began=workspace.clock())
        entry = change_rehearsals(workspace, path, entry, mine)
        shadow = shadow_of(workspace, path, name)
        try:
            shadow.clear()  # What a restored hub has forgotten.
            result = Measuring(workspace, path, shadow, timer).result()
        except BaseException:
            shadow.clear()
            change_rehearsals(workspace, path, entry, mine.ended(None))
            raise
        shadow.clear()
        change_rehearsals(workspace, path, entry, mine.ended(result))
        doing.note = result.words
    return result


def take_over(workspace: Workspace, path: str) -> tuple[Rehearsals, int]:
    """The secret's entry, after removing what a dead rehearsal left. Raises Locked while one may run."""
    entry = load_rehearsals(workspace, path)
    left = entry[0]
    if not left.shadow:
        return entry
    running = alive(left.holder)
    old = left.began is None or workspace.clock() - left.began > LONGEST
    if left.holder != workspace.holder and running is not False and not old:
        problem = f"{left.holder} rehearses it since {left.began:%Y-%m-%d %H:%M} UTC"
        raise Locked(REHEARSE, path, problem, "Wait for its end, 30 minutes at most")
    shadow_of(workspace, path, left.shadow).clear()
    return change_rehearsals(workspace, path, entry, left.ended(None))


@dataclass(frozen=True)
class Measuring:
    """One rehearsal at the target; times are seconds since the start of the revocation."""

    workspace: Workspace
    path: str
    shadow: Shadow
    timer: Callable[[], float]

    def result(self) -> Rehearsal:
        """Create the credential, revoke it, and try it until it is refused. Raises Denied if it never worked."""
        strategy, current = self.shadow.strategy, self.kept()
        strategy.preflight(None, None)
        candidate = strategy.mint(current)
        credential = current.merged(candidate)
        strategy.install(Change(self.path, strategy.last_sequence([credential]) + 1, candidate, None))
        if self.until(self.timer(), lambda: strategy.accepts(credential) is not False) is None:
            problem = "the target does not accept the throw-away credential, so its end would prove nothing"
            raise Denied(REHEARSE, self.path, problem, "Check that new accounts or keys may log in there")
        sequence = strategy.last_sequence([credential]) + 1
        hold = self.shadow.hold(credential) if self.shadow.hold else nullcontext(None)
        with hold as sessions:
            at, began = self.workspace.clock(), self.timer()
            strategy.revoke(credential, sequence)
            refused = self.until(began, lambda: strategy.accepts(credential) is False)
            ended = self.until(began, lambda: sessions() == 0) if sessions else None
        return Rehearsal(at, self.workspace.target(self.path), refused, ended, round(self.timer() - began, 3))

    def kept(self) -> SecretFields:
        """The fields of CURRENT that no rotation replaces, such as a host."""
        live = self.workspace.hub.read(self.path) if self.shadow.needs_fields else None
        own = self.shadow.strategy.credential_fields
        return SecretFields({name: value for name, value in live.fields.items() if name not in own} if live else {})

    def until(self, began: float, over: Callable[[], bool]) -> float | None:
        """Ask until it is so; the seconds since the revocation began, or None if it was not so in time."""
        objective = self.workspace.secret(self.path).dead_within or timedelta(0)
        limit = min(max(2 * objective.total_seconds(), LEAST), MOST)
        while not over():
            passed = self.timer() - began
            if passed >= limit:
                return None
            self.workspace.sleep(max(PAUSE, passed / 50))
        return round(self.timer() - began, 3)


def due_rehearsals(workspace: Workspace, every: timedelta) -> list[str]:
    """The secrets whose rehearsal is due, without those in a freeze or that can't be rehearsed."""
    now, due = workspace.clock(), []
    for path, secret in sorted(workspace.catalogue.secrets.items()):
        if secret.dead_within is None or any(freeze.holds(now) for freeze in workspace.catalogue.freezes_of(path)):
            continue
        try:
            results = load_rehearsals(workspace, path)[0].results
        except Invalid:
            results = ()  # The rehearsal itself reports it, and stops no other.
        recent = any(each.target == workspace.target(path) and now - each.at < every for each in results)
        if not recent and not why_not_rehearsed(workspace, path):
            due.append(path)
    return due
