"""What a broken catalogue hides from a revocation: selected secrets, and a secret's places."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from keyturn.catalogue import Catalogue, Problem
from keyturn.core.text.path_patterns import covers
from keyturn.revocation.incidents.incident import Incident
from keyturn.revocation.incidents.store import list_incidents
from keyturn.revocation.proof import CheckAnswer, CheckSubject
from keyturn.revocation.step_result import StepResult
from keyturn.rotation.state.context import Workspace

ANY_SECRET: Final = "any secret of "
"""Prefix of files that may declare secrets, among unloaded ones."""
SHOWN: Final = 50
"""Lines about the catalogue that an incident stores."""


def unseen_secrets(catalogue: Catalogue) -> dict[str, str]:
    """Unloaded secrets, and files that may declare some, with the reason."""
    reasons: dict[str, str] = {}
    for problem in catalogue.left_out:
        if name := _hidden(problem, catalogue):
            reasons.setdefault(name, str(problem).rstrip("."))
    return reasons


def _hidden(problem: Problem, catalogue: Catalogue) -> str:
    """The secret or file that this problem hides, else empty."""
    if len(problem.path) < 2:
        return f"{ANY_SECRET}{Path(problem.file).name}"
    section, name = problem.path[0], str(problem.path[1])
    return name if section == "secrets" and name not in catalogue.secrets else ""


def missed_by(catalogue: Catalogue, patterns: Collection[str]) -> tuple[str, ...]:
    """The unloaded secrets that these paths and patterns may match; without any, all."""
    hidden = unseen_secrets(catalogue)
    if not patterns:
        return tuple(sorted(hidden))
    fitting = {name for name in hidden if any(covers(pattern, name) for pattern in patterns)}
    wild = any("*" in pattern for pattern in patterns)
    files = {name for name in hidden if wild and name.startswith(ANY_SECRET)}
    return tuple(sorted(fitting | files))


def list_left_out(catalogue: Catalogue) -> tuple[str, ...]:
    """The lines about the catalogue that the incident stores."""
    lines = tuple(map(str, catalogue.left_out[:SHOWN]))
    more = len(catalogue.left_out) - len(lines)
    return (*lines, f"and {more:,} more") if more else lines


def prove_complete(workspace: Workspace, path: str, result: StepResult) -> None:
    """Check that the catalogue loaded completely, as far as it may hold the secret."""
    for problem in workspace.catalogue.left_out_of(path):
        words = f"the catalogue did not load completely: {problem}".rstrip(".")
        place = f"{Path(problem.file).name}:{problem.line} {problem.where}".rstrip()
        remedy = "Correct the catalogue; the incident is then tried again"
        result.check(CheckSubject.LEFT_OUT, place, CheckAnswer.UNKNOWN, words, remedy)


def add_missed(workspace: Workspace, incident: Incident, result: StepResult) -> None:
    """Keep the incident open for each selected secret that did not load, unless a later one has it."""
    for name in _not_revoked(workspace, incident):
        hint = f"Correct the catalogue, then revoke it by itself: `keyturn revoke {name}`"
        if " " in name:
            hint = "Correct the file, revoke what was meant, then give this incident up"
        words = "not revoked: its entry did not load when the incident was opened"
        result.check(CheckSubject.LEFT_OUT, name, CheckAnswer.REMAINING, words, hint)


def _not_revoked(workspace: Workspace, incident: Incident) -> Iterator[str]:
    if not incident.missed:
        return
    later = [other for other in list_incidents(workspace) if other.opened_at >= incident.opened_at]
    revoked = {path for other in later for path in other.paths}
    yield from (name for name in incident.missed if name not in revoked)
