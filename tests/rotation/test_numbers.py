"""Version numbers at the target continue from the highest, also after hub changes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from keyturn.core.errors import KeyturnError
from keyturn.core.rotation_record import Record, Rotation, Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.revocation import run as incidents
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.revocation.selector import Selection
from keyturn.rotation import candidates, steps
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from local.mariadb import MariaDB
from local.redis import Redis
from tests.rotation.helpers import Worker, worker
from tests.support.acl import Acl
from tests.support.hooks import dead_holder
from tests.support.lab import Declared, Lab, fresh
from tests.support.mariadb_lab import MariaDBLab

pytestmark = pytest.mark.sampled(10, of="file")


@dataclass(frozen=True)
class Site:
    """A fresh secret of one kind, and whether its target lets in who holds some version of it."""

    lab: Lab
    secret: Declared
    works: Callable[[SecretFields], bool]

    def workspace(self, holder: str | None = None) -> Workspace:
        """A process that works on it."""
        return self.lab.open(self.secret, holder=holder).workspace

    def rotated(self, times: int) -> None:
        """So often, each old credential retired."""
        for _ in range(times):
            assert rotate(self.workspace(), self.secret.path, Trigger.FORCE).state is RunState.ROTATED
            assert retire(self.workspace(), self.secret.path).retired

    def current(self) -> SecretFields:
        """What is in force."""
        return SecretFields(self.lab.current(self.secret))

    def record(self) -> Record:
        """What the hub keeps of its rotations."""
        return load_record(self.workspace(), self.secret.path)

    def saved(self) -> tuple[SecretFields, dict[str, Any], int, dict[str, dict[str, Any]]]:
        """What a snapshot of the hub holds of it: its fields, its record, and the candidates that this names."""
        state = self.lab.hub.read_state(f"rotations/{self.secret.path}")
        assert state is not None
        named = candidates.places(self.record())
        values = {place: entry.data for place in named if (entry := self.lab.hub.read_state(place))}
        return self.current(), state.data, state.version, values

    def restore(
        self, fields: SecretFields, data: dict[str, Any], version: int, values: dict[str, dict[str, Any]]
    ) -> None:
        """Bring that back, with the numbers that it had."""
        for place, value in values.items():
            if self.lab.hub.read_state(place) is None:
                self.lab.hub.write_state(place, value, cas=0)
        kv, name = self.lab.root.secrets.kv.v2, f"rotations/{self.secret.path}"
        kv.delete_metadata_and_all_versions(self.secret.path, mount_point="secret")
        kv.delete_metadata_and_all_versions(name, mount_point="keyturn")
        self.lab.hub.write(self.secret.path, fields, cas=0)
        for number in range(version):
            self.lab.hub.write_state(name, data, cas=number)

    def renamed(self) -> "Site":
        """The same credential under another path, as after a rename in the catalogue."""
        path = f"tests/{fresh()}"
        self.lab.hub.write(path, self.current(), cas=0)
        return replace(self, secret=replace(self.secret, path=path))

    def goes_on(self) -> None:
        """The next rotation is done at once, and so is the one after it."""
        for _ in range(2):
            assert rotate(self.workspace(), self.secret.path, Trigger.FORCE).state is RunState.ROTATED
            assert self.works(self.current())
            assert not retire(self.workspace(), self.secret.path).held_by
        assert self.works(self.current())

    def revoke(self) -> IncidentStatus:
        """All of it, and what is left."""
        workspace = replace(self.workspace(), sleep=lambda seconds: None)
        incident = f"INC-{fresh()}"
        now = workspace.clock()
        path, reason = self.secret.path, "leaked in a log"
        incidents.begin(
            workspace,
            Selection((path,)),
            incident=incident,
            reason=reason,
            mode=Mode.REPLACE,
            selector=path,
            triggered_at=now,
            consent=Consent(1),
        )
        return incidents.finish(workspace, incident)

    def ends(self) -> None:
        """What is in force is revoked at once, and replaced."""
        leaked = self.current()
        standing = self.revoke()
        assert (standing.open, list(standing.left)) == (False, [])
        assert not self.works(leaked)
        assert self.works(self.current())


def on_postgresql(lab: Lab, request: pytest.FixtureRequest) -> Site:
    return Site(lab, lab.alternating(), lab.logs_in)


def single_on_postgresql(lab: Lab, request: pytest.FixtureRequest) -> Site:
    return Site(lab, lab.single(), lab.logs_in)


def on_mariadb(lab: Lab, request: pytest.FixtureRequest) -> Site:
    server: MariaDB = request.getfixturevalue("mariadb")
    maria = request.getfixturevalue("maria")
    made, admin = maria.accounts(), keep(lab, maria.admin())
    where = {"host": server.host, "port": server.port, "database": made.database}
    target = {"kind": "mysql", **where, "admin": admin, "ca_file": str(server.authority)}
    users = {"users": (made.first, made.second), "owner_role": made.owner}
    secret = declare(lab, made.serving, {"strategy": "alternating-users", "target": "maria", **users}, maria=target)
    return Site(lab, secret, maria.logs_in)


def on_redis(lab: Lab, request: pytest.FixtureRequest) -> Site:
    server: Redis = request.getfixturevalue("redis")
    acl = Acl(server)
    first = acl.user()
    target = {"kind": "redis", "host": server.host, "port": server.port, "tls": False, "admin": keep(lab, acl.admin())}
    rotation = {"strategy": "redis-acl", "target": "cache", "user": first["username"].reveal()}
    return Site(lab, declare(lab, first, rotation, cache=target), acl.logs_in)


def declare(lab: Lab, first: SecretFields, rotation: dict[str, Any], **targets: dict[str, Any]) -> Declared:
    """A fresh secret in the hub, at a target of its own."""
    path = f"tests/{fresh()}"
    lab.hub.write(path, first, cas=0)
    data = {"owner": "tests@example.com", "classification": "internal"}
    timing = {"interval": "30d", "grace": "0s"}
    return Declared(path, {**data, "rotation": {**timing, **rotation}}, first.reveal(), targets=targets)


def keep(lab: Lab, admin: SecretFields) -> str:
    """Where Keyturn's credential for a target lies in the hub."""
    path = f"targets/{fresh()}"
    lab.hub.write_state(path, admin.reveal(), cas=0)
    return path


@pytest.fixture(scope="module")
def maria(mariadb: MariaDB) -> MariaDBLab:
    return MariaDBLab(mariadb)


KINDS = [on_postgresql, single_on_postgresql, on_mariadb, on_redis]


@pytest.fixture(params=KINDS, ids=["postgresql", "postgresql-single", "mariadb", "redis"])
def site(request: pytest.FixtureRequest, lab: Lab) -> Site:
    made: Site = request.param(lab, request)
    return made


# --- what an operator does to the hub ----------------------------------------------------------------------


def restored(site: Site) -> Site:
    """The hub is restored from a snapshot that three rotations came after."""
    site.rotated(1)
    snapshot = site.saved()
    site.rotated(3)
    newest = site.current()
    site.restore(*snapshot)
    # As the guide says: what is really in force is put back before anything goes on.
    site.lab.hub.write(site.secret.path, newest, cas=1)
    return site


def restored_and_left_so(site: Site) -> Site:
    """The same, and nobody puts back what is in force: CURRENT is a credential that has ended."""
    site.rotated(1)
    snapshot = site.saved()
    site.rotated(3)
    site.restore(*snapshot)
    return site


def restored_while_open(site: Site) -> Site:
    """The same, of a snapshot that was taken in the middle of a rotation."""
    site.rotated(1)
    worker_of(site, dead_holder()).staged()
    snapshot = site.saved()
    rotate(site.workspace(), site.secret.path)
    retire(site.workspace(), site.secret.path)
    site.rotated(2)
    newest = site.current()
    site.restore(*snapshot)
    site.lab.hub.write(site.secret.path, newest, cas=1)
    return site


def restored_while_retiring(site: Site) -> Site:
    """The same, of one that was taken before the old credential was retired."""
    site.rotated(1)
    rotate(site.workspace(), site.secret.path, Trigger.FORCE)
    snapshot = site.saved()
    retire(site.workspace(), site.secret.path)
    site.rotated(2)
    newest = site.current()
    site.restore(*snapshot)
    site.lab.hub.write(site.secret.path, newest, cas=1)
    return site


def without_a_record(site: Site, *, metadata: bool = True) -> Site:
    """Its record is removed, wholly or as ``vault kv delete`` does."""
    site.rotated(2)
    kv, name = site.lab.root.secrets.kv.v2, f"rotations/{site.secret.path}"
    if metadata:
        kv.delete_metadata_and_all_versions(name, mount_point="keyturn")
    else:
        kv.delete_latest_version_of_secret(name, mount_point="keyturn")
    return site


def deleted(site: Site) -> Site:
    """The same, of which the hub counts on."""
    return without_a_record(site, metadata=False)


def renamed(site: Site) -> Site:
    """It has another path, and so no record."""
    site.rotated(2)
    return site.renamed()


ACTS = [
    restored,
    restored_and_left_so,
    restored_while_open,
    restored_while_retiring,
    without_a_record,
    deleted,
    renamed,
]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_the_next_rotation_goes_through_at_once_whatever_was_done_to_the_hub(
    site: Site, act: Callable[[Site], Site]
) -> None:
    act(site).goes_on()


@pytest.mark.parametrize("act", [restored, deleted, renamed], ids=lambda act: act.__name__)
def test_a_revocation_is_refused_by_no_number_whatever_was_done_to_the_hub(
    site: Site, act: Callable[[Site], Site]
) -> None:
    act(site).ends()


# --- order -------------------------------------------------------------------------------------------------


def worker_of(site: Site, holder: str | None = None) -> Worker:
    """A run that stops where the test likes."""
    return Worker(site.workspace(holder), site.secret.path)


def numbers(record: Record) -> list[int]:
    """Of everything that the record tells of, the oldest first."""
    past: list[Rotation] = [*record.history, *([record.rotation] if record.rotation else [])]
    return [rotation.sequence for rotation in past]


def test_a_worker_of_before_the_restore_is_still_too_late(site: Site) -> None:
    late = worker_of(site, dead_holder())
    attempt = late.staged()
    snapshot = site.saved()
    rotate(site.workspace(), site.secret.path)
    retire(site.workspace(), site.secret.path)
    newest = site.current()
    site.restore(*snapshot)
    site.lab.hub.write(site.secret.path, newest, cas=1)
    site.goes_on()
    current = site.current()
    with pytest.raises(KeyturnError):
        steps.install(late.workspace, attempt)
    assert site.current() == current
    assert site.works(current)


def test_a_cut_lies_between_what_was_before_it_and_its_replacement(site: Site) -> None:
    renewed = renamed(site)
    renewed.ends()
    record = renewed.record()
    assert [past.stage for past in record.history] == [Stage.CUT, Stage.RETIRED]
    assert numbers(record) == sorted(set(numbers(record)))
    renewed.rotated(1)
    assert numbers(renewed.record()) == sorted(set(numbers(renewed.record())))


def test_give_up_a_candidate_bears_a_greater_number_than_its_install(lab: Lab) -> None:
    secret = lab.alternating()
    lab.sql(f"CREATE TABLE {secret.owner}_table (n int)")
    lab.sql(f"GRANT SELECT ON {secret.owner}_table TO {secret.users[0]}")
    run = worker(lab, secret, dead_holder())
    attempt = run.staged()
    with pytest.raises(KeyturnError, match="it lacks"):
        rotate(lab.open(secret).workspace, secret.path, Trigger.FORCE)
    with pytest.raises(KeyturnError):
        steps.install(run.workspace, attempt)
    assert lab.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", secret.users[1]) == [(False,)]
    found = numbers(worker(lab, secret).record())
    assert found == sorted(set(found))
    assert found[0] > attempt.rotation.sequence
