"""``update: add-fields``: what a copy has stays, and the fields that it lacks are added; nothing is read at idle."""

import json
import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import hvac
import pytest

from keyturn.core.errors import Denied
from keyturn.core.plan import Action
from keyturn.core.ports.stores import Store
from keyturn.core.sensitive import Sensitive
from keyturn.providers.files.store import Files
from keyturn.providers.vault.store import VaultStore
from keyturn.rotation.copies.push import CopyState, look_at_copies
from local.openbao import OpenBao
from tests.support.memory_store import MemoryStore
from tests.sync.site import Site

pytestmark = pytest.mark.sampled(10, of="file")


class Counting(MemoryStore):
    """A store that tells how often a value was read."""

    reads = 0

    def read(self, remote: str) -> Sensitive:
        self.reads += 1
        return super().read(remote)


@pytest.fixture
def adding(site: Site) -> Site:
    """A site with one store, whose copies keep what they have."""
    site.stores = {"one": MemoryStore("one")}
    site.syncs = {"all": {"paths": [f"{site.folder}/*"], "stores": ["one"], "update": "add-fields"}}
    return site


def fields(site: Site, path: str) -> dict[str, Any]:
    held: dict[str, Any] = json.loads(site.stores["one"].read(path).reveal())
    return held


@pytest.mark.parametrize(
    ("mapping", "first", "second", "held"),
    [
        ({}, {"x": "1"}, {"x": "2", "y": "2"}, {"x": "1", "y": "2"}),
        ({}, {"x": "1", "old": 5}, {"x": "2"}, {"x": "1", "old": 5}),
        ({}, {"x": {"a": 1}}, {"x": {"a": 1, "b": 2}, "y": [1]}, {"x": {"a": 1}, "y": [1]}),
        ({"fields": ["x"]}, {"x": "1"}, {"x": "2", "y": "2"}, {"x": "1"}),
        ({"case": "upper-snake"}, {"aB": "1"}, {"aB": "2", "cD": "2"}, {"A_B": "1", "C_D": "2"}),
        ({"templates": {"U": "{x}!"}}, {"x": "1"}, {"x": "2", "y": "2"}, {"U": "1!"}),
    ],
)
def test_what_a_copy_has_stays_and_what_it_lacks_is_added(
    adding: Site, mapping: dict[str, Any], first: dict[str, Any], second: dict[str, Any], held: dict[str, Any]
) -> None:
    adding.syncs["all"] |= mapping
    path = adding.write("a", **first)
    adding.run()
    adding.write("a", **second)
    assert adding.actions() == {f"one:{path}": Action.UPDATE}
    adding.run()
    assert fields(adding, path) == held
    assert set(adding.actions().values()) == set(adding.actions(deep=True).values()) == {Action.IN_SYNC}


def test_a_field_that_the_mapping_gains_is_added_and_one_that_it_loses_stays(adding: Site) -> None:
    path = adding.write("a", x="1", y="1")
    adding.syncs["all"]["fields"] = {"X": "x"}
    adding.run()
    adding.write("a", x="2", y="2")
    adding.syncs["all"]["fields"] = {"Y": "y"}
    adding.run()
    assert fields(adding, path) == {"X": "1", "Y": "2"}


def test_values_are_read_once_for_each_version_and_never_at_idle(adding: Site) -> None:
    path, store = adding.write("a", x="1"), Counting("one")
    adding.stores["one"] = store
    adding.run()
    adding.write("a", x="2")
    adding.run()
    read, written = store.reads, store.writes
    assert adding.item(f"one:{path}").why == "add-fields: it keeps what it has"
    adding.run()
    assert look_at_copies(adding.workspace, path)[0].state is CopyState.KEPT
    assert (store.reads, store.writes) == (read, written)


def test_the_plan_names_the_fields_and_the_marks_the_oldest_version_and_prove_what_is_there(adding: Site) -> None:
    path = adding.write("a", x="1")
    adding.run()
    adding.write("a", x="2", z="2", y="2")
    item = adding.item(f"one:{path}")
    assert (item.version, item.holds, item.why) == (2, 1, "add-fields: it lacks y, z")
    [done] = adding.run()
    copy, workspace = adding.stores["one"].describe(path), adding.workspace
    assert copy
    assert copy.marks
    assert (copy.marks.version, copy.marks.grown, done.version) == (1, True, 2)
    assert copy.marks.fingerprint == item.fingerprint == workspace.fingerprint_of(path, adding.stores["one"].read(path))


def test_a_copy_that_holds_current_after_all_bears_the_marks_of_that(adding: Site) -> None:
    path = adding.write("a", x="1")
    adding.run()
    adding.write("a", x="1", y="2")
    adding.run()
    copy = adding.stores["one"].describe(path)
    assert copy
    assert copy.marks
    assert (copy.marks.version, copy.marks.shape) == (2, "")


@pytest.mark.parametrize("drift", ["repair", "report"])
def test_one_that_somebody_has_changed_has_drifted_like_any_other(adding: Site, drift: str) -> None:
    adding.syncs["all"]["drift"] = drift
    path = adding.write("a", x="1")
    adding.run()
    adding.write("a", x="2", y="2")
    adding.run()
    adding.stores["one"].put_by_hand(path, '{"x":"theirs"}')
    assert adding.actions() == {f"one:{path}": Action.DRIFTED}
    adding.run()
    assert fields(adding, path) == ({"x": "2", "y": "2"} if drift == "repair" else {"x": "theirs"})


def test_a_grown_copy_of_a_secret_that_is_gone_is_proven_and_deleted(adding: Site) -> None:
    adding.settings = {"one": {"deletion": "delete", "delete_after": "1h"}}
    path = adding.write("a", x="1")
    adding.run()
    adding.write("a", x="2", y="2")
    adding.run()
    adding.syncs["all"]["paths"] = ["nothing/*"]
    adding.run()
    adding.clock.advance(timedelta(hours=2))
    adding.run()
    assert adding.served("one") == {}, path


def unreadable(site: Site, path: str) -> None:
    """The right to read is gone."""

    def denied(remote: str) -> Sensitive:
        raise Denied("read", f"one:{remote}", "no right to read it")

    site.stores["one"].read = denied  # type: ignore[method-assign]


def other_text(site: Site, path: str) -> None:
    """The store serves another text than it was given, and does not say so."""
    site.stores["one"]._secrets[path].values[-1] = Sensitive('{"x":"theirs"}')


def one_text(site: Site, path: str) -> None:
    """The copy was made as one text."""
    site.syncs["all"] |= {"template": "{x}", "update": "create-only"}
    site.stores["one"].delete(path)
    site.run()
    site.syncs["all"] = {key: said for key, said in site.syncs["all"].items() if key != "template"}
    site.syncs["all"]["update"] = "add-fields"


def too_much(site: Site, path: str) -> None:
    """The whole would be too large, though neither version is."""
    site.stores["one"].delete(path)
    site.write("a", x="1", b="b" * 40_000)
    site.run()
    site.write("a", x="1", c="c" * 40_000)


@pytest.mark.parametrize(
    ("hindered", "kind", "said"),
    [
        (unreadable, "Denied", "no right to read it"),
        (other_text, "Conflict", "its contents do not match its marks"),
        (one_text, "Invalid", "it is no JSON object"),
        (too_much, "Invalid", "aws-secrets-manager allows 65536 bytes, this has 80"),
    ],
)
def test_what_hinders_it_is_told_and_nothing_is_written(adding: Site, hindered: Any, kind: str, said: str) -> None:
    path = adding.write("a", x="1")
    adding.run()
    if hindered is not too_much:
        adding.write("a", x="2", y="2")
    hindered(adding, path)
    written = adding.stores["one"].writes
    item = adding.item(f"one:{path}")
    assert (item.action, item.kind) == (Action.BLOCKED, kind)
    assert said in item.why
    adding.run()
    assert adding.stores["one"].writes == written


def test_switched_back_to_replace_it_is_made_of_current(adding: Site) -> None:
    path = adding.write("a", x="1", old="1")
    adding.run()
    adding.write("a", x="2", y="2")
    adding.run()
    adding.syncs["all"]["update"] = "replace"
    adding.run()
    assert fields(adding, path) == {"x": "2", "y": "2"}
    assert set(adding.actions().values()) == {Action.IN_SYNC}


@pytest.fixture(params=["vault", "files", "env files"])
def real(request: pytest.FixtureRequest, openbao: OpenBao, tmp_path: Path) -> Iterator[Store]:
    """A store that others make."""
    if request.param != "vault":
        yield Files("one", directory=str(tmp_path), format="dotenv" if request.param == "env files" else "json")
        return
    client, mount = hvac.Client(url=openbao.address, token=openbao.root_token), f"kv-{secrets.token_hex(4)}"
    client.sys.enable_secrets_engine("kv", path=mount, options={"version": "2"})
    token = tmp_path / "token"
    token.write_text(openbao.root_token)
    store = VaultStore("one", address=openbao.address, mount=mount, token_file=str(token))
    yield store
    store.close()
    client.sys.disable_secrets_engine(mount)


def test_a_real_store_keeps_and_adds_too(site: Site, real: Any) -> None:
    site.stores = {"one": real}
    adds = {"paths": [f"{site.folder}/*"], "stores": ["one"], "name": "{name}", "update": "add-fields"}
    site.syncs = {"all": adds}
    site.write("a", x="1", port=5432)
    site.run()
    for newer in ({"x": "2", "y": "2"}, {"x": "3", "y": "3"}, {"x": "4", "y": "4", "z": 4}):
        site.write("a", **newer)
        assert [one.state for one in site.run()] == [CopyState.UPDATED]
        assert set(site.actions().values()) == set(site.actions(deep=True).values()) == {Action.IN_SYNC}
    assert fields(site, "a") == {"x": "1", "port": 5432, "y": "2", "z": 4}
