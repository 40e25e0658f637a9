"""What Keyturn 0.1 has left in hub, stores and database is taken over as it is; what is newer than known is refused.

``state_0_1.json`` was written by the code of 0.1: an account in its grace, a candidate that was staged and no more, a
value that nobody logs in with, each with its copy, and the key of the fingerprints, which was not bound to paths then.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import ValidationError

from keyturn.catalogue import Catalogue
from keyturn.core.error_codes import code_of
from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.fingerprint_keys import FIRST_KEY
from keyturn.core.overrides import Waive
from keyturn.core.plan import Action
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.rotation_record import FORMAT, Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.ledger.sqlite_file import SCHEMA, TABLES
from keyturn.recovery.rehydrate_keys import keys_from
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from keyturn.sync.plan import plan
from keyturn.wiring.ledger import configured_ledger
from keyturn.wiring.registry import open_workspace
from local.prepare import ADMIN
from tests.support.lab import LOOSE, Declared, Lab, catalogue_data
from tests.support.memory_store import Kept, MemoryStore
from tests.support.own_lab import own_lab

STATE: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "state_0_1.json").read_text())
ALTERNATING, GENERATED, SINGLE = STATE["secrets"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A hub and a database of their own, with what 0.1 has left there."""
    with own_lab(tmp_path_factory.mktemp("upgrade")) as made:
        for path, users in STATE["users"].items():
            served = [version for version in STATE["secrets"][path]["versions"] if "username" in version]
            accounts(made, users, {version["username"]: version["password"] for version in served})
        for path, secret in STATE["secrets"].items():
            for number, fields in enumerate(secret["versions"]):
                made.hub.write(path, SecretFields(fields), cas=number)
            made.hub.patch_metadata(path, secret["custom_metadata"])
        for entry, data in STATE["state"].items():
            made.keep(entry, data)
        yield made


def accounts(lab: Lab, users: list[str], passwords: dict[str, str]) -> None:
    """The roles of one secret, as they stood when 0.1 stopped."""
    owner, *logins = users
    if not owner:
        return
    lab.sql(f"CREATE ROLE {owner} NOLOGIN")
    lab.sql(f"GRANT {owner} TO {ADMIN} WITH ADMIN OPTION")
    lab.sql(f"GRANT CREATE ON SCHEMA public TO {owner}")
    for login in filter(None, logins):
        lab.sql(f"CREATE ROLE {login} LOGIN PASSWORD '{passwords[login]}' IN ROLE {owner}")
        lab.sql(f"ALTER ROLE {login} SET role = {owner}")
        lab.sql(f"GRANT {login} TO {ADMIN} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE")


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    """The copies that 0.1 has made, with its marks: no date, no catalogue, no shape."""
    made = MemoryStore("memory")
    for name, copy in STATE["copies"].items():
        made._secrets[name] = Kept([Sensitive(copy["text"])], OwnershipTags.from_tags(copy["tags"]), written=1)
    return made


@pytest.fixture
def workspace(lab: Lab, store: MemoryStore) -> Workspace:
    """Today's Keyturn over 0.1's catalogue. The worker of then is gone for good."""
    declared = tuple(Declared(path, data, {}) for path, data in STATE["catalogue"].items())
    settings = {"kind": "aws-secrets-manager", "region": "eu-central-1"}
    catalogue = Catalogue.model_validate(catalogue_data(lab.world, declared, settings, {}))
    made = open_workspace(catalogue, lab.hub)
    return replace(made, open_store=lambda name: store, limits=LOOSE, patience=0.0)


def test_every_copy_is_in_sync_and_none_is_written(workspace: Workspace, store: MemoryStore) -> None:
    assert {item.action for item in plan(workspace, deep=True).items} == {Action.IN_SYNC}
    assert {item.action for item in plan(workspace).items} == {Action.IN_SYNC}
    assert (store.writes, store.labels) == (0, 0)


def test_a_candidate_that_0_1_has_staged_is_the_one_that_is_promoted(lab: Lab, workspace: Workspace) -> None:
    candidate = STATE["state"][f"rotations/{SINGLE}"]["candidate"]
    outcome = rotate(workspace, SINGLE, Trigger.SCHEDULE)
    assert [copy.in_step for copy in outcome.destinations] == [True]
    current = lab.hub.read(SINGLE)
    assert current is not None
    assert current.fields["password"].reveal() == candidate["password"]
    assert lab.logs_in(current.fields)
    data = lab.hub.read_state(f"rotations/{SINGLE}")
    assert data is not None
    assert data.data["format"] == FORMAT
    assert load_record(workspace, SINGLE).history[0].stage is Stage.RETIRED


def test_an_account_in_its_grace_is_retired_and_its_secret_rotated_again(lab: Lab, workspace: Workspace) -> None:
    first, second = (SecretFields(fields) for fields in STATE["secrets"][ALTERNATING]["versions"])
    assert lab.logs_in(first)
    assert retire(workspace, ALTERNATING, Waive.GRACE).retired
    assert (lab.logs_in(first), lab.logs_in(second)) == (False, True)
    rotate(workspace, ALTERNATING, Trigger.FORCE)
    current = lab.hub.read(ALTERNATING)
    assert current is not None
    assert lab.logs_in(current.fields)
    record = load_record(workspace, ALTERNATING)
    assert record.rotation is not None
    assert record.history[0].sequence < record.rotation.sequence


def test_copies_get_todays_marks_with_the_next_version_and_prove_the_value(
    lab: Lab, workspace: Workspace, store: MemoryStore
) -> None:
    rotate(workspace, GENERATED, Trigger.FORCE)
    (marks,) = (copy.marks for copy in store.list_managed() if copy.marks and copy.marks.source == GENERATED)
    assert marks.created_at is not None
    assert marks.version == 3
    assert {item.action for item in plan(workspace).items} == {Action.IN_SYNC}


def test_the_key_of_0_1_proves_its_copies_without_a_hub(lab: Lab) -> None:
    marks = STATE["copies"]
    keys = keys_from({FIRST_KEY: STATE["state"][FIRST_KEY]})
    assert not keys.current.bound
    for path in STATE["secrets"]:
        copy = marks[path.replace("/", "-")]
        assert keys.make(path, Sensitive(copy["text"])) == copy["tags"]["keyturn-fingerprint"]


def test_a_record_that_is_newer_than_known_is_refused_and_no_other_is_held_up(lab: Lab, workspace: Workspace) -> None:
    entry = f"rotations/{GENERATED}"
    state = lab.hub.read_state(entry)
    assert state is not None
    newer = lab.hub.write_state(entry, {**state.data, "format": FORMAT + 1}, cas=state.version)
    with pytest.raises(
        Invalid, match=f"its record is of format {FORMAT + 1}, and this Keyturn knows {FORMAT}"
    ) as caught:
        rotate(workspace, GENERATED, Trigger.FORCE)
    assert code_of(caught.value) == "KT206"
    assert "newest Keyturn" in caught.value.hint
    rotate(workspace, SINGLE, Trigger.FORCE)
    lab.hub.write_state(entry, state.data, cas=newer)


def test_a_ledger_file_that_is_newer_than_known_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with closing(sqlite3.connect(file)) as connection:
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    file.chmod(0o600)
    with pytest.raises(KeyturnError, match=f"its schema {SCHEMA + 1} is not the {SCHEMA} of this version") as caught:
        configured_ledger({"KEYTURN_LEDGER": str(file)}).newest_versions([GENERATED])
    assert "newest Keyturn" in caught.value.hint
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA + 1,)


def test_a_catalogue_with_what_this_release_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="of_a_newer_release"):
        Catalogue.model_validate({"of_a_newer_release": {}})


def test_without_keyturn_hub_stores_and_accounts_go_on_as_they_are(lab: Lab, store: MemoryStore) -> None:
    """The last of this file: what Keyturn keeps for itself is taken away, as `docs/uninstall.md` says."""
    held = {name: kept.values[-1].reveal() for name, kept in store._secrets.items()}
    lab.root.sys.disable_secrets_engine("keyturn")
    for path in STATE["secrets"]:
        current = lab.root.secrets.kv.v2.read_secret_version(path=path, raise_on_deleted_version=True)["data"]["data"]
        assert json.loads(held[path.replace("/", "-")]) == current
        if "username" in current:
            assert lab.logs_in(current)
