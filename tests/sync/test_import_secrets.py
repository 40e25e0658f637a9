"""Importing what a store holds: into the hub, and into the catalogue's files."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.catalogue import find_problems, load_catalogue
from keyturn.catalogue.files import append as declaring
from keyturn.catalogue.files.append import Declaration
from keyturn.core.errors import Denied, Invalid, NotFound, UnsupportedOperation
from keyturn.core.plan import Action
from keyturn.core.ports.stores import Unsupported
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.mapping import Shape
from keyturn.core.text.precise_json import number
from keyturn.sync.fields_of_text import parse_fields
from keyturn.sync.import_secrets import (
    Import,
    ImportState,
    import_all,
    importable,
    insist_on_readable,
    look_at_imports,
    path_for,
)
from tests.support.places import single
from tests.sync.site import Site


def imported(site: Site, *names: str) -> list[Import]:
    """Look and bring, as `keyturn import` does; each name below the site's folder."""
    workspace = site.workspace
    return import_all(workspace, look_at_imports(workspace, "one", names, site.folder))


def in_hub(site: Site, name: str) -> dict[str, object] | None:
    found = site.lab.hub.read(site.path(name))
    return found.fields.reveal() if found else None


# --- into the hub


def test_a_json_object_becomes_fields_and_other_text_the_field_value(site: Site) -> None:
    site.stores["one"].put_by_hand("db", '{"username": "app", "port": 5432}')
    site.stores["one"].put_by_hand("token", "plain text")
    first, second = imported(site, "db", "token")
    assert (first.state, first.field, second.state, second.field) == ("imported", "", "imported", "value")
    assert in_hub(site, "db") == {"username": "app", "port": 5432}
    assert in_hub(site, "token") == {"value": "plain text"}


@pytest.mark.parametrize("text", ["[1, 2]", '"x"', "1", "null", "{}", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": ', ""])
def test_what_is_no_object_that_comes_back_as_it_was_is_kept_as_text(text: str) -> None:
    fields, field = parse_fields(Sensitive(text))
    assert (fields.reveal(), field) == ({"value": text}, "value")


SAFE = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()


@given(st.dictionaries(st.text(), SAFE | st.lists(SAFE, max_size=2) | st.dictionaries(st.text(), SAFE), min_size=1))
def test_any_object_becomes_its_own_fields(said: dict[str, object]) -> None:
    fields, field = parse_fields(Sensitive(json.dumps(said)))
    assert (fields.reveal(), field) == (said, "")


TO_THE_BYTE = {
    "beyond-floats": '{"id":9007199254740993,"password":"p"}',
    "far-beyond": '{"id":123456789012345678901234567890}',
    "negative": '{"id":-9007199254740993}',
    "a-whole-float": '{"ratio":1.0}',
    "an-exponent": '{"ratio":1e3}',
    "more-digits": '{"ratio":0.10000000000000000555}',
    "trailing-zero": '{"ratio":1.10}',
    "small": '{"ratio":0.00001}',
    "minus-nothing": '{"ratio":-0}',
    "inside": '{"a":[1,{"b":9007199254740993}]}',
    "half-a-character": '{"a":"\\ud800"}',
    "key-twice": '{"a":1,"a":2}',
    "not-a-number": '{"a":NaN}',
    "deep": '{"a":' + "[" * 2_000 + "]" * 2_000 + "}",
    "many-digits": '{"a":' + "9" * 5_000 + "}",
    "new-line": "token\n",
    "windows": "one\r\ntwo\r\n",
    "nothing": "",
    "spaces": "  {}  ",
    "null-character": "a\x00b",
    "not-ascii": "pässword \U0001f511",
    "canonical": '{"a":9007199254740992,"b":[0.5,null,true,"x"],"c":"\xe9"}',
}


def test_what_the_next_sync_writes_over_the_original_is_the_same_to_the_byte(site: Site) -> None:
    store = site.stores["one"]
    for name, text in TO_THE_BYTE.items():
        store.put_by_hand(site.path(name), text)
    workspace = site.workspace
    done = import_all(workspace, look_at_imports(workspace, "one", [site.path(name) for name in TO_THE_BYTE]))
    assert [one for one in done if one.error or one.respelled] == []
    assert {one.path for one in done if not one.field} == {site.path("canonical")}
    for one in done:
        found = workspace.hub.read(one.path)
        assert found
        pushed = Shape(field=one.field).render(found.fields)
        assert pushed.reveal() == store.read(one.name).reveal()


def test_an_object_in_another_spelling_keeps_every_value_and_says_so(site: Site) -> None:
    site.stores["one"].put_by_hand("db", '{"b": 9007199254740992,\n "a": "\\u00e9\\/"}\n')
    (done,) = imported(site, "db")
    assert (done.field, done.respelled) == ("", True)
    assert in_hub(site, "db") == {"a": "\xe9/", "b": 9007199254740992}


@pytest.mark.parametrize("text", ["half \ud800", '{"a": "half \udfff"}'])
def test_what_is_no_text_is_refused_by_itself(site: Site, text: str) -> None:
    site.stores["one"].put_by_hand("broken", text)
    site.stores["one"].put_by_hand("token", "text")
    broken, token = imported(site, "broken", "token")
    assert (broken.kind, token.state) == ("Invalid", ImportState.IMPORTED)
    assert "half a character" in broken.error
    assert "half \ud800" not in broken.error
    assert in_hub(site, "broken") is None


def test_a_hub_that_keeps_another_value_is_found_out_before_it_is_declared(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a plugin or a proxy between might do it."""
    site.stores["one"].put_by_hand("token", "text")
    write = site.lab.hub.write
    monkeypatch.setattr(
        site.lab.hub, "write", lambda path, fields, cas: write(path, SecretFields({"value": "TEXT"}), cas=cas)
    )
    (done,) = imported(site, "token")
    assert (done.state, done.kind) == (ImportState.FAILED, "Invalid")
    assert "version 1 of the hub is not what the store holds" in done.error


@pytest.mark.parametrize("value", [9007199254740993, 10**30, "\ud800", float("nan"), {"a": [2**53 + 1]}, {"\udc00": 1}])
def test_the_hub_is_given_nothing_that_it_would_change(site: Site, value: object) -> None:
    path = site.path("n")
    with pytest.raises(Invalid, match="Nothing was written"):
        site.lab.hub.write(path, SecretFields({"n": value}), cas=0)
    assert site.lab.hub.describe(path) is None


@given(st.floats(allow_nan=False) | st.integers())
def test_a_number_is_kept_as_one_only_where_a_float_of_64_bits_spells_it_the_same(value: float) -> None:
    """The server's own rules: Go's floats, whole ones without a point, the others as short as can be."""
    spelled = json.dumps(value)
    try:
        kept = number(spelled)
    except ValueError:
        return
    assert json.dumps(kept) == spelled
    assert float(kept) == value
    assert isinstance(kept, int) or not kept.is_integer()


def test_the_same_value_in_the_hub_is_fine_and_no_new_version(site: Site) -> None:
    site.write("db", username="app")
    site.stores["one"].put_by_hand("db", '{"username": "app"}')
    (done,) = imported(site, "db")
    info = site.lab.hub.describe(site.path("db"))
    assert done.state is ImportState.SAME
    assert info is not None
    assert info.version == 1


def test_another_value_in_the_hub_is_never_overwritten(site: Site) -> None:
    site.write("db", username="ours")
    site.stores["one"].put_by_hand("db", '{"username": "theirs"}')
    (done,) = imported(site, "db")
    assert (done.state, done.kind) == (ImportState.FAILED, "Conflict")
    assert "--to" in done.error
    assert in_hub(site, "db") == {"username": "ours"}


def test_whoever_writes_between_the_look_and_the_import_is_not_overwritten(site: Site) -> None:
    for name in ("a", "b"):
        site.stores["one"].put_by_hand(name, "theirs")
    workspace = site.workspace
    seen = look_at_imports(workspace, "one", ["a", "b"], site.folder)
    site.write("a", value="ours")
    site.write("b", value="theirs")
    first, second = import_all(workspace, seen)
    assert (first.kind, second.state) == ("Conflict", ImportState.SAME)
    assert in_hub(site, "a") == {"value": "ours"}


def test_a_path_whose_secret_was_deleted_is_left_alone(site: Site) -> None:
    path = site.write("db", x="1")
    site.lab.root.secrets.kv.v2.delete_latest_version_of_secret(path, mount_point="secret")
    site.stores["one"].put_by_hand("db", "theirs")
    (done,) = imported(site, "db")
    assert (done.kind, in_hub(site, "db")) == ("Conflict", None)


def test_one_that_fails_stops_no_other(site: Site) -> None:
    site.stores["one"].put_by_hand("token", "text")
    missing, token = imported(site, "nothing", "token")
    assert (missing.kind, token.state) == ("NotFound", ImportState.IMPORTED)


def test_looking_writes_nothing_and_says_what_would_be(site: Site) -> None:
    site.stores["one"].put_by_hand("token", "s3cr3t-value")
    seen = look_at_imports(site.workspace, "one", ["token", "token"], site.folder)
    assert seen == [Import("one", "token", site.path("token"), ImportState.NEW, "value")]
    assert in_hub(site, "token") is None
    assert "s3cr3t" not in repr(seen)


def test_a_copy_that_keyturn_keeps_is_not_imported(site: Site) -> None:
    path = site.write("a", x="1")
    site.run()
    (done,) = look_at_imports(site.workspace, "one", [path], "elsewhere")
    assert (done.kind, path in done.error) == ("NotOwned", True)


@pytest.mark.parametrize(
    ("name", "prefix", "path"),
    [
        ("a/b", "", "a/b"),
        ("/prod/db", "", "prod/db"),
        ("db", "team/app", "team/app/db"),
        ("db", "team/app/", "team/app/db"),
        ("user@host+x=1", "", "user-host-x-1"),
    ],
)
def test_names_become_paths(name: str, prefix: str, path: str) -> None:
    assert path_for(name, prefix) == path


def test_names_that_become_one_path_and_illegal_paths_are_refused(site: Site) -> None:
    for name in ("a@b", "a+b", "../up"):
        site.stores["one"].put_by_hand(name, "text")
    done = imported(site, "a@b", "a+b", "../up")
    assert [one.kind for one in done] == ["Invalid"] * 3
    assert "2 of the names given" in done[0].error


def test_all_of_a_store_is_what_nobody_manages(site: Site) -> None:
    path = site.write("a", x="1")
    site.run()
    site.stores["one"].put_by_hand("legacy/b", "theirs")
    site.stores["one"].put_by_hand("legacy/a", "theirs")
    assert path in site.served("one")
    assert importable(site.workspace, "one") == ["legacy/a", "legacy/b"]


def test_a_store_that_never_gives_a_value_back_is_refused_with_a_remedy(site: Site) -> None:
    site.stores["one"].unsupported = frozenset({Unsupported.READ})
    with pytest.raises(UnsupportedOperation, match="adopt: true"):
        insist_on_readable(site.workspace, "one")
    insist_on_readable(site.workspace, "two")
    with pytest.raises(NotFound):
        insist_on_readable(site.workspace, "three")


def test_a_store_that_is_down_fails_each_name_with_its_words(site: Site) -> None:
    site.stores["one"].down = Denied("read", "one", "the key is refused")
    assert {one.kind for one in imported(site, "a", "b")} == {"Denied"}


def test_what_was_imported_and_declared_is_adopted_and_then_in_sync(site: Site) -> None:
    site.stores["one"].put_by_hand(site.path("token"), "text")
    site.syncs["all"] |= {"stores": ["one"], "field": "value", "adopt": True}
    workspace = site.workspace
    import_all(workspace, look_at_imports(workspace, "one", [site.path("token")]))
    assert set(site.actions().values()) == {Action.ADOPT}
    site.run()
    assert set(site.actions().values()) == {Action.IN_SYNC}
    assert site.served("one") == {site.path("token"): "text"}


# --- into the catalogue

STORES = "stores:\n  aws: { kind: aws-secrets-manager, region: eu-central-1 }\n"
TOKEN = Declaration("legacy/token", "me@example.com", "internal", "aws", "legacy/token", "value")
DB = Declaration("legacy/db.prod", "me: \"yes\" #1", "internal", "aws", "db@prod")  # fmt: skip


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A catalogue of one store."""
    made = tmp_path / "catalogue"
    made.mkdir()
    (made / "stores.yaml").write_text(STORES)
    return made


def declared(file: Path, *declarations: Declaration) -> str:
    """Add them, checked, as `keyturn import` does; the file's text afterwards."""
    text = declaring.added(file, declarations)
    declaring.insist_on_sound(file.parent, file, text, {})
    declaring.write_file(file, text)
    return file.read_bytes().decode()


def paths(directory: Path) -> Sequence[str]:
    assert find_problems(directory, {}) == []
    return sorted(load_catalogue(directory, {}).secrets)


def test_a_new_file_declares_a_secret_that_a_person_replaces_and_adopts_its_copy(directory: Path) -> None:
    declared(directory / "imported.yaml", TOKEN, DB)
    assert paths(directory) == ["legacy/db.prod", "legacy/token"]
    secret = load_catalogue(directory, {}).secret("legacy/token")
    (place,) = single(secret.destinations)
    assert (secret.owner, secret.rotation.strategy) == ("me@example.com", "manual")
    assert (place.label, place.adopt, place.field) == ("aws:legacy/token", True, "value")
    other = load_catalogue(directory, {}).secret("legacy/db.prod")
    (place,) = single(other.destinations)
    assert (other.owner, place.name, place.field) == (DB.owner, DB.name, None)
    assert not [name for name in os.listdir(directory) if name.startswith(".")]


ONE = """# ours
secrets:   # all of them
    {first}
        owner: a@example.com  # who
        classification: internal
        rotation: {{ strategy: manual }}
        description: |+
          two lines

# the end"""


@pytest.mark.parametrize(
    "before",
    [
        "",
        "# only a comment",
        "secrets:\n",
        "secrets: # nothing yet\n# still nothing\n",
        "freezes:\n  a: { from: 2026-01-01T00:00, to: 2026-01-02T00:00, timezone: UTC, reason: x }",
        ONE.format(first="a/b:"),
        ONE.format(first="'a/b':").replace("\n", "\r\n"),
    ],
)
def test_an_existing_file_is_only_added_to(directory: Path, before: str) -> None:
    file = directory / "all.yaml"
    file.write_bytes(before.encode())
    file.chmod(0o640)
    once = declared(file, TOKEN)
    twice = declared(file, DB)
    assert once.startswith(before)
    assert twice.startswith(once)
    assert set(paths(directory)) >= {"legacy/db.prod", "legacy/token"}
    assert ("\r\n" in before) == ("\r\n" in twice.removeprefix(before))
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"secrets:\n  a/b: {{}}\n{STORES.replace('aws', 'other')}", "something follows its secrets"),
        ("secrets: {}\n", "in brackets"),
        ("{secrets: {}}\n", "in brackets"),
        ("- a\n", "in brackets"),
        ("secrets: [\n", "not closed"),
    ],
)
def test_a_file_that_can_not_be_added_to_at_its_end_is_refused_and_stays(directory: Path, text: str, said: str) -> None:
    file = directory / "all.yaml"
    file.write_text(text)
    with pytest.raises(Invalid, match=said) as caught:
        declared(file, TOKEN)
    assert caught.value.hint
    assert file.read_text() == text


def test_nothing_is_written_that_the_catalogue_would_refuse(directory: Path) -> None:
    file = directory / "imported.yaml"
    before = declared(file, TOKEN)
    for wrong in (TOKEN, Declaration("legacy/other", "a@b", "internal", "aws", TOKEN.name), below(TOKEN)):
        with pytest.raises(Invalid) as caught:
            declared(file, wrong)
        assert "/tmp" not in f"{caught.value.problem} {caught.value.hint}".replace(str(directory), "")
    assert file.read_text() == before


def below(other: Declaration) -> Declaration:
    """One whose path is a folder of the other's."""
    return Declaration(f"{other.path}/more", other.owner, "internal", "aws", "more")


def test_only_a_file_that_the_catalogue_reads_is_written(directory: Path, tmp_path: Path) -> None:
    assert declaring.file_in(directory, Path("new.yaml")) == directory / "new.yaml"
    assert declaring.file_in(directory, directory / "new.yaml") == directory / "new.yaml"
    for wrong in (tmp_path / "new.yaml", Path("new.yml"), Path(".new.yaml"), directory / "below" / "new.yaml"):
        with pytest.raises(Invalid, match="catalogue"):
            declaring.file_in(directory, wrong)


def test_a_file_behind_a_link_is_changed_where_it_lies(directory: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text("# mine\n")
    (directory / "linked.yaml").symlink_to(real)
    declared(directory / "linked.yaml", TOKEN)
    assert (directory / "linked.yaml").is_symlink()
    assert real.read_text().startswith("# mine\nsecrets:\n")
