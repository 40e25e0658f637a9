"""One batch of changed secrets: their copies brought in step, then their consumers told. Errors are answers here."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from keyturn.catalogue import Catalogue
from keyturn.core import errors
from keyturn.core.errors import Invalid, KeyturnError, TransientError, unexpected
from keyturn.core.plan import Plan
from keyturn.core.record import OPEN
from keyturn.rotation.copies.store_status import Failing
from keyturn.rotation.state.context import Workspace, alive
from keyturn.rotation.state.records import load_record
from keyturn.sync.apply import Applier, Result
from keyturn.sync.changes import EVERYTHING
from keyturn.sync.notices import Notices, tell_written
from keyturn.sync.pending_notices import Owing, owing
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, failing_copies, local_executor


@dataclass(frozen=True)
class BatchOutcome:
    """What became of a batch, in names only.

    ``failing`` are copies by their labels, ``held`` secrets whose rotation is at work; ``error`` ended all of it.
    ``owing`` says whose consumers are to be told now.
    """

    results: tuple[Result, ...] = ()
    failing: dict[str, Failing] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    error: KeyturnError | None = None
    owing: Owing = field(default_factory=Owing)

    def broken(self, batch: Iterable[str]) -> dict[str, str]:
        """The secrets that are not in step everywhere, and the class of the error; of several, one that passes."""
        if self.error:
            return dict.fromkeys(batch, type(self.error).__name__)
        ordered = sorted(self.failing.values(), key=lambda failure: transient(failure.kind))
        unknown = {path: type(error).__name__ for path, error in self.owing.errors.items()}
        return unknown | {failure.path: failure.kind for failure in ordered}


def bring_in_step(workspace: Workspace, paths: list[str], patient: frozenset[str]) -> BatchOutcome:
    """Bring every copy of these secrets in step; an error is part of the answer.

    Where a rotation is at work on a secret of ``patient``, that pushes it, and two at once could only meet.
    """
    try:
        held = frozenset(path for path in paths if path in patient and rotating(workspace, path))
        rest = [path for path in paths if path not in held]
        if not rest:
            return BatchOutcome(held=held)
        planned = plan(workspace, () if EVERYTHING in rest else rest, unseen=True)
        results = carry_out(workspace, planned, local_executor(Applier(workspace)), heals=EVERYTHING in rest)
        return BatchOutcome(
            tuple(results), failing_copies(planned, results), held, owing=owed(workspace, planned, results)
        )
    except KeyturnError as error:
        return BatchOutcome(error=error)
    except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
        problem, hint = f"unexpected {type(error).__name__}", "Please report it to Keyturn's maintainers"
        return BatchOutcome(error=Invalid("sync", f"{len(paths)} secrets", problem, hint))


def owed(workspace: Workspace, planned: Plan, results: list[Result]) -> Owing:
    """Whose consumers are to be told of what is in step now; why that can't be told is part of the answer."""
    try:
        return owing(workspace, planned, results)
    except KeyturnError as error:
        return Owing(errors=dict.fromkeys(planned.paths or (EVERYTHING,), error))


def tell_consumers(workspace: Workspace, paths: list[str]) -> Notices:
    """Tell the consumers of these secrets; an error is part of the answer."""
    try:
        return tell_written(workspace, paths)
    except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
        ours = error if isinstance(error, KeyturnError) else unexpected(error)
        return Notices(errors=dict.fromkeys(paths, ours))


def concerns(catalogue: Catalogue, path: str) -> bool:
    """Whether a change of the secret is to reach anything: a copy, or a consumer."""
    declared = catalogue.secrets.get(path)
    return bool(declared.consumers if declared else ()) or bool(catalogue.destinations(path))


def rotating(workspace: Workspace, path: str) -> bool:
    """Whether a rotation that may be at work holds the secret, or has written what is CURRENT."""
    try:
        rotation = None if path == EVERYTHING else load_record(workspace, path).rotation
    except Invalid:
        return False  # a record that can't be read is told of elsewhere, and holds up no copy
    if rotation is None or alive(rotation.holder) is False:
        return False
    try:
        info = workspace.hub.describe(path)
    except KeyturnError:
        return False  # the plan tells it of this secret, and holds up no other
    return rotation.stage in OPEN or (info is not None and info.version == rotation.version)


def transient(kind: str) -> bool:
    """Whether errors of this class pass by themselves."""
    error = getattr(errors, kind, None)
    return isinstance(error, type) and issubclass(error, TransientError)
