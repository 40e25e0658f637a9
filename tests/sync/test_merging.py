"""Single keys in other owners' secrets: plans, runs, and no lost keys."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from keyturn.cli.secrets import get
from keyturn.core.errors import NotOwned, Unavailable
from keyturn.core.plan import Action
from keyturn.core.ports.merged_keys import Change, notes_in
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import Sensitive
from keyturn.sync import import_secrets as importing
from keyturn.sync.scan import scan_stores
from tests.support import sampling
from tests.support.lab import Lab
from tests.support.memory_store import MemoryStore
from tests.sync.site import Site

pytestmark = pytest.mark.sampled(10, of="file")

NAME = "shared"


@pytest.fixture
def site(lab: Lab) -> Site:
    """Two secrets of the folder have keys in one secret of the store ``one``."""
    made = Site(lab, stores={"one": MemoryStore("one")})
    made.syncs = {
        "db": merged(made, "db", {"USER": "u", "PASSWORD": "p"}),
        "mail": merged(made, "mail", {"TOKEN": "t"}),
    }
    made.write("db", u="ann", p="first")
    made.write("mail", t="token")
    return made


def merged(site: Site, path: str, fields: dict[str, str], **more: Any) -> dict[str, Any]:
    """A sync of one secret of the folder."""
    # Each name has to be a template: the folder stands for a name that both share.
    return {"paths": [site.path(path)], "stores": ["one"], "name": "{folder}", "fields": fields, "merge": True, **more}


def served(site: Site) -> dict[str, Any]:
    """The members of the secret that both have keys in."""
    text = site.stores["one"].read(site.folder).reveal()
    made: dict[str, Any] = json.loads(text)
    return made


def owner(site: Site, **changes: Any) -> None:
    """What somebody does to the secret who has never heard of Keyturn: None removes a key."""
    there = served(site) if site.stores["one"].describe(site.folder) else {}
    kept = {key: value for key, value in {**there, **changes}.items() if value is not None}
    site.stores["one"].put_by_hand(site.folder, json.dumps(kept, indent=1))


def actions(site: Site, **how: Any) -> dict[str, Action]:
    """What a plan says of each secret's keys."""
    return {item.path.rpartition("/")[2]: item.action for item in site.plan(**how).items}


def kinds(site: Site) -> set[str]:
    """The errors of a run, by their class."""
    return {result.kind for result in site.run() if result.error}


IN_SYNC = {"db": Action.IN_SYNC, "mail": Action.IN_SYNC}


def test_keys_of_two_secrets_are_laid_beside_the_owners_and_are_in_sync_whatever_he_does(site: Site) -> None:
    owner(site, THEIRS="one")
    assert actions(site) == {"db": Action.CREATE, "mail": Action.CREATE}
    assert {result.error for result in site.run()} == {""}
    assert served(site) == {"THEIRS": "one", "USER": "ann", "PASSWORD": "first", "TOKEN": "token"}
    owner(site, THEIRS="two", MORE="three")
    assert actions(site) == actions(site, deep=True) == IN_SYNC
    before = site.stores["one"].writes
    site.run(deep=True)
    assert site.stores["one"].writes == before


def test_a_newer_version_is_an_update_of_its_own_keys_alone(site: Site) -> None:
    site.run()
    site.write("db", u="ann", p="second")
    assert actions(site) == {"db": Action.UPDATE, "mail": Action.IN_SYNC}
    site.run()
    assert served(site) == {"USER": "ann", "PASSWORD": "second", "TOKEN": "token"}


@pytest.mark.parametrize("drift", ["repair", "report"])
def test_what_others_do_to_our_keys_is_drift(site: Site, drift: str) -> None:
    site.syncs["db"]["drift"] = drift
    site.run()
    owner(site, PASSWORD="theirs", TOKEN=None)
    assert actions(site) == {"db": Action.DRIFTED, "mail": Action.DRIFTED}
    site.run()
    assert served(site)["PASSWORD"] == ("first" if drift == "repair" else "theirs")
    assert served(site)["TOKEN"] == "token"


def test_a_key_that_is_there_is_a_conflict_until_it_is_adopted_and_then_never_deleted(site: Site) -> None:
    site.settings["one"] = {"deletion": "delete", "delete_after": "1s"}
    owner(site, USER="theirs")
    item = next(item for item in site.plan().items if item.path == site.path("db"))
    assert (item.action, "key USER" in item.why) == (Action.CONFLICT, True)
    site.run()
    assert served(site) == {"USER": "theirs", "TOKEN": "token"}
    site.syncs["db"]["adopt"] = True
    assert actions(site)["db"] is Action.ADOPT
    site.run()
    assert served(site) == {"USER": "ann", "PASSWORD": "first", "TOKEN": "token"}
    del site.syncs["db"]
    assert actions(site) == {"mail": Action.IN_SYNC}


def test_a_mapping_that_asks_for_another_key_of_the_owner_is_a_conflict(site: Site) -> None:
    owner(site, LOGIN="theirs")
    site.run()
    site.syncs["db"]["fields"] = {"LOGIN": "u", "PASSWORD": "p"}
    assert actions(site)["db"] is Action.CONFLICT
    assert kinds(site) == set()
    assert served(site)["LOGIN"] == "theirs"
    site.syncs["db"]["fields"] = {"NAME": "u", "PASSWORD": "p"}
    site.run()
    assert served(site) == {"LOGIN": "theirs", "NAME": "ann", "PASSWORD": "first", "TOKEN": "token"}


@pytest.mark.parametrize("text", ["plain", "[1]", '{"a":1} x'])
def test_what_is_no_object_blocks_the_copy_and_stays_as_it_is(site: Site, text: str) -> None:
    site.stores["one"].put_by_hand(site.folder, text)
    item = site.plan().items[0]
    assert (item.action, item.kind) == (Action.BLOCKED, "Invalid")
    assert "it holds no JSON object" in item.why
    site.run()
    assert site.stores["one"].read(site.folder) == Sensitive(text)


def test_what_can_not_be_read_is_not_absent(site: Site) -> None:
    site.run()
    site.stores["one"].down = Unavailable("read", "one:x", "no answer")
    assert set(actions(site).values()) == {Action.BLOCKED}


def test_a_key_that_two_secrets_want_is_a_conflict_and_so_is_a_whole_copy_beside_keys(site: Site) -> None:
    site.syncs["mail"]["fields"] = {"USER": "t"}
    assert actions(site) == {"db": Action.CREATE, "mail": Action.CONFLICT}
    site.syncs["mail"] = {"paths": [site.path("mail")], "stores": ["one"], "name": "{folder}"}
    assert actions(site) == {"db": Action.CREATE, "mail": Action.CONFLICT}


def test_a_whole_copy_is_not_merged_into(site: Site) -> None:
    store = site.stores["one"]
    store.write(site.folder, Sensitive('{"a":1}'), OwnershipTags("other", 1, "f" * 64), None)
    assert {item.kind for item in site.plan().items} == {"NotOwned"}
    site.run()
    assert served(site) == {"a": 1}


def test_keys_that_nothing_declares_go_after_their_delay_and_the_secret_stays(site: Site) -> None:
    site.settings["one"] = {"deletion": "delete", "delete_after": "7d"}
    owner(site, THEIRS="one")
    site.run()
    del site.syncs["db"]
    assert actions(site) == {"db": Action.DELETE, "mail": Action.IN_SYNC}
    assert [result.state for result in site.run()] == []
    del site.syncs["mail"]
    site.syncs["none"] = {"paths": ["nobody/*"], "stores": ["one"]}
    site.run()
    site.clock.advance(timedelta(days=8))
    site.run()
    assert served(site) == {"THEIRS": "one"}
    shared = site.stores["one"].shared.look(site.folder)
    assert shared is not None
    assert notes_in(shared.tags) == {}
    assert actions(site) == {}


def test_a_whole_that_would_be_too_large_is_blocked(site: Site) -> None:
    owner(site, THEIRS="x" * 65_500)
    item = next(item for item in site.plan().items if item.path == site.path("db"))
    assert (item.action, item.why.endswith("with the keys of others")) == (Action.BLOCKED, True)
    assert kinds(site) == {"Invalid"}


def test_a_scan_tells_of_keys_that_nothing_declares_and_an_import_leaves_them(site: Site) -> None:
    owner(site, THEIRS="one")
    site.run()
    workspace = site.workspace
    with pytest.raises(NotOwned, match="its keys PASSWORD, TOKEN, USER are copies"):
        importing.read_importable(workspace, "one", site.folder)
    del site.syncs["db"]
    (found,) = scan_stores(site.workspace, ["one"]).stores
    assert [one.name for one in found.undeclared] == [f"{site.folder} (PASSWORD, USER)"]
    assert found.unmanaged == ()


def test_what_is_shown_of_a_merged_copy_is_its_own_keys_alone(site: Site) -> None:
    owner(site, THEIRS="one")
    site.run()
    found, failed = get.from_store(site.workspace, [site.path("db")], "one", None)
    assert failed == []
    assert [(told.version, told.text.reveal()) for told in found] == [(1, '{"PASSWORD":"first","USER":"ann"}')]


def dying(site: Site, *, after_value: bool) -> None:
    """Let the next write of single keys end half done: after the notes, or after the value."""
    shared = site.stores["one"].shared
    put = shared.put

    def half(remote: str, change: Change, seen: Any) -> None:
        del shared.put
        put(remote, change if after_value else Change(tags=change.laid), seen)
        raise Unavailable("merge into", remote, "the connection broke off")

    shared.put = half  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize("after_value", [False, True])
def test_a_write_that_died_is_finished_whatever_has_happened_since(site: Site, after_value: bool) -> None:
    del site.syncs["mail"]
    owner(site, THEIRS="one")
    dying(site, after_value=after_value)
    assert kinds(site) == {"Unavailable"}
    owner(site, THEIRS="two")
    site.write("db", u="ann", p="second")
    assert kinds(site) == set()
    assert served(site) == {"THEIRS": "two", "USER": "ann", "PASSWORD": "second"}
    site.syncs["db"]["fields"] = {"NAME": "u", "PASSWORD": "p"}
    dying(site, after_value=after_value)
    assert kinds(site) == {"Unavailable"}
    assert kinds(site) == set()
    assert served(site) == {"THEIRS": "two", "NAME": "ann", "PASSWORD": "second"}
    owner(site, USER="theirs")
    assert actions(site) == {"db": Action.IN_SYNC}


EDITS = st.dictionaries(st.sampled_from(["A", "B", "C"]), st.none() | st.text(max_size=3) | st.integers() | st.floats())


@given(st.lists(st.tuples(EDITS, st.sampled_from(["before", "between", "ours", "newer"])), max_size=6))
@seed(sampling.seed())
@settings(
    max_examples=sampling.examples(10, 100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_others_edit_between_our_writes_their_keys_stay_and_ours_end_in_step(
    lab: Lab, steps: list[tuple[dict[str, Any], str]]
) -> None:
    made = Site(lab, stores={"one": MemoryStore("one")})
    made.syncs = {"db": merged(made, "db", {"USER": "u", "PASSWORD": "p"})}
    made.write("db", u="ann", p="0")
    theirs: dict[str, Any] = {}
    for number, (edits, when) in enumerate(steps, 1):
        theirs = {key: value for key, value in {**theirs, **edits}.items() if value is not None}
        if when == "between":
            made.write("db", u="ann", p=str(number))
            shared = made.stores["one"].shared
            put, acts = shared.put, [edits]

            def late(*given: Any, put: Any = put, acts: Any = acts) -> None:
                if acts:
                    owner(made, **acts.pop())
                put(*given)

            shared.put = late  # type: ignore[method-assign,assignment]
            made.run()
            del shared.put
            continue
        owner(made, **edits, **({"PASSWORD": "theirs"} if when == "ours" and number > 1 else {}))
        if when == "newer":
            made.write("db", u="ann", p=str(number))
        made.run()
    made.syncs["db"]["adopt"] = True
    made.run()
    found = served(made)
    current = made.lab.hub.read(made.path("db"))
    assert current is not None
    assert (found.pop("USER"), found.pop("PASSWORD")) == ("ann", current.fields["p"].reveal())
    assert json.dumps(found, sort_keys=True) == json.dumps(theirs, sort_keys=True)
    assert actions(made) == {"db": Action.IN_SYNC}
