"""A catalogue that was checked whole is opened by need, and never from what was kept of other files."""

import json
import os
import pickle
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue import Catalogue, CatalogueInvalid, load_catalogue
from keyturn.catalogue.files import index
from keyturn.catalogue.files.lazy_entries import Secrets

SHARED = """
targets:
  main-db: {kind: postgresql, host: "${KEYTURN_DB_HOST:-db}", database: app, admin: targets/main-db}
stores:
  aws: {kind: aws-secrets-manager, region: eu-central-1}
  vault: {kind: azure-key-vault, vault_url: "$\\x7bKEYTURN_VAULT_URL}"}
syncs:
  all: {paths: ["team/*"], stores: [vault], name: "{name}"}
"""
SECRET = """  team/s%05d:
    owner: team@example.com
    classification: internal
    description: "some words that make the file as large as those of a catalogue with hundreds of secrets in it"
    rotation:
      {strategy: alternating-users, target: main-db, users: [a%05d, b%05d], owner_role: o%05d, interval: 30d, grace: 1h}
    destinations: [{store: aws, name: s%05d}]
"""
COUNT = 400
HARMS = ("cut off", "changed", "another's", "open to others", "a link", "a pipe", "its folder")


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "KEYTURN_VAULT_URL": "https://one.vault.azure.net"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A catalogue that is large enough."""
    directory = tmp_path / "catalogue"
    directory.mkdir()
    (directory / "shared.yaml").write_text(SHARED)
    secrets = "".join(SECRET % ((number,) * 5) for number in range(COUNT))
    (directory / "secrets.yaml").write_text(f"secrets:\n{secrets}")
    return directory


def kept(env: dict[str, str]) -> list[Path]:
    """The indexes there are."""
    return sorted(Path(env["XDG_CACHE_HOME"]).glob("keyturn/*"))


def by_need(catalogue: Catalogue) -> bool:
    """Whether it was opened from an index."""
    return isinstance(catalogue.secrets, Secrets)


def edit(files: Path, before: str, after: str) -> None:
    """Change the secrets' file, with the size and the time that it had."""
    file = files / "secrets.yaml"
    seen, text = file.stat(), file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def test_the_second_opening_says_the_same_and_makes_what_is_asked_for(files: Path, env: dict[str, str]) -> None:
    first, second = load_catalogue(files, env), load_catalogue(files, env)
    assert (by_need(first), by_need(second)) == (False, True)
    secrets: Any = second.secrets
    assert secrets["team/s00007"] == first.secrets["team/s00007"]
    assert [place.label for place in secrets["team/s00007"].destinations] == ["aws:s00007", "vault:s00007"]
    assert len(secrets._made) == 1
    assert dict(secrets) == dict(first.secrets)
    for section in ("stores", "targets", "consumers", "freezes", "syncs"):
        assert getattr(second, section) == getattr(first, section)
    assert pickle.loads(pickle.dumps(second)).secret("team/s00003") == first.secret("team/s00003")  # noqa: S301


def test_an_edited_file_is_read_whatever_its_size_and_time(files: Path, env: dict[str, str]) -> None:
    load_catalogue(files, env)
    edit(files, "owner_role: o00007", "owner_role: p00007")
    again = load_catalogue(files, env)
    assert not by_need(again)
    assert again.secret("team/s00007").rotation.owner_role == "p00007"  # type: ignore[attr-defined]


def test_what_only_a_look_at_all_secrets_shows_is_refused_all_the_same(files: Path, env: dict[str, str]) -> None:
    load_catalogue(files, env)
    edit(files, "{store: aws, name: s00007}", "{store: aws, name: s00008}")
    for _ in range(2):
        with pytest.raises(CatalogueInvalid, match="s00008 in the store aws is taken already"):
            load_catalogue(files, env)
    (files / "more.yaml").write_text("secrets:\n" + SECRET % ((9,) * 5))
    with pytest.raises(CatalogueInvalid, match="this name is declared twice"):
        load_catalogue(files, env)


def test_a_variable_with_another_value_is_seen_even_where_the_file_spells_it_in_code(
    files: Path, env: dict[str, str]
) -> None:
    load_catalogue(files, env)
    changed = load_catalogue(files, {**env, "KEYTURN_DB_HOST": "other"})
    assert (by_need(changed), changed.target("main-db").host) == (False, "other")  # type: ignore[union-attr]
    moved = load_catalogue(files, {**env, "KEYTURN_VAULT_URL": "https://two.vault.azure.net"})
    assert not by_need(moved)
    vault: Any = moved.store("vault")
    assert str(vault.vault_url) == "https://two.vault.azure.net"
    assert by_need(load_catalogue(files, {**env, "UNRELATED": "1", "KEYTURN_DB_HOST": "other"}))


def test_an_index_of_other_code_is_not_used(files: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    load_catalogue(files, env)
    monkeypatch.setattr(index, "code_stamp", lambda: "another release")
    assert not by_need(load_catalogue(files, env))


@pytest.mark.parametrize("harm", HARMS)
def test_an_index_that_was_damaged_or_that_others_could_write_is_not_believed(
    files: Path, env: dict[str, str], harm: str
) -> None:
    load_catalogue(files, env)
    (file,) = kept(env)
    content = file.read_bytes()
    match harm:
        case "cut off":
            file.write_bytes(content[:-100])
        case "changed":
            file.write_bytes(content.replace(b"team@example.com", b"other@example.co", 1))
        case "another's":
            os.chown(file, 65534, -1)
        case "open to others":
            file.chmod(0o666)
        case "a link":
            file.rename(file.with_suffix(".moved"))
            file.symlink_to(file.with_suffix(".moved"))
        case "a pipe":
            file.unlink()
            os.mkfifo(file, 0o600)
        case _:
            file.parent.chmod(0o777)
    assert not by_need(load_catalogue(files, env))


def test_it_is_for_its_user_alone_and_holds_no_value_of_a_variable(files: Path, env: dict[str, str]) -> None:
    load_catalogue(files, {**env, "KEYTURN_DB_HOST": "a-host-of-ours"})
    (file,) = kept(env)
    assert [stat.S_IMODE(one.stat().st_mode) for one in (file.parent, file)] == [0o700, 0o600]
    assert "a-host-of-ours" not in file.read_text()
    assert json.loads(file.read_bytes().partition(b"\n")[2])["variables"] == ["KEYTURN_DB_HOST", "KEYTURN_VAULT_URL"]


def test_without_a_place_for_it_the_catalogue_opens(files: Path, env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a directory should be")
    assert len(load_catalogue(files, env).secrets) == COUNT
    assert (tmp_path / "cache").is_file()


def test_several_at_once_open_and_keep_it(files: Path, env: dict[str, str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert all(len(one.secrets) == COUNT for one in pool.map(lambda _: load_catalogue(files, env), range(4)))
    assert by_need(load_catalogue(files, env))
    assert [one.suffix for one in kept(env)] == [".json"]


def test_few_stay_of_one_directory_and_none_of_a_small_one(files: Path, env: dict[str, str]) -> None:
    for number in range(index.KEPT + 2):
        load_catalogue(files, {**env, "KEYTURN_DB_HOST": f"db-{number}"})
    assert len(kept(env)) == index.KEPT
    small = files.parent / "small"
    small.mkdir()
    (small / "shared.yaml").write_text(SHARED.split("syncs:")[0])
    load_catalogue(small, env)
    assert len(kept(env)) == index.KEPT
