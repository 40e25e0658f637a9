"""A revocation while the database or the hub is down: one error, and the commands that end the accounts by hand."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keyturn.catalogue import Catalogue
from keyturn.catalogue.manual_commands import manual_commands
from keyturn.cli.app import app
from tests.crash.kinds import Kind
from tests.crash.site import Site
from tests.faults.by_hand import disable_by_hand, opened
from tests.faults.operators import Case
from tests.faults.servers import Database
from tests.support.lab import Declared, Lab, catalogue_data

runner = CliRunner()


pytestmark = pytest.mark.sampled(3, of="file")


@dataclass(frozen=True)
class Shell:
    """A shell with the card's variables, and one secret at a database that may be stopped."""

    database: Database
    secret: Declared

    def revoke(self, *arguments: str) -> Result:
        return runner.invoke(app, ("revoke", *arguments))


def write_catalogue(directory: Path, lab: Lab, secret: Declared) -> Path:
    """The files of a catalogue of this secret, without stores."""
    data = catalogue_data(lab.world, (secret,), {}, {})
    entry = {name: value for name, value in secret.data.items() if name not in ("path", "destinations", "consumers")}
    directory.mkdir()
    (directory / "all.yaml").write_text(json.dumps({"targets": data["targets"], "secrets": {secret.path: entry}}))
    return directory


@pytest.fixture
def shell(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "AWS_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    secret = database.lab.alternating()
    for name, value in {
        "VAULT_ADDR": database.lab.world.hub_address,
        "VAULT_TOKEN": database.lab.world.hub_token,
        "KEYTURN_CATALOGUE": str(write_catalogue(tmp_path / "catalogue", database.lab, secret)),
        "KEYTURN_HOME": str(tmp_path / "no-stack"),
        "PREFECT_HOME": str(tmp_path / "no-prefect"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "KEYTURN_LEDGER": str(tmp_path / "ledger.db"),
        "COLUMNS": "160",
    }.items():
        monkeypatch.setenv(name, value)
    return Shell(database, secret)


def assert_shows_commands(shell: Shell, result: Result) -> None:
    """Target, host, port, both accounts, and what disables them."""
    world = shell.database.lab.world
    assert f"pg (postgresql at {world.host}:{world.port}, database" in result.stderr
    for user in shell.secret.users:
        assert f'ALTER ROLE "{user}" NOLOGIN;' in result.stderr
        assert f"pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'" in result.stderr
    assert result.stderr.count("END IT BY HAND NOW") == 1
    assert shell.secret.first["password"] not in result.output


def test_with_the_database_down_one_cause_is_reported_once_with_the_commands(shell: Shell) -> None:
    shell.database.down()
    result = shell.revoke(shell.secret.path, "--reason", "leaked", "--incident", f"DOWN-{shell.secret.path[-6:]}")
    assert result.exit_code == 1
    assert_shows_commands(shell, result)
    assert "(KT107)" in result.stderr
    assert "its credential is not ended yet" not in result.output
    (left,) = [line for line in result.stdout.splitlines() if "still to do" in line]
    assert "cut: the server does not answer" in left


def test_an_incident_that_is_resumed_shows_the_commands_until_the_database_is_back(shell: Shell) -> None:
    incident = f"BACK-{shell.secret.path[-6:]}"
    shell.database.down()
    assert shell.revoke(shell.secret.path, "--reason", "leaked", "--incident", incident, "--local").exit_code == 1
    assert_shows_commands(shell, shell.revoke("--resume", incident, "--local"))
    shell.database.up()
    result = shell.revoke("--resume", incident, "--local")
    assert (result.exit_code, "END IT BY HAND" in result.stderr) == (0, False), result.output
    assert not shell.database.lab.logs_in(shell.secret.first)


@pytest.mark.parametrize("more", [(), ("--preview",), ("--local",)])
def test_with_the_hub_down_the_commands_come_from_the_catalogue_on_disk(
    shell: Shell, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    result = shell.revoke(shell.secret.path, "--reason", "leaked", *more)
    assert result.exit_code == 1
    assert_shows_commands(shell, result)
    assert "the hub does not answer" in result.stderr
    assert "(KT108)" in result.stderr
    assert shell.database.lab.logs_in(shell.secret.first)


@pytest.mark.parametrize(
    "name", ["alternating-users, PostgreSQL", "alternating-users, MariaDB", "redis-acl"], ids=lambda name: name
)
def test_after_the_commands_the_old_credential_is_refused_and_its_sessions_are_gone(
    site: Site, kinds: dict[str, Kind], name: str
) -> None:
    case = Case.of(site, kinds[name])
    with opened(case) as works:
        assert works()
        disable_by_hand(case)
        assert not works()
    assert not case.lives(case.known[0])
    assert not case.revoke().open
    case.assert_right()


AWKWARD = "o'b\"r\\ien;--"


def commands_for(rotation: dict[str, object], target: dict[str, object]) -> tuple[str, ...]:
    """The lines for one secret at this target."""
    about = {"owner": "a@example.com", "classification": "internal", "path": "app/db"}
    timing = {"interval": "30d", "grace": "0s", "target": "t"}
    declared = {"app/db": {**about, "rotation": {**timing, **rotation}}}
    return manual_commands(Catalogue.model_validate({"targets": {"t": target}, "secrets": declared}), "app/db").lines


def test_every_kind_of_account_has_commands_with_its_own_quoting() -> None:
    server = {"host": "db.test", "admin": "targets/t"}
    single = {"strategy": "single-user", "user": AWKWARD, "accepts_gap": True}
    postgresql = commands_for(single, {"kind": "postgresql", "database": "app", **server})
    assert postgresql[0] == 'ALTER ROLE "o\'b""r\\ien;--" NOLOGIN;'
    assert postgresql[1].endswith("usename = 'o''b\"r\\ien;--';")
    mysql = commands_for(single, {"kind": "mysql", "database": "app", **server})
    assert mysql[0].endswith("WHERE User = 'o''b\"r\\\\ien;--';")
    redis = commands_for({"strategy": "redis-acl", "user": AWKWARD}, {"kind": "redis", **server})
    assert redis[0] == 'ACL SETUSER "o\'b\\"r\\\\ien;--" resetpass'
    (aws,) = commands_for({"strategy": "aws-iam-key", "user": "ml"}, {"kind": "aws-iam", "profile": "a b"})
    assert "aws --profile 'a b' iam update-access-key --user-name ml" in aws
    assert "--status Inactive" in aws
