"""`keyturn doctor` names the missing part of an installation, and passes once it is fixed."""

import dataclasses
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from keyturn.catalogue import Catalogue
from keyturn.catalogue.operator.policy import OperatorsPolicy
from keyturn.cli.app import app
from keyturn.core.errors import Denied, Unavailable
from keyturn.core.rights.posture import Posture, Safety, could_not_look
from keyturn.core.rights.rights import HubPlaces
from keyturn.core.rotation_record import Record, Rotation, Stage
from keyturn.core.sensitive import Sensitive
from keyturn.doctor.examine import examine
from keyturn.doctor.ledger import signed_lately
from keyturn.doctor.parts import excuse_other_granter
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade
from keyturn.doctor.targets import check_targets
from keyturn.providers.files.backup_directory import BackupDirectory
from keyturn.providers.vault.hub import VaultHub
from keyturn.recovery.manifests import SUFFIX
from keyturn.rights.hub_check import LAST, HubCheck
from keyturn.rights.scope import scope_of
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import save
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.wiring.registry import open_workspace
from tests.support.consumer import Consumer
from tests.support.hooks import Hooked, Replaced, raising
from tests.support.lab import Lab, catalogue_data, fresh
from tests.support.memory_store import MemoryStore
from tests.support.rest_api import RestApi

STORE = {"kind": "azure-key-vault", "vault_url": "https://keyturn.vault.azure.net"}
runner = CliRunner()


class Installation:
    """A catalogue of one secret with a target, a store in memory and a consumer that listens."""

    def __init__(self, lab: Lab, consumer: Consumer) -> None:
        self.lab, self.consumer, self.store = lab, consumer, MemoryStore("memory")
        self.secret = lab.alternating()
        listens = {"app": {"url": consumer.url, "signing_key": consumer.signing_key, "timeout": "5s"}}
        self.data: dict[str, Any] = catalogue_data(lab.world, (self.secret,), STORE, listens)

    def open(self, **changes: Any) -> Workspace:
        made = open_workspace(Catalogue.model_validate(self.data), self.lab.hub)
        return dataclasses.replace(made, **{"open_store": lambda _: self.store, **changes})

    def results(self, area: str, role: str = "worker", **changes: Any) -> list[CheckResult]:
        """What comes of the checks of one area."""
        diagnosis = examine(self.patient(role, **changes))
        return [result for result in diagnosis.results if result.area == area]

    def patient(self, role: str = "worker", **changes: Any) -> Patient:
        workspace = self.open(**changes)
        places = HubPlaces("secret", "keyturn", "transit", HubPlaces.lease_token_role, {})
        return Patient(workspace, scope_of(workspace.catalogue, places, [], []), role)


@pytest.fixture(scope="module")
def consumer(lab: Lab) -> Iterator[Consumer]:
    key, path = f"whsec_{secrets.token_hex(24)}", f"webhooks/{fresh()}"
    lab.keep(path, {"key": key})
    with Consumer(Sensitive(key), path) as listening:
        yield listening


@pytest.fixture
def installed(lab: Lab, consumer: Consumer) -> Installation:
    return Installation(lab, consumer)


def grades(results: list[CheckResult]) -> list[Grade]:
    return [result.grade for result in results]


def test_what_works_is_well(installed: Installation) -> None:
    places = {"secret": "1 of 1", "store": "memory", "target": "pg", "consumer": "app"}
    assert {area: [(r.name, r.grade) for r in installed.results(area)] for area in places} == {
        area: [(name, Grade.WELL)] for area, name in places.items()
    }
    rights, root, clock = installed.results("hub")
    assert (rights.grade, root.grade, clock.grade) == (Grade.WELL, Grade.ADVICE, Grade.WELL)
    assert root.words == "has more than it needs: root on *"


def test_a_login_without_rights_is_told_what_it_lacks_and_for_what(
    installed: Installation, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = lab.root.auth.token.create(policies=["default"], ttl="10m")["auth"]["client_token"]
    monkeypatch.setenv("POOR_TOKEN", token)
    settings = HubSettings(lab.world.hub_address, ca_file=lab.world.hub_ca, login=TokenLogin("POOR_TOKEN"))
    with closing(VaultHub(settings)) as hub:
        results = installed.results("hub", hub=hub)
    lacking = [result for result in results if result.grade is Grade.FAILED]
    assert any(f"read on secret/data/{installed.secret.path}" in result.words for result in lacking), results
    assert {result.remedy for result in lacking} == {
        "An administrator runs `keyturn setup hub --apply`, which writes the policy for a worker: after each change to "
        "the catalogue"
    }


def test_a_clock_that_is_wrong_is_found(installed: Installation) -> None:
    hub = Replaced(installed.lab.hub, clock_ahead=lambda: timedelta(minutes=4))
    clock = next(result for result in installed.results("hub", hub=hub) if result.name == "clock")
    assert (clock.grade, clock.words) == (Grade.FAILED, "this machine's clock is 240 s behind the hub's")


def test_a_hub_that_is_not_set_up_as_declared_is_found(installed: Installation, lab: Lab) -> None:
    installed.data["hub"] = {"hub-check": {"kind": "approle", "login": "planner"}}
    check = HubCheck(lab.hub.now(), 3, differing=("changed policy/keyturn-worker (policy)",))
    for state, grade in ((check, Grade.FAILED), (HubCheck(lab.hub.now(), 3), Grade.WELL)):
        lab.keep(LAST, state.to_data())
        *_, setup = installed.results("hub")
        assert (setup.name, setup.grade, setup.words) == ("set-up", grade, state.words)
    lab.keep(LAST, HubCheck(lab.hub.now() - timedelta(days=4), 3).to_data())
    *_, late = installed.results("hub")
    assert late.words == "whether the hub is set up as declared was not checked for 2 d 2 h"


def test_a_secret_that_was_deleted_is_found_and_one_that_was_never_made_is_advice(installed: Installation) -> None:
    unmade = f"tests/{fresh()}"
    installed.data["secrets"][unmade] = {**installed.secret.data, "path": unmade}
    installed.data["secrets"][unmade]["rotation"] = {"strategy": "manual"}
    installed.lab.hub.delete(installed.secret.path, [1])
    assert {(r.name, r.grade) for r in installed.results("secret")} == {
        (installed.secret.path, Grade.FAILED),
        (unmade, Grade.ADVICE),
    }


def test_a_store_that_does_not_answer_is_unknown_and_no_other_check_stops(installed: Installation) -> None:
    down: Any = Hooked(installed.store, describe=raising(Unavailable("describe", "memory:x", "no answer", "See it")))
    (store,) = installed.results("store", open_store=lambda _: down)
    assert (store.grade, store.words, store.remedy) == (
        Grade.UNKNOWN,
        "describe memory:x: no answer",
        "See it",
    )
    refused: Any = Hooked(installed.lab.hub, capabilities=raising(Denied("ask for the rights on", "the hub", "denied")))
    assert grades(installed.results("hub", hub=refused))[0] is Grade.UNKNOWN


class Telling(MemoryStore):
    """One that tells how safely it keeps copies, until it no longer answers."""

    def posture(self, remotes: Sequence[str]) -> Iterator[Posture]:
        yield Posture("replication", Safety.BROKEN, f"not in sync: {len(remotes)}", "See it")
        yield could_not_look("roles", "vaults/read")
        raise Unavailable("look at", "memory", "no answer", "See it")


def test_a_store_tells_how_safely_it_keeps_copies_and_what_nobody_may_see_holds_nobody_up(
    installed: Installation,
) -> None:
    _, *postures = installed.results("store", open_store=lambda _: Telling("memory"))
    assert [(r.name, r.grade) for r in postures] == [
        ("memory: replication", Grade.FAILED),
        ("memory: roles", Grade.ADVICE),
        ("memory: posture", Grade.ADVICE),
    ]
    assert postures[1].words == "could not look: needs vaults/read"
    assert "no answer" in postures[2].words


def test_a_target_says_what_its_admin_lacks_and_the_statements_mend_it(installed: Installation, lab: Lab) -> None:
    admin, password, path = fresh(), secrets.token_urlsafe(12), f"targets/{fresh()}"
    lab.sql(f"CREATE ROLE {admin} LOGIN PASSWORD '{password}'")
    lab.keep(path, {"username": admin, "password": password})
    installed.data["targets"]["pg"]["admin"] = path
    lacking = installed.results("target")
    statements = [result.remedy.removeprefix("Run there: ") for result in lacking]
    assert set(grades(lacking)) == {Grade.FAILED}
    assert statements[:2] == [f"ALTER ROLE {admin} CREATEROLE", f"GRANT pg_signal_backend TO {admin}"]
    assert f"GRANT {installed.secret.users[0]} TO {admin} WITH ADMIN OPTION" in statements
    for statement in statements:
        lab.sql(statement)
    assert grades(installed.results("target")) == [Grade.WELL]


def test_an_admin_of_grants_says_what_it_lacks_and_the_statements_mend_it(installed: Installation, lab: Lab) -> None:
    admin, reader, owner, password = fresh(), fresh(), fresh(), secrets.token_urlsafe(12)
    path = f"grant-admins/{fresh()}"
    lab.sql(f"CREATE ROLE {reader}; CREATE ROLE {owner}; CREATE ROLE {admin} LOGIN PASSWORD '{password}'")
    lab.keep(path, {"username": admin, "password": password})
    installed.data["grants"] = {"readers": {"target": "pg", "admin": path, "roles": [reader], "owner": owner}}
    lacking = installed.results("grant", role="revoker")
    assert set(grades(lacking)) == {Grade.FAILED}
    statements = [result.remedy.removeprefix("Run there: ") for result in lacking]
    assert f"GRANT {owner} TO {admin}" in statements
    for statement in statements:
        lab.sql(statement)
    assert grades(installed.results("grant", role="revoker")) == [Grade.WELL]
    assert installed.results("grant") == []


def test_a_secret_for_drills_on_which_none_was_made_is_advice(installed: Installation) -> None:
    tried = "drills/canary"
    installed.data["secrets"][tried] = {**installed.secret.data, "path": tried, "drill": "30d"}
    (never,) = installed.results("drill")
    assert (never.name, never.grade, never.words) == (tried, Grade.ADVICE, "revocation was never tried on it")


def test_a_target_that_refuses_the_admin_is_unknown_with_the_remedy(installed: Installation, lab: Lab) -> None:
    path = f"targets/{fresh()}"
    lab.keep(path, {"username": "nobody_of_that_name", "password": "wrong"})
    installed.data["targets"]["pg"]["admin"] = path
    (refused,) = installed.results("target")
    assert (refused.grade, "refused" in refused.words) == (Grade.UNKNOWN, True)
    assert list(check_targets(Patient(dataclasses.replace(installed.open(), catalogue=Catalogue()), None))) == []  # type: ignore[arg-type]


KEY = {
    "strategy": "http-api-key",
    "target": "api",
    "interval": "30d",
    "grace": "1h",
    "create": {"path": "/keys", "body": {"name": "{{path}}", "org": "{{admin.org}}"}},
    "answer": {"id": "/id", "key": "/key"},
    "test": {"path": "/whoami", "headers": {"x-api-key": "{{key}}"}},
    "delete": {"path": "/keys/{{id}}"},
    "list": {"path": "/keys", "id": "/id", "where": {"/name": "{{path}}"}},
}


def test_an_api_is_ready_with_its_admins_entry_an_answer_and_a_rotation(installed: Installation, lab: Lab) -> None:
    key, admin = f"apis/{fresh()}", f"targets/{fresh()}"
    installed.data["secrets"][key] = {**installed.secret.data, "path": key, "rotation": KEY}

    def looked() -> tuple[Grade, str, str]:
        (result,) = (each for each in installed.results("target") if each.name == "api")
        return result.grade, result.words, result.remedy

    with RestApi() as server:
        headers = {"authorization": "Bearer {{admin.token}}"}
        api = {"kind": "http-api", "url": server.url, "admin": admin, "headers": headers}
        installed.data["targets"]["api"] = api
        missing = f"Write token and org to {admin} in Keyturn's own mount of the hub"
        assert looked() == (Grade.FAILED, "the admin credential of target api is not there", missing)
        lab.keep(admin, {"token": "a token"})
        assert looked() == (Grade.FAILED, "the admin credential of target api lacks a field", "Write org")
        lab.keep(admin, {"token": "a token", "org": "ours"})
        grade, words, remedy = looked()
        assert (grade, "could not be looked at" in words) == (Grade.ADVICE, True)
        assert f"`keyturn rotate {key} --now`" in remedy
        place = server.url.removeprefix("http://")
        for url, problem in (
            ("https://keyturn.invalid", "the name keyturn.invalid can't be resolved"),
            (f"https://{place}", "it speaks no TLS at that port"),
        ):
            installed.data["targets"]["api"] = {**api, "url": url}
            assert looked()[:2] == (Grade.UNKNOWN, f"reach api: {problem}")
        installed.data["targets"]["api"] = api
        past = Rotation("token", 1, Stage.RETIRED, "http-api-key", "TooOld", "host/1/1", lab.hub.now(), 0, version=1)
        save(installed.open(), key, Record(), past)
        assert looked() == (Grade.WELL, "it answers, and has rotated before; rights can't be listed", "")


def test_serve_or_a_worker_is_enough_for_temporary_access() -> None:
    part = CheckResult("part", "grants", Grade.FAILED, "does not run", "Start it")
    queue = CheckResult("prefect", "queue granter", Grade.WAITING, "waiting for a worker", "Start it")
    other = CheckResult("prefect", "queue default", Grade.WAITING, "waiting for a worker", "Start it")
    assert list(excuse_other_granter([part, queue, other])) == [part, queue, other]
    _, excused, same = excuse_other_granter([dataclasses.replace(part, grade=Grade.WELL), queue, other])
    assert (excused.grade, excused.words) == (Grade.WELL, "not needed: `keyturn serve` gives temporary access")
    assert same == other
    excused, _ = excuse_other_granter([part, dataclasses.replace(queue, grade=Grade.WELL)])
    assert excused.words == "not needed: a worker of the queue granter gives temporary access"


def test_a_consumer_that_is_not_well_or_has_no_key_is_found(installed: Installation, consumer: Consumer) -> None:
    consumer.health = HTTPStatus.SERVICE_UNAVAILABLE
    try:
        assert grades(installed.results("consumer")) == [Grade.UNKNOWN]
    finally:
        consumer.health = HTTPStatus.OK
    entry = installed.data["secrets"][installed.secret.path]
    for status in (HTTPStatus.NOT_FOUND, HTTPStatus.NOT_IMPLEMENTED):
        consumer.health = status
        try:
            (without,) = installed.results("consumer")
            assert without.grade is Grade.WELL, "only a canary is asked for its health"
            entry["rollout"] = {"canary": ["app"]}
            (canary,) = installed.results("consumer")
            assert (canary.grade, "Serve GET /api/secrets/health" in canary.remedy) == (Grade.FAILED, True)
        finally:
            consumer.health = HTTPStatus.OK
            entry.pop("rollout", None)
    installed.data["consumers"]["app"]["signing_key"] = path = f"webhooks/{fresh()}"
    (keyless,) = installed.results("consumer")
    assert (keyless.grade, path in keyless.remedy) == (Grade.FAILED, True)


def test_a_part_that_ought_to_run_and_does_not_is_found(installed: Installation) -> None:
    installed.data["access_logs"] = {fresh(): {"kind": "hub-file", "log_file": "/var/log/audit.log"}}
    results = installed.results("part")
    assert any(r.grade is Grade.FAILED and r.words.startswith("does not run") for r in results)
    assert installed.results("part", role="notary") == []


def test_a_ledger_that_nobody_has_signed_yet_is_told_with_the_command_that_does(installed: Installation) -> None:
    result = signed_lately(installed.patient().workspace, fresh())
    assert result.grade is Grade.FAILED
    assert "with the notary's login: keyturn ledger checkpoint" in result.remedy


def test_the_command_ends_with_one_where_anything_is_lacking_and_tells_it_first(
    installed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = installed.lab
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    monkeypatch.setenv("VAULT_ADDR", lab.world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", lab.world.hub_token)
    monkeypatch.setenv("VAULT_CACERT", lab.world.hub_ca or "")
    del installed.data["stores"]
    installed.data["consumers"]["app"]["signing_key"] = f"webhooks/app/{fresh()}"
    del installed.data["secrets"][installed.secret.path]["path"]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(installed.data))
    arguments = ["doctor", "--catalogue", str(tmp_path)]
    found = runner.invoke(app, arguments)
    assert found.exit_code == 1, found.output
    first = found.stdout.splitlines()[2]
    assert first.split()[:3] == ["failed", "consumer", "app"]
    assert "NOT READY as worker: " in found.stdout.splitlines()[-1]
    told = json.loads(runner.invoke(app, [*arguments, "--json"]).stdout)
    assert told["ready"] is False
    assert {check["grade"] for check in told["checks"]} >= {"ok", "failed"}


@pytest.mark.attack
def test_backups_are_looked_at_where_the_operator_declares_them(installed: Installation, tmp_path: Path) -> None:
    made = installed.open().catalogue
    declared = {
        "place": {"kind": "directory", "directory": str(tmp_path / "backups")},
        "keys": ["kms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd"],
    }
    with_backups = OperatorsPolicy.model_validate({"backups": declared})
    catalogue = made.model_copy(update={"policy": with_backups})
    empty, unread = installed.results("backup", "backup", catalogue=catalogue)
    assert (unread.name, unread.grade) == ("verify backups", Grade.ADVICE), "nobody has read them back"
    assert (empty.grade, "no finished backup" in empty.words) == (Grade.FAILED, True)
    name = "20261128T000000Z-00000000/00000000" + SUFFIX
    BackupDirectory(tmp_path / "backups").put(name, b"sealed")
    newest, lock, _ = installed.results("backup", "backup", catalogue=catalogue)
    assert (newest.name, newest.grade) == ("newest", Grade.WELL)
    assert (lock.name, lock.grade) == ("lock", Grade.ADVICE)
    os.utime(tmp_path / "backups" / name, (1_700_000_000, 1_700_000_000))
    assert installed.results("backup", "backup", catalogue=catalogue)[0].grade is Grade.FAILED
    assert installed.results("backup", "backup") == [], "nothing is declared here"


def test_a_worker_that_may_not_see_backups_says_that_it_has_not_looked(
    installed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = {
        "place": {"kind": "directory", "directory": str(tmp_path / "elsewhere")},
        "keys": ["kms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd"],
    }
    policy = OperatorsPolicy.model_validate({"backups": declared})
    catalogue = installed.open().catalogue.model_copy(update={"policy": policy})
    (worker,) = installed.results("backup", catalogue=catalogue)
    assert (worker.grade, worker.words.startswith("not looked at from here: ")) == (Grade.ADVICE, True)
    monkeypatch.setattr("keyturn.doctor.backups.open_place", raising(Denied("open", "the place", "no login")))
    (worker,) = installed.results("backup", catalogue=catalogue)
    assert (worker.grade, worker.words.startswith("not looked at from here: ")) == (Grade.ADVICE, True)
    own, _ = installed.results("backup", "backup", catalogue=catalogue)
    assert own.grade is Grade.UNKNOWN
