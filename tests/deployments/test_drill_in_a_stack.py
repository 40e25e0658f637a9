"""Drills against the services of a real stack: what they show, what they leave alone, and that nothing is left."""

import dataclasses
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import typer

from keyturn.catalogue import load_catalogue
from keyturn.cli.local_stack import FOREIGN
from keyturn.core.errors import Unavailable
from keyturn.core.ports.ledger import Outcome
from keyturn.core.sensitive import SecretFields
from keyturn.ledger.entries import parse_leaf
from keyturn.providers.vault.hub import VaultHub
from keyturn.revocation import run as engine
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.state.context import Workspace
from keyturn.settings.hub import HubSettings
from keyturn.wiring.registry import open_workspace
from local import drill_command as shown
from local import environment
from local.drill import Asked, Drilled, accounts, drill, removal, run
from local.drill.kept import directory
from local.drill.proof import found
from local.home import Stack, locked, opened_or_made
from local.prepare import CONSUMERS, REVOKER, WORKER, hub_of, prepare
from local.services import SERVICES
from local.stack import quiet, remove, up
from local.support.files import write_private
from tests.cli.command import SCRIPT, one_line, run_keyturn, surroundings

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

NEEDED = ("openbao", "postgres", "aws", "azure", "gcp", "kubernetes")
DATABASE = "ml-training/database"
KEYS = "ml-training/api-keys"
PATH = "more/secret"

MORE = """
stores:
  second: {{ kind: vault, address: "https://vault.example.com", token_file: /run/none }}
  files: {{ kind: file, directory: {files} }}
targets:
  mine: {{ kind: mysql, host: db.example.com, database: app, admin: targets/mine }}
secrets:
  more/secret:
    owner: tests@example.com
    classification: internal
    rotation: {rotation}
    destinations: {destinations}
"""


@dataclass(frozen=True)
class Site:
    """A stack with the example's secrets and their copies, and the Keyturn that a command would open on it."""

    stack: Stack
    catalogue: Path
    workspace: Workspace

    def drill(self, path: str, mode: Mode = Mode.REPLACE) -> tuple[Drilled, list[str]]:
        """One drill, and what was said meanwhile."""
        said = list[str]()
        return drill(self.workspace, self.stack, Asked(path, mode, "", Consent(1)), said.append), said

    def declaring(self, place: Path, rotation: str, destinations: str = "[]") -> "Site":
        """The same stack with one more secret in the catalogue."""
        place.mkdir()
        for file in self.catalogue.glob("*.yaml"):
            (place / file.name).write_text(file.read_text())
        text = MORE.format(files=place.with_name("real"), rotation=rotation, destinations=destinations)
        (place / "more.yaml").write_text(text)
        declared = dataclasses.replace(self.workspace, catalogue=load_catalogue(place, os.environ))
        return Site(self.stack, place, declared)

    def everything(self) -> dict[str, Any]:
        """The names of all that there is."""
        hub = hub_of(self.stack).client
        with accounts.superuser(self.stack) as cursor:
            cursor.execute("SELECT rolname FROM pg_roles")
            roles = {name for (name,) in cursor.fetchall()}
        listed = {name: self.workspace.open_store(name).list_all() for name in STORES}
        state = set(below(hub, "keyturn", "")) - {"fingerprint-key"}
        return {
            "accounts": roles,
            "secrets": set(below(hub, "secret", "")),
            "state": {entry for entry in state if not entry.startswith("ledgers/")},
            "engine": [hub.list(f"database/{kind}") and hub.list(f"database/{kind}")["data"] for kind in ROLES],
            "leases": self.workspace.hub.leases("database/creds"),
            "copies": {name: {(one.name, one.version_id) for one in copies} for name, copies in listed.items()},
            "files": sorted(directory(self.stack).glob("*")),
        }


STORES = ("aws", "azure", "gcp", "cluster", "parameters")
ROLES = ("roles", "static-roles")


def below(hub: Any, mount: str, folder: str) -> Iterator[str]:
    """Every entry of a mount, with its newest version."""
    found = hub.secrets.kv.v2.list_secrets(folder, mount_point=mount)["data"]["keys"]
    for name in found:
        path = f"{folder}/{name}".strip("/")
        if name.endswith("/"):
            yield from below(hub, mount, path)
        else:
            yield f"{path}@{hub.secrets.kv.v2.read_secret_metadata(path, mount_point=mount)['data']['current_version']}"


def fill(stack: Stack) -> None:
    """What `keyturn up` does, without Prefect."""
    hub, pg = hub_of(stack), stack.database
    prepare(hub, pg.host, pg.port, pg.superuser_password, CONSUMERS, environment.ca_file(stack))
    for role in (WORKER, REVOKER):
        login, (role_id, secret_id) = stack.login_files(role), hub.login_of(role)
        write_private(login.role_id, role_id)
        write_private(login.secret_id, secret_id)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("drills") / "home"
    with locked(home, quiet):
        opened_or_made(home, [service.name for service in SERVICES if service.listens])
    made = up(home, lambda stack: None, services=[service for service in SERVICES if service.name in NEEDED])
    fill(made)
    yield made
    remove(home)


@pytest.fixture(scope="module")
def site(stack: Stack) -> Iterator[Site]:
    """The example's secrets, with copies in every store, and the environment that leads to them."""
    catalogue = environment.ROOT / "deployments" / "catalogue"
    with pytest.MonkeyPatch.context() as patch:
        foreign = [name for name in os.environ if name.startswith(FOREIGN) and name != "KEYTURN_POLICY"]
        for name in foreign:
            patch.delenv(name)
        for name, value in environment.revoker(stack).items():
            patch.setenv(name, value)
        hub = VaultHub(HubSettings.from_environment())
        workspace = open_workspace(load_catalogue(catalogue, os.environ), hub)
        for path in (DATABASE, KEYS):
            assert all(one.in_step for one in sync_destinations(workspace, path))
        directory(stack).mkdir()
        yield Site(stack, catalogue, workspace)
        hub.close()


# --- the whole of it


def test_a_drill_shows_how_long_it_takes_touches_nothing_real_and_leaves_nothing(site: Site) -> None:
    before = site.everything()
    drilled, said = site.drill(DATABASE)
    assert site.everything() == before
    assert (drilled.proven, drilled.found, drilled.kept, drilled.strategy) == (True, (), (), "alternating-users")
    seconds = drilled.seconds
    assert all(seconds[name] for name in ("refused", "session", "application", "clear"))
    (one,) = drilled.standing.secrets
    assert (one.path, one.sessions > 0) == (f"drills/{drilled.names.id}/secret", True)
    assert {1, 2} <= {old.version for old in one.old}
    assert len([place for place in shown.copies(drilled) if place.removed_seconds]) == 6
    assert any("trainer, inference: not notified" in line for line in drilled.differs)
    assert drilled.standing.incident.id == drilled.names.incident
    assert drilled.names.incident in said[0]


def test_the_ledger_tells_of_it_like_of_any_incident(site: Site) -> None:
    drilled, _ = site.drill(KEYS)
    ledger: Any = site.workspace.ledger
    entries = [parse_leaf(leaf).entry for _, leaf in ledger.leaves()]
    ours = [entry for entry in entries if drilled.names.incident in entry.note]
    about = [(entry.action, entry.secret, entry.outcome) for entry in ours]
    for action in ("open incident", "close incident", "remove drill"):
        assert (action, "", Outcome.DONE) in about
    assert ("cut", drilled.names.secret, Outcome.DONE) in about
    assert about[0] == ("drill", KEYS, Outcome.BEGUN)
    assert about[-1] == ("drill", KEYS, Outcome.DONE)
    assert ours[-1].note == f"{drilled.names.incident}; proven"


def test_nobody_finds_the_incident_open_while_it_is(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[list[Any]]()

    def looked_at(workspace: Workspace, incident: str) -> IncidentStatus:
        seen.append([incident_store.list_open(site.workspace), list(site.workspace.hub.list_state("incidents"))])
        assert [one.id for one in incident_store.list_open(workspace)] == [incident]
        return engine.finish(workspace, incident)

    monkeypatch.setattr(run, "finish", looked_at)
    assert site.drill(KEYS)[0].proven
    assert seen == [[[], []]]


def test_nothing_of_a_value_is_told(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    values = set[str]()

    def watched(workspace: Workspace, known: Any, leaked: Any, tries: Any) -> Any:
        values.update(version.fields["password"].reveal() for version in leaked)
        values.add(workspace.hub.read(known.path).fields["password"].reveal())  # type: ignore[union-attr]
        return found(workspace, known, leaked, tries)

    monkeypatch.setattr(run, "found", watched)
    monkeypatch.setenv("COLUMNS", "80")
    drilled, said = site.drill(DATABASE)
    shown.tell_times(drilled)
    tables = capsys.readouterr().out
    told = [tables, json.dumps(shown.data(drilled)), repr(drilled), *said]
    assert len(values) == 3
    assert not [value for value in values if any(value in text for text in told)]
    assert max(map(len, tables.splitlines())) <= 80


# --- other secrets, another mode

STRATEGIES = {
    "single-user": "{strategy: single-user, target: ml-postgres, user: other, accepts_gap: true, interval: 30d, "
    "grace: 0s}",
    "vault-dynamic": "{strategy: vault-dynamic, target: ml-postgres, role: ml-reader, interval: 14d, grace: 1d}",
    "vault-static-role": "{strategy: vault-static-role, target: ml-postgres, role: some, accepts_gap: true, "
    "interval: 14d, grace: 0s}",
    "generated": "{strategy: generated, fields: {key: {form: hex, length: 16}}, interval: 14d, grace: 1h}",
}
STAND_INS = {
    "manual": ("{strategy: manual}", "manual is not drilled itself"),
    "signing-key": (
        "{strategy: signing-key, interval: 14d, grace: 1d}",
        "signing-key is not drilled",
    ),
    "mysql": (
        "{strategy: single-user, target: mine, user: a, keeps_old_password: true, interval: 1d, grace: 1h}",
        "its target mine is mysql",
    ),
}
PLACES = "[{store: files, name: a}, {store: second, name: a}, {store: gcp, name: a-b, template: 'x {nothing}'}]"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_that_the_stack_has_a_target_for_are_drilled_for_real(
    site: Site, tmp_path: Path, strategy: str
) -> None:
    before = site.everything()
    drilled, _ = site.declaring(tmp_path / "catalogue", STRATEGIES[strategy]).drill(PATH)
    assert (drilled.strategy, drilled.proven, drilled.kept) == (strategy, True, ())
    assert drilled.held is (strategy != "generated")
    assert drilled.seconds["refused"] is not None
    assert site.everything() == before


@pytest.mark.parametrize("case", STAND_INS)
def test_of_others_two_accounts_stand_in_and_it_is_said(site: Site, tmp_path: Path, case: str) -> None:
    rotation, said = STAND_INS[case]
    before, place = site.everything(), tmp_path / "catalogue"
    drilled, _ = site.declaring(place, rotation, PLACES).drill(PATH)
    assert (drilled.strategy, drilled.proven, drilled.kept) == ("alternating-users", True, ())
    differs = "\n".join(drilled.differs)
    assert said in differs
    assert "the local stack has no vault" in differs
    assert "the copy in gcp is the whole secret" in differs
    assert site.everything() == before
    assert not place.with_name("real").exists()


def test_without_a_replacement_everybody_stays_out(site: Site) -> None:
    before = site.everything()
    for path in (DATABASE, KEYS):
        drilled, _ = site.drill(path, Mode.REVOKE_ONLY)
        assert (drilled.proven, drilled.standing.secrets[0].version) == (True, 0)
    assert site.everything() == before


# --- what goes wrong


def test_what_is_left_is_told_and_ends_with_3(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(engine, "PAUSES", ())
    before, places = site.everything(), "[{store: gcp, name: n, update: create-only}]"
    drilled, _ = site.declaring(tmp_path / "catalogue", STRATEGIES["generated"], places).drill(PATH)
    copy = f"gcp:{drilled.names.copy('gcp-secret-manager', 1)}"
    assert drilled.found == (f"{copy}: still serves a leaked value",)
    assert (drilled.proven, drilled.kept) == (False, ())
    assert site.everything() == before
    with pytest.raises(typer.Exit) as ended:
        shown.show_drill(drilled, [], as_json=False)
    assert ended.value.exit_code == 3
    said = capsys.readouterr()
    assert "still serves a leaked" in said.out
    assert said.err.startswith(f"error: drill {PATH}: ")


@pytest.mark.parametrize("how", [Unavailable("cut", "it", "it does not answer"), KeyboardInterrupt()])
def test_a_drill_that_fails_or_is_interrupted_leaves_nothing(
    site: Site, how: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise how

    before = site.everything()
    monkeypatch.setattr(run, "finish", broken)
    with pytest.raises(type(how)):
        site.drill(DATABASE)
    assert site.everything() == before


def test_what_a_killed_drill_has_left_the_next_one_removes(site: Site) -> None:
    before = site.everything()
    env = surroundings(site.stack.home)
    command = [*SCRIPT, "revoke", DATABASE, "--drill", "--catalogue", str(site.catalogue)]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line.startswith("revoking it") for line in process.stderr)
        os.kill(process.pid, signal.SIGKILL)
    left = site.everything()
    assert left["accounts"] > before["accounts"]
    assert left["secrets"] > before["secrets"]
    assert all(left["copies"][store] > before["copies"][store] for store in STORES)
    (file,) = left["files"]
    drilled, said = site.drill(KEYS)
    assert drilled.proven
    assert said[0] == f"removing what DRILL-{file.stem} has left, which did not come to its end"
    assert site.everything() == before


def test_what_can_not_be_removed_is_told_and_the_next_drill_removes_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise psycopg2.OperationalError("password=s3cr3t")

    before = site.everything()
    with monkeypatch.context() as patch:
        patch.setattr(removal, "drop_accounts", away)
        drilled, said = site.drill(DATABASE)
    assert (drilled.proven, drilled.kept) == (True, ("accounts in the database: OperationalError",))
    assert said[-1] == "NOT REMOVED accounts in the database: OperationalError; the next drill tries again"
    assert site.everything()["accounts"] > before["accounts"]
    with pytest.raises(typer.Exit) as ended:
        shown.show_drill(drilled, [], as_json=True)
    assert ended.value.exit_code == 3
    site.drill(KEYS)
    assert site.everything() == before


def test_who_is_still_let_in_is_told_before_anything_else(site: Site) -> None:
    drilled, _ = site.drill(KEYS)
    assert "STILL ACCEPTED" in shown.drill_failure(dataclasses.replace(drilled, refused_at=None))
    assert "IS STILL OPEN" in shown.drill_failure(dataclasses.replace(drilled, held=True))
    assert not dataclasses.replace(drilled, held=True).proven
    assert not accounts.accepted(site.stack, SecretFields({"username": "nobody", "password": "wrong"}))


# --- the command


def test_the_command_writes_the_report_and_says_what_it_did(site: Site, tmp_path: Path) -> None:
    env = surroundings(site.stack.home, XDG_STATE_HOME=str(tmp_path), COLUMNS="80")
    arguments = ("drill", KEYS, "--catalogue", str(site.catalogue))
    done = run_keyturn(*arguments, "--json", env=env)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["path"], told["proven"], told["left"]) == (KEYS, True, [])
    assert [Path(file).name for file in told["reports"]] == [f"{told['id']}.html", f"{told['id']}.json"]
    report = json.loads(Path(told["reports"][1]).read_text())
    assert report["incident"]["reason"] == f"a drill of {KEYS}"
    # No notary is at work here, and no other login signs.
    assert report["ledger"]["checkpoint"] == ""
    assert "the ledger's next checkpoint covers it" in done.stderr
    assert any(reader["principal"] for reader in report["readers"]["principals"])
    people = run_keyturn(*arguments, env={**env, "VAULT_ADDR": site.stack.hub.address})
    assert people.returncode == 0, people.stderr
    assert people.stdout.startswith(f"drill of {KEYS}")
    assert people.stderr.splitlines()[-1].endswith("is over: all of it is proven, and nothing of it is left")
    listed = run_keyturn("incidents", "--json", "--catalogue", str(site.catalogue), env=env)
    assert json.loads(listed.stdout) == {"incidents": [], "unreviewed": []}


def test_a_drill_runs_on_the_local_stack_alone(site: Site, tmp_path: Path) -> None:
    arguments = ("drill", KEYS, "--catalogue", str(site.catalogue))
    elsewhere = surroundings(site.stack.home, VAULT_ADDR="http://127.0.0.1:9")
    one_line(run_keyturn(*arguments, env=elsewhere), "VAULT_ADDR points to http://127.0.0.1:9", "Unset VAULT_ADDR")
    one_line(run_keyturn(*arguments, env=surroundings(tmp_path / "none")), "no local stack", "keyturn up")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ml-training/*"],
        [DATABASE, KEYS],
        ["--owner", "a@example.com"],
        [DATABASE, "--store", "aws"],
        [DATABASE, "--preview"],
        [DATABASE, "--incident", "INC-1"],
        ["--resume", "INC-1"],
    ],
)
def test_a_drill_is_of_one_secret_and_stands_alone(tmp_path: Path, arguments: list[str]) -> None:
    done = run_keyturn("revoke", "--drill", *arguments, env=surroundings(tmp_path / "none"))
    assert done.returncode == 2
    assert "--drill is for one PATH" in " ".join(done.stderr.split()).replace("│ ", "")


@pytest.mark.parametrize("arguments", [[], ["ml-training/*"], [DATABASE, KEYS], [DATABASE, "--preview"]])
def test_the_command_drill_takes_one_secret_and_nothing_that_only_a_real_revocation_has(
    tmp_path: Path, arguments: list[str]
) -> None:
    assert run_keyturn("drill", *arguments, env=surroundings(tmp_path / "none")).returncode == 2
