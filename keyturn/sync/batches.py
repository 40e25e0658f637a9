"""One batch of changed secrets: sync their copies, then notify their consumers."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from keyturn.catalogue import Catalogue
from keyturn.core import errors
from keyturn.core.errors import Invalid, KeyturnError, TransientError, unexpected
from keyturn.core.plan import Plan
from keyturn.core.rotation_record import OPEN
from keyturn.rotation.copies.store_status import Failing
from keyturn.rotation.state.context import Workspace, alive
from keyturn.rotation.state.record_store import load_record
from keyturn.sync.apply import Applier, Result
from keyturn.sync.changes import EVERYTHING
from keyturn.sync.notices import Notices, tell_written
from keyturn.sync.pending_notices import Owing, owing
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, failing_copies, local_executor


@dataclass(frozen=True)
class BatchOutcome:
    """The outcome of a batch, in names only.

    ``failing`` are copies by label, ``held`` secrets with a rotation in progress. ``error`` ended the whole batch.
    """

    results: tuple[Result, ...] = ()
    failing: dict[str, Failing] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    error: KeyturnError | None = None
    owing: Owing = field(default_factory=Owing)

    def broken(self, batch: Iterable[str]) -> dict[str, str]:
        """The secrets that are not in sync, with an error class, transient if any."""
        if self.error:
            return dict.fromkeys(batch, type(self.error).__name__)
        ordered = sorted(self.failing.values(), key=lambda failure: transient(failure.kind))
        unknown = {path: type(error).__name__ for path, error in self.owing.errors.items()}
        return unknown | {failure.path: failure.kind for failure in ordered}


def bring_in_step(workspace: Workspace, paths: list[str], patient: frozenset[str]) -> BatchOutcome:
    """Sync every copy of these secrets and return any error.

    Skips the secrets of ``patient`` with a rotation in progress.
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
    """The secrets with notices due, and any error."""
    try:
        return owing(workspace, planned, results)
    except KeyturnError as error:
        return Owing(errors=dict.fromkeys(planned.paths or (EVERYTHING,), error))


def tell_consumers(workspace: Workspace, paths: list[str]) -> Notices:
    """Notify the consumers of these secrets and return any error."""
    try:
        return tell_written(workspace, paths)
    except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
        ours = error if isinstance(error, KeyturnError) else unexpected(error)
        return Notices(errors=dict.fromkeys(paths, ours))


def concerns(catalogue: Catalogue, path: str) -> bool:
    """Whether the secret has a copy or a consumer."""
    declared = catalogue.secrets.get(path)
    return bool(declared.consumers if declared else ()) or bool(catalogue.destinations(path))


def rotating(workspace: Workspace, path: str) -> bool:
    """Whether a live rotation holds the secret, or has written CURRENT."""
    try:
        rotation = None if path == EVERYTHING else load_record(workspace, path).rotation
    except Invalid:
        return False  # an unreadable record is reported elsewhere, and blocks no copy
    if rotation is None or alive(rotation.holder) is False:
        return False
    try:
        info = workspace.hub.describe(path)
    except KeyturnError:
        return False  # the plan reports it for this secret, and it blocks no other
    return rotation.stage in OPEN or (info is not None and info.version == rotation.version)


def transient(kind: str) -> bool:
    """Whether errors of this class are transient."""
    error = getattr(errors, kind, None)
    return isinstance(error, type) and issubclass(error, TransientError)
