"""Refilling an empty hub from the stores' copies, and reporting what can't be proven."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.core.errors import Unavailable
from keyturn.core.plan import Action
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.recovery.rehydrate import Rehydration, rehydrate
from keyturn.recovery.rehydrate_copies import Standing
from keyturn.recovery.rehydrate_keys import keys_from, put_keys_back
from keyturn.revocation import run as run_incident
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.selector import Selection
from keyturn.rotation.run import rotate
from keyturn.sync.apply import Applier
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from tests.recovery.lost_hub import Site, of, site_over
from tests.support.hooks import Replaced
from tests.support.lab import ANY_UNDECLARED, Lab
from tests.support.memory_store import MemoryStore
from tests.support.own_lab import own_lab

pytestmark = pytest.mark.sampled(3, of="file")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A hub that may be lost."""
    with own_lab(tmp_path_factory.mktemp("lost")) as made:
        yield made


def remote(path: str) -> str:
    """How the copies of a secret are called."""
    return path.replace("/", "-")


def tamper(store: MemoryStore, name: str, text: str) -> None:
    """Somebody writes a value into a copy, and leaves its marks; the store shows nothing of it."""
    store._secrets[name].values[-1] = Sensitive(text)


def actions(site: Site) -> set[Action]:
    """What a plan of copies says."""
    return {item.action for item in plan(site.workspace).items}


def test_with_the_key_each_value_is_proven_and_equal_and_nothing_is_pushed_anywhere(lab: Lab) -> None:
    database, token = lab.single(), lab.generated()
    site = site_over(lab, database, token)
    for secret in (database, token):
        site.turn(secret.path, 2)
    before = {secret.path: site.current(secret.path) for secret in (database, token)}
    entries = site.lose_hub()
    writes = {name: store.writes for name, store in site.stores.items()}

    shown = site.rehydrate(entries)
    assert {secret.verdict for secret in shown.secrets} == {Rehydration.READY}
    assert site.current(database.path) is None
    assert put_keys_back(lab.hub, entries)
    done = site.rehydrate(entries, apply=True)
    assert [(one.verdict, one.proven, one.equal, one.held) for one in done.secrets] == [
        (Rehydration.WRITTEN, True, True, 3)
    ] * 2
    assert of(done, database.path).login is True
    assert of(done, token.path).login is None
    assert of(done, token.path).agree == (f"two:{remote(token.path)}",)
    assert {path: site.current(path) for path in before} == before

    planned = plan(site.workspace)
    assert {item.action for item in planned.items} == {Action.IN_SYNC}
    assert carry_out(site.workspace, planned, local_executor(Applier(site.workspace))) == []
    assert {name: store.writes for name, store in site.stores.items()} == writes
    assert {one.verdict for one in site.rehydrate(entries, apply=True).secrets} == {Rehydration.THERE}

    for secret in (database, token):
        rotate(site.workspace, secret.path, Trigger.FORCE)
    assert actions(site) == {Action.IN_SYNC}
    assert lab.logs_in(lab.current(database))


def test_without_the_key_nothing_is_proven_and_what_nobody_can_try_is_asked_for_by_name(lab: Lab) -> None:
    database, token = lab.single(), lab.generated()
    site = site_over(lab, database, token)
    for secret in (database, token):
        site.turn(secret.path, 2)
    before = {secret.path: site.current(secret.path) for secret in (database, token)}
    site.lose_hub()
    done = site.rehydrate(None, apply=True)
    logged_in, unknown = of(done, database.path), of(done, token.path)
    assert (logged_in.verdict, logged_in.proven, logged_in.login) == (Rehydration.WRITTEN, False, True)
    assert logged_in.agree == (f"two:{remote(database.path)}",)
    assert (unknown.verdict, unknown.proven) == (Rehydration.UNTESTED, False)
    assert "not proven" in unknown.why
    assert site.current(token.path) is None
    assert of(site.rehydrate(None, apply=True, untested=True), token.path).verdict is Rehydration.WRITTEN
    assert {path: site.current(path) for path in before} == before
    # The hub has a key of its own now, so copies are written anew once, and nothing is held back.
    assert actions(site) == {Action.UPDATE}
    carry_out(site.workspace, plan(site.workspace), local_executor(Applier(site.workspace)))
    assert actions(site) == {Action.IN_SYNC}


@pytest.mark.attack
def test_a_changed_copy_is_detected_and_another_one_used(lab: Lab) -> None:
    token = lab.generated()
    site = site_over(lab, token)
    site.turn(token.path)
    before = site.current(token.path)
    entries = site.lose_hub(keep_key=True)
    tamper(site.stores["one"], remote(token.path), '{"value":"theirs"}')
    shown = of(site.rehydrate(None), token.path)
    assert shown.verdict is Rehydration.DISAGREE
    assert of(site.rehydrate(None, untested=True), token.path).verdict is Rehydration.DISAGREE
    done = of(site.rehydrate(entries, apply=True), token.path)
    assert (done.verdict, done.source) == (Rehydration.WRITTEN, f"two:{remote(token.path)}")
    assert [copy.standing for copy in done.copies if copy.place.startswith("one:")] == [Standing.CHANGED]
    assert site.current(token.path) == before


@pytest.mark.attack
def test_if_every_copy_was_changed_or_refused_none_is_used(lab: Lab) -> None:
    token, database = lab.generated(), lab.single()
    site = site_over(lab, token, database)
    for secret in (database, token):
        site.turn(secret.path)
    entries = site.lose_hub(keep_key=True)
    for store in site.stores.values():
        tamper(store, remote(token.path), '{"value":"theirs"}')
    lab.sql(f"ALTER ROLE {database.users[0]} PASSWORD 'somebody-elses'")
    done = site.rehydrate(entries, apply=True, untested=True)
    assert of(done, token.path).verdict is Rehydration.NOTHING
    assert "changed it" in of(done, token.path).why
    assert of(done, database.path).verdict is Rehydration.REFUSED
    assert site.current(token.path) is None
    assert site.current(database.path) is None


def test_the_newest_that_logs_in_is_taken_whatever_a_copy_behind_it_holds(lab: Lab) -> None:
    database = lab.single()
    site = site_over(lab, database)
    site.turn(database.path)
    old = replace(site.stores["two"]._secrets[remote(database.path)])
    old.values = list(old.values)
    site.turn(database.path, 2)
    newest = site.current(database.path)
    site.stores["two"]._secrets[remote(database.path)] = old
    entries = site.lose_hub(keep_key=True)
    done = of(site.rehydrate(entries, apply=True), database.path)
    assert (done.verdict, done.source, done.held) == (Rehydration.WRITTEN, f"one:{remote(database.path)}", 4)
    assert site.current(database.path) == newest


@pytest.mark.parametrize("untried", ["unseen", "known"])
def test_what_may_not_be_the_newest_and_can_not_be_tried_is_asked_for(lab: Lab, untried: str) -> None:
    token = lab.generated()
    site = site_over(lab, token)
    site.turn(token.path)
    if untried == "known":
        kept = {name: replace(store._secrets[remote(token.path)]) for name, store in site.stores.items()}
        for one in kept.values():
            one.values = list(one.values)
        site.turn(token.path)
        for name, store in site.stores.items():
            store._secrets[remote(token.path)] = kept[name]
    entries = site.lose_hub(keep_key=True)
    if untried == "unseen":
        site.stores["two"].down = Unavailable("list", "two", "it does not answer")
    done = of(site.rehydrate(entries, apply=True), token.path)
    assert done.verdict is Rehydration.UNTESTED
    assert ("may be newer" if untried == "unseen" else "the ledger knows version 3") in done.why
    assert site.current(token.path) is None
    assert of(site.rehydrate(entries, apply=True, untested=True), token.path).verdict is Rehydration.WRITTEN


def test_fields_apart_are_put_together_and_shapes_that_lead_nowhere_are_told(lab: Lab) -> None:
    database, only = lab.single(), lab.single()
    name = remote(database.path)
    shapes: list[dict[str, Any]] = [
        {"name": f"{name}-user", "field": "username"},
        {"name": f"{name}-rest", "fields": {"PASS": "password", "HOST": "host"}},
        {"name": f"{name}-url", "template": "pg://{username}:{password}@{host}"},
    ]
    database = database.having(destinations=tuple({"store": "one", **shape} for shape in shapes))
    only = only.having(destinations=({"store": "one", "name": remote(only.path), "template": "{password}"},))
    site = site_over(lab, database, only, stores=("one",))
    for secret in (database, only):
        site.turn(secret.path)
    before = site.current(database.path)
    assert before is not None
    entries = site.lose_hub(keep_key=True)
    done = site.rehydrate(entries, apply=True)
    whole = of(done, database.path)
    assert (whole.verdict, whole.whole, whole.login, whole.proven) == (Rehydration.WRITTEN, False, True, True)
    assert f"one:{name}-url" in whole.agree
    now = site.current(database.path)
    assert now is not None
    assert {field: before[field] for field in ("username", "password", "host")} == now
    nothing = of(done, only.path)
    assert nothing.verdict is Rehydration.NOTHING
    assert "made by a template" in nothing.why


@pytest.mark.attack
def test_secrets_pushed_by_a_pattern_are_restored_and_foreign_ones_are_not(lab: Lab) -> None:
    site = site_over(lab, stores=("one",), id="shop")
    site.catalogue |= {"syncs": {"all": {"paths": ["shop/*"], "stores": ["one"]}}, "policy": ANY_UNDECLARED}
    path = "shop/pushed"
    lab.hub.write(path, SecretFields({"value": "of a pattern"}), cas=0)
    carry_out(site.workspace, plan(site.workspace), local_executor(Applier(site.workspace)))
    kept = site.stores["one"]._secrets
    (name,) = kept
    marks = kept[name].marks
    assert marks is not None
    kept["foreign"] = replace(kept[name], marks=replace(marks, source="shop/foreign", catalogue="others"))
    kept["nobody"] = replace(kept[name], marks=replace(marks, source="elsewhere/nobody"))
    kept["unclaimed"] = replace(kept[name], marks=replace(marks, source="shop/unclaimed", catalogue=""))
    entries = site.lose_hub(keep_key=True)
    done = site.rehydrate(entries, apply=True)
    assert [(one.path, one.verdict) for one in done.secrets] == [(path, Rehydration.WRITTEN)]
    assert done.found.undeclared == ("elsewhere/nobody",)
    assert set(done.found.foreign) == {"shop/foreign", "shop/unclaimed"}
    assert site.current(path) == {"value": "of a pattern"}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("call", ["write", "patch_metadata"])
@pytest.mark.parametrize("after", [False, True])
def test_a_run_that_dies_at_any_write_is_finished_by_the_next(lab: Lab, call: str, after: bool) -> None:
    secrets = [lab.generated() for _ in range(2)]
    site = site_over(lab, *secrets)
    for secret in secrets:
        site.turn(secret.path)
    before = [site.current(secret.path) for secret in secrets]
    entries = site.lose_hub(keep_key=True)
    workspace = site.workspace
    inner = workspace.hub

    def dying(*given: Any, **named: Any) -> Any:
        if after:
            getattr(inner, call)(*given, **named)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rehydrate(replace(workspace, hub=Replaced(inner, **{call: dying})), keys_from(entries), {}, apply=True)
    done = site.rehydrate(entries, apply=True)
    assert {one.verdict for one in done.secrets} <= {Rehydration.WRITTEN, Rehydration.SETTLED, Rehydration.THERE}
    assert [site.current(secret.path) for secret in secrets] == before
    assert actions(site) == {Action.IN_SYNC}
    assert {one.verdict for one in site.rehydrate(entries, apply=True).secrets} == {Rehydration.THERE}


def test_a_hub_that_has_another_key_already_keeps_it(lab: Lab) -> None:
    token = lab.generated()
    site = site_over(lab, token)
    site.turn(token.path)
    entries = site.lose_hub()
    assert lab.hub.fingerprint_keys().current.key != keys_from(entries).current.key
    assert not put_keys_back(lab.hub, entries)
    done = of(site.rehydrate(entries, apply=True), token.path)
    assert (done.verdict, done.proven, done.equal) == (Rehydration.WRITTEN, True, True)
    assert actions(site) == {Action.UPDATE}


@pytest.mark.attack
def test_an_empty_hub_is_reported_and_no_copy_is_deleted(lab: Lab) -> None:
    token = lab.generated()
    site = site_over(lab, token)
    for store in site.catalogue["stores"].values():
        store.update(deletion="delete", delete_after="1s")
    site.turn(token.path)
    entries = site.lose_hub(keep_key=True)
    planned = plan(site.workspace)
    assert {item.action for item in planned.items} == {Action.BLOCKED}
    assert all("`keyturn repair rehydrate` brings back what a hub has lost" in item.why for item in planned.items)
    site.rehydrate(entries, apply=True)
    assert actions(site) == {Action.IN_SYNC}


@pytest.mark.parametrize("mode", [Mode.REPLACE, Mode.REVOKE_ONLY])
@pytest.mark.attack
def test_a_revoked_value_is_never_brought_back_from_any_copy(lab: Lab, mode: Mode) -> None:
    token, database = lab.generated(), lab.single()
    site = site_over(lab, token, database)
    for secret in (token, database):
        site.turn(secret.path)
    leaked = {name: dict(store._secrets) for name, store in site.stores.items()}
    kept = {remote(secret.path): replace(leaked["two"][remote(secret.path)]) for secret in (token, database)}
    for copy in kept.values():
        copy.values = list(copy.values)
    paths = (token.path, database.path)
    incident = f"INC-{remote(token.path)}"
    run_incident.begin(
        site.workspace,
        Selection(paths),
        incident=incident,
        reason="leaked",
        mode=mode,
        selector=token.path,
        triggered_at=site.workspace.clock(),
        consent=Consent(2),
    )
    run_incident.finish(site.workspace, incident)
    now = site.current(token.path)
    entries = site.lose_hub(keep_key=True)
    # A store that was restored, or could not be reached, holds what has leaked; the target was restored as well.
    site.stores["two"]._secrets.update(kept)
    lab.sql(f"ALTER ROLE {database.users[0]} LOGIN")
    done = site.rehydrate(entries, apply=True, untested=True)
    if mode is Mode.REPLACE:
        assert (of(done, token.path).verdict, of(done, token.path).held) == (Rehydration.WRITTEN, 3)
        assert site.current(token.path) == now
        return
    for path in paths:
        assert of(done, path).verdict is Rehydration.REFUSED
        assert f"was revoked ({incident})" in of(done, path).why
        assert site.current(path) is None


@pytest.mark.attack
def test_an_unreadable_ledger_does_not_prove_that_nothing_was_revoked(lab: Lab) -> None:
    token = lab.generated()
    site = site_over(lab, token)
    site.turn(token.path)
    entries = site.lose_hub(keep_key=True)
    silent = Unavailable("read", "the ledger", "it does not answer")
    shown = of(site.rehydrate(entries, revoked=silent), token.path)
    assert shown.verdict is Rehydration.UNTESTED
    assert "the ledger, which may have a later version or a revocation, was not read" in shown.why


def run(*arguments: str) -> Result:
    """One command."""
    return CliRunner().invoke(app, arguments)


def told(done: Result) -> str:
    """All that a command said, without line breaks."""
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.attack
def test_the_command_previews_and_writes_only_with_the_key_or_its_declared_loss(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VAULT_ADDR", lab.world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", lab.world.hub_token)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    monkeypatch.setenv("KEYTURN_CATALOGUE", str(tmp_path / "catalogue"))
    monkeypatch.setenv("COLUMNS", "200")
    secrets = [lab.generated() for _ in range(2)]
    stores = {name: {"kind": "file", "directory": str(tmp_path / name)} for name in ("here", "there")}
    declared = {
        secret.path: {**secret.data, "destinations": [{"store": name, "name": remote(secret.path)} for name in stores]}
        for secret in secrets
    }
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "all.yaml").write_text(yaml.safe_dump({"stores": stores, "secrets": declared}))
    for secret in secrets:
        assert run("rotate", secret.path, "--now", "--local").exit_code == 0
    site = site_over(lab)
    before = [site.current(secret.path) for secret in secrets]
    key = tmp_path / "key.json"
    printed = {"data": {"data": site.lose_hub()["fingerprint-key"], "metadata": {}}}
    key.write_text(json.dumps(printed))

    shown = run("repair", "rehydrate")
    assert shown.exit_code == 1
    assert "the key of the fingerprints is missing" in told(shown)
    assert "keyturn repair rehydrate --untested" in told(shown)
    assert "not proven" in told(shown)
    refused = run("repair", "rehydrate", "--apply", "--yes", "--untested")
    assert refused.exit_code == 1
    assert "--key FILE" in told(refused)
    assert "give --yes" in told(run("repair", "rehydrate", "--apply"))
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"fingerprint-key": {"key": "another hub's", "bound": True}}))
    refused = run("repair", "rehydrate", "--key", str(wrong), "--apply", "--yes")
    assert refused.exit_code == 1
    assert "this key made none of the copies' marks" in told(refused)
    (tmp_path / "broken.json").write_text("{")
    assert "is no JSON" in told(run("repair", "rehydrate", "--key", str(tmp_path / "broken.json")))
    assert [site.current(secret.path) for secret in secrets] == [None, None]

    done = run("repair", "rehydrate", "--key", str(key), "--apply", "--yes", "--json")
    assert done.exit_code == 0, told(done)
    data = json.loads(done.stdout[done.stdout.index("{") :])
    assert [(row["verdict"], row["proven"], row["equal"]) for row in data["secrets"]] == [("written", True, True)] * 2
    assert [site.current(secret.path) for secret in secrets] == before
    assert all(str(row["version"]) == "1" for row in data["secrets"])
    assert run("sync", "--local").exit_code == 0
    again = run("repair", "rehydrate", "--apply", "--yes")
    assert again.exit_code == 0
    assert "there" in told(again)
