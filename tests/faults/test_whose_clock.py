"""Whose clock decides what: each row of the table in docs/protocol.md has a test, here or in a file that it names."""

import dataclasses
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

from keyturn.core.ports.hub import ROTATED_AT
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import Sensitive
from keyturn.providers.postgresql.given_accounts import GivenAccounts
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.settings.timing import DAYS
from local.prepare import prepare_database
from local.support.ports import free_port
from tests.cli.command import ROOT
from tests.faults.servers import Database
from tests.faults.shell import Shell
from tests.faults.test_clocks import AHEAD, BEHIND, FAR, LATENCY
from tests.support.given import deliver_access, given_site, people_with_least_rights, reader_role
from tests.support.hooks import eventually
from tests.support.lab import Lab, fresh
from tests.support.skewed import SkewedPostgreSQL, jump, jumping, skewed
from tests.support.world import World

pytestmark = pytest.mark.sampled(12, of="file")

PAGE: Final = ROOT / "docs" / "protocol.md"
WRONG: Final = [AHEAD, BEHIND, FAR]

HOLDER: Final = "tests.faults.test_clocks:test_a_holder_elsewhere_is_given_its_time_by_the_hubs_clock"
PARTS: Final = (
    "tests.serving.test_leases:test_what_stands_still_by_the_watchers_own_clock_is_taken_over_and_its_holder_is_refused"
)
NOTICE: Final = (
    "tests.faults.test_clocks:test_a_notice_is_signed_by_the_hubs_clock_so_consumers_accept_it_from_a_wrong_one"
)
CONSUMER: Final = (
    "tests.faults.test_clocks:test_a_consumer_whose_own_clock_is_wrong_refuses_a_notice_and_is_named_with_it"
)
TESTED: Final = {
    "when a secret is due; windows and freezes": "test_a_window_is_open_by_the_hubs_clock",
    "the grace": "test_a_clock_that_jumps_in_a_grace_moves_no_end_of_it",
    "that another host's holder is dead": HOLDER,
    "leases and tokens of the hub": "test_a_lease_of_the_hub_is_as_long_as_the_hub_says",
    "requests, approvals and the end of access": "test_access_lasts_as_long_as_was_asked_by_the_hubs_clock",
    "`VALID UNTIL` of an account that Keyturn makes": "test_an_account_of_a_grant_ends_by_the_databases_own_clock",
    "the order of the ledger and of versions": "test_the_ledgers_order_is_that_of_its_numbers",
    "the time in a signed notice": NOTICE,
    "whether a notice is too old": CONSUMER,
    "whether a certificate is valid": "test_a_certificate_that_the_clock_holds_for_future_is_reported_with_the_clock",
    "which `keyturn serve` runs a service": PARTS,
}
"""The first column of the table, and the test of each row."""


WORK: Final = """
import sys
from pathlib import Path
from keyturn.cli.environment import opened_workspace
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.settings.timing import DAYS
with opened_workspace(Path(sys.argv[1])) as workspace:
    for line in sys.stdin:
        verb, path = line.split()
        if verb == "rotate":
            print(rotate(workspace, path, Trigger.FORCE).state.value, flush=True)
        else:
            print("retired" if retire(workspace, path).retired else "held", flush=True)
"""
"""A worker that rotates or retires what it reads the name of."""


@contextmanager
def at_work(shell: Shell, catalogue: Path, clock: Path) -> Iterator[Callable[[str], str]]:
    """A worker in a process whose clock the file ``clock`` moves; what it says when it is asked to do something."""
    environment = shell.environment(catalogue, **jumping(clock))
    command = [sys.executable, "-c", WORK, str(catalogue)]
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        entrance, exit_ = process.stdin, process.stdout

        def ask(words: str) -> str:
            print(words, file=entrance, flush=True)
            return exit_.readline().strip()

        yield ask
        entrance.close()
        assert process.wait(60) == 0


@pytest.fixture
def shell(lab: Lab, tmp_path: Path) -> Shell:
    return Shell(lab, tmp_path)


@pytest.fixture(scope="module")
def skewed_database(world: World, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A PostgreSQL whose clock is hours ahead, with the admin account that the hub knows."""
    server = SkewedPostgreSQL(tmp_path_factory.mktemp("skewed-postgres"), free_port())
    server.start()
    try:
        password = server.superuser_password
        prepare_database(server.host, server.port, password, lab.admin()["password"].reveal(), secrets.token_hex(16))
        with Lab(dataclasses.replace(world, port=server.port, superuser_password=password)) as made:
            yield Database(server, made)
    finally:
        server.stop()
        server.remove()


def wrong_by(lab: Lab, off: timedelta) -> dict[str, str]:
    """A process's environment; the hub in clear, since its certificate is younger than a clock may be behind."""
    return {"VAULT_ADDR": f"http://127.0.0.1:{lab.world.hub_clear_port}", **skewed(off)}


def by(workspace: Workspace, off: timedelta) -> Workspace:
    """The same worker on a machine whose clock is wrong."""
    return replace(workspace, clock=lambda: datetime.now(UTC) + off)


def test_each_row_of_the_page_has_a_test() -> None:
    _, _, section = PAGE.read_text().partition("\n## Clocks\n")
    rows = re.findall(r"(?m)^\| ([^|]+) \| [^|]+ \|$", section.partition("\n## ")[0])
    assert rows[1:] == list(TESTED)
    for name in TESTED.values():
        module, _, function = name.rpartition(":")
        assert callable(getattr(import_module(module or __name__), function)), name


@pytest.mark.slow
@pytest.mark.parametrize("off", WRONG)
def test_a_window_is_open_by_the_hubs_clock(lab: Lab, shell: Shell, off: timedelta) -> None:
    """Open at the worker's time, and closed at the hub's; then the other way round."""
    shorter, longer = timedelta(minutes=6), timedelta(minutes=10)
    before, after = (shorter, longer) if off > timedelta() else (longer, shorter)
    seen = []
    for about in (off, timedelta()):
        middle = datetime.now(UTC) + about
        window = {
            "from": f"{middle - before:%H:%M}",
            "to": f"{middle + after:%H:%M}",
            "timezone": "UTC",
            "days": list(DAYS),
        }
        secret = lab.generated(window=window)
        lab.hub.patch_metadata(secret.path, {ROTATED_AT: "2020-01-01T00:00:00+00:00"})
        ended = shell.run(
            "rotate", secret.path, "--local", catalogue=shell.catalogue(secret), environment=wrong_by(lab, off)
        )
        described = lab.hub.describe(secret.path)
        assert described is not None
        assert ended.returncode in (0, 3), ended
        seen.append(described.version)
    assert seen == [1, 2]


@pytest.mark.slow
def test_a_certificate_that_the_clock_holds_for_future_is_reported_with_the_clock(lab: Lab, shell: Shell) -> None:
    secret = lab.generated()
    words = ("rotate", secret.path, "--now", "--local")
    ended = shell.run(*words, catalogue=shell.catalogue(secret), environment=skewed(timedelta(hours=-3)))
    assert ended.returncode == 1
    assert "Set this machine's clock. If it is right, the certificate is: issue it again" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("off", WRONG)
def test_a_clock_that_jumps_in_a_grace_moves_no_end_of_it(
    lab: Lab, shell: Shell, tmp_path: Path, off: timedelta
) -> None:
    """One process, whose clock jumps when the new credential is in force: forwards over the end, or backwards."""
    grace = timedelta(seconds=8)
    secret = lab.alternating(grace=f"{grace.total_seconds():.0f}s")
    catalogue = shell.catalogue(secret)
    clock = tmp_path / "clock"
    jump(clock, timedelta())
    with at_work(shell, catalogue, clock) as ask:
        assert ask(f"rotate {secret.path}") == "rotated"
        began = datetime.now(UTC)
        jump(clock, off)
        assert ask(f"retire {secret.path}") != "retired"
        assert lab.logs_in(secret.first)
        assert eventually(lambda: ask(f"retire {secret.path}") == "retired")
        lasted = datetime.now(UTC) - began
    assert grace - timedelta(seconds=2) < lasted < grace + LATENCY
    assert not lab.logs_in(secret.first)


@pytest.mark.slow
@pytest.mark.parametrize("off", WRONG)
def test_a_lease_of_the_hub_is_as_long_as_the_hub_says(lab: Lab, shell: Shell, off: timedelta) -> None:
    secret = lab.dynamic("24h", interval="6h")
    catalogue = shell.catalogue(secret)
    ended = shell.run("rotate", secret.path, "--now", "--local", catalogue=catalogue, environment=wrong_by(lab, off))
    assert ended.returncode in (0, 3), ended
    shown = shell.run("due", "--json", catalogue=catalogue, environment=wrong_by(lab, off))
    (row,) = json.loads(shown.stdout)["secrets"]
    life = datetime.fromisoformat(row["expires_at"]) - datetime.now(UTC)
    assert abs(life - timedelta(hours=24)) < timedelta(minutes=2)


@pytest.mark.parametrize("off", WRONG)
def test_access_lasts_as_long_as_was_asked_by_the_hubs_clock(lab: Lab, off: timedelta) -> None:
    site = given_site(lab, people_with_least_rights(lab), reader_role(lab))
    hour = timedelta(hours=1)
    request = site.approved(hour)
    grant = deliver_access(by(site.at_work("granter"), off), request.id)
    ends = datetime.fromisoformat(grant.ends_at)
    assert abs(ends - datetime.now(UTC) - hour) < timedelta(minutes=1)
    assert grant.place not in site.sweeper.sweep(by(site.at_work("granter"), off)).ended


def test_an_account_of_a_grant_ends_by_the_databases_own_clock(skewed_database: Database) -> None:
    lab = skewed_database.lab
    ((ahead,),) = lab.sql("SELECT extract(epoch FROM clock_timestamp())")
    assert abs(float(ahead) - datetime.now(UTC).timestamp() - SkewedPostgreSQL.off.total_seconds()) < 60
    owner, account, password = fresh(), fresh(), Sensitive(secrets.token_hex(16))
    lab.sql(f"CREATE ROLE {owner} NOLOGIN")
    lab.sql(f"GRANT {owner} TO {lab.admin()['username'].reveal()} WITH ADMIN OPTION")
    maker = GivenAccounts(lab.target(), (owner,), owner, "w")
    maker.make(account, "g", password, timedelta(hours=1))
    ((left,),) = lab.sql("SELECT rolvaliduntil - clock_timestamp() FROM pg_roles WHERE rolname = %s", account)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    login = {"username": account, "password": password.reveal()}
    assert lab.logs_in(login)
    maker.end(account, "g")
    maker.make(account, "h", password, timedelta(seconds=2))
    assert eventually(lambda: not lab.logs_in(login), 30)


def test_a_rotation_does_not_mind_a_database_whose_clock_is_wrong(skewed_database: Database) -> None:
    lab = skewed_database.lab
    secret = lab.alternating()
    workspace = lab.open(secret).workspace
    assert rotate(workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert lab.logs_in(lab.current(secret))


@pytest.mark.slow
def test_the_ledgers_order_is_that_of_its_numbers(lab: Lab, shell: Shell, tmp_path: Path) -> None:
    """Three machines in turn: one ahead, one far behind, one right."""
    secret, ledger = lab.generated(), {"KEYTURN_LEDGER": str(tmp_path / "ledger.db")}
    catalogue, began = shell.catalogue(secret), datetime.now(UTC) - LATENCY
    for off in (timedelta(minutes=10), timedelta(hours=-3), timedelta()):
        environment = {**ledger, **wrong_by(lab, off)}
        ended = shell.run("rotate", secret.path, "--now", "--local", catalogue=catalogue, environment=environment)
        assert ended.returncode in (0, 3), ended
    for command in ("checkpoint", "verify"):
        ended = shell.run("ledger", command, catalogue=catalogue, environment=ledger)
        assert ended.returncode == 0, ended
    shown = shell.run("history", secret.path, "--json", catalogue=catalogue, environment=ledger)
    rotations = json.loads(shown.stdout)["rotations"]
    assert sorted(rotation["version"] for rotation in rotations) == [2, 3, 4]
    times = [rotation["promoted_at"] for rotation in sorted(rotations, key=lambda rotation: rotation["version"])]
    assert times == sorted(times)
    assert all(began < datetime.fromisoformat(time) < datetime.now(UTC) + LATENCY for time in times)
