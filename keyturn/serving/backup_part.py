"""The part that continuously backs up the hub: a base, and changes every half minute."""

from collections.abc import Callable, Iterable

from keyturn.client.clock import elapsed
from keyturn.core.errors import KeyturnError, Missing, Superseded, TransientError
from keyturn.core.ports.backups import Manifest
from keyturn.recovery.making import BACK_UP, BackupMaker
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action
from keyturn.serving.parts import BACKUP, Part, PartHealth, Tenure
from keyturn.serving.site import BackupPlan, Site


class BackupPart:
    """Backs up in one process at a time, by its lease. If two run, each has its own chain.

    A transient failure is reported once, and the chain continues. A restarted part begins with a base.
    """

    name = BACKUP

    def __init__(self, site: Site, plan: Callable[[Workspace], BackupPlan | None]) -> None:
        self._site = site
        self._plan = plan
        self._maker: BackupMaker | None = None
        self._key: object = None
        self._point = elapsed()
        self._trouble = ""
        self._told: tuple[object, ...] = ()

    def run(self, tenure: Tenure) -> None:
        """Work until the tenure ends. Raises errors that are not transient."""
        self._maker, self._point = None, elapsed()
        tenure.measure = lambda: PartHealth(elapsed() - self._point, self._trouble)
        while not tenure.over:
            workspace = self._site.workspace()
            plan = self._plan(workspace)
            if plan is None:
                return
            began = elapsed()
            if self._back_up(workspace, plan):
                self._point = began
            tenure.wait(max(0.0, plan.every.total_seconds() - (elapsed() - began)))

    def _back_up(self, workspace: Workspace, plan: BackupPlan) -> bool:
        """Make one backup, and return whether it exists. A base follows a lost chain at once."""
        try:
            try:
                self._make(workspace, plan)
            except (Missing, Superseded) as error:
                self._tell(error)
                self._make(workspace, plan)
        except TransientError as error:
            self._tell(error)
            return False
        self._trouble, self._told = "", ()
        return True

    def _make(self, workspace: Workspace, plan: BackupPlan) -> None:
        if self._maker is None or self._key != plan.key:
            self._maker, self._key = plan.open_maker(workspace), plan.key
        if self._maker.needs_base(plan.base_every):
            with record_action(workspace, BACK_UP, note="a base") as doing:
                manifest = self._maker.make_base()
                doing.note = f"{manifest.name}, {manifest.counts['all']} entries"
            self._say(f"{manifest.name}: a base of {manifest.counts['all']} entries")
            self._name_missing(manifest)
        else:
            self._maker.make_increment()

    def _name_missing(self, manifest: Manifest) -> None:
        for line in manifest.missing:
            self._say(f"not in the backup: {line}")

    def _tell(self, error: KeyturnError) -> None:
        """Report a problem once. Names differ between attempts, so only the problem is compared."""
        problem = (type(error), error.doing, error.problem)
        if problem != self._told:
            self._say(f"error: {error}")
        self._trouble, self._told = str(error), problem

    def _say(self, line: str) -> None:
        self._site.say(f"{self.name}: {line}")


def backup_parts(site: Site) -> Iterable[Part]:
    """Return the part; none where no backups are declared."""
    return [BackupPart(site, site.backup_plan)] if site.backup_plan(site.workspace()) else []
