"""A revocation loads what it can of a broken catalogue, lists the rest, and uses nothing that is in doubt."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.catalogue import Catalogue, CatalogueInvalid, find_problems, load_catalogue
from keyturn.core.errors import NotFound

STORES = """
stores:
  cloud: {kind: aws-secrets-manager, region: eu-central-1}
  other: {kind: gcp-secret-manager, project: "${KEYTURN_OTHER_PROJECT}"}
targets:
  db: {kind: postgresql, host: db.test, database: app, admin: targets/db}
  far: {kind: postgresql, host: "${KEYTURN_FAR_HOST}", database: app, admin: targets/far}
consumers:
  trainer: {url: "https://trainer.test", signing_key: webhooks/trainer}
"""
SECRETS = """
secrets:
  app/db:
    owner: app@example.com
    classification: internal
    rotation: {strategy: single-user, target: db, user: app, accepts_gap: true, interval: 30d, grace: 0s}
    destinations: [{store: cloud, name: app-db}]
    consumers: [trainer]
"""
BROKEN_ENTRY = """
secrets:
  app/broken:
    owner: app@example.com
    classification: internal
    rotation: {strategy: single-user, target: db, user: broken, accepts_gap: true, interval: 30d}
"""
KNOWN = {"KEYTURN_OTHER_PROJECT": "p-12345", "KEYTURN_FAR_HOST": "far.test"}


def lenient(directory: Path, env: dict[str, str] | None = None, **files: str) -> Catalogue:
    """The catalogue of these files, of which the sound part loads."""
    for name, text in {"stores": STORES, "secrets": SECRETS, **files}.items():
        (directory / f"{name}.yaml").write_text(text)
    return load_catalogue(directory, KNOWN if env is None else env, lenient=True)


def messages(catalogue: Catalogue) -> str:
    return "\n".join(map(str, catalogue.left_out))


@pytest.fixture(autouse=True)
def strict_stays_strict(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Without ``lenient`` the same files are refused as before."""
    yield
    if find_problems(tmp_path, KNOWN):
        with pytest.raises(CatalogueInvalid):
            load_catalogue(tmp_path, KNOWN)


def test_a_sound_catalogue_leaves_nothing_out(tmp_path: Path) -> None:
    catalogue = lenient(tmp_path)
    assert catalogue.left_out == ()
    assert catalogue.left_out_of("app/db") == ()


def test_a_schema_error_in_another_entry_leaves_out_that_entry_alone(tmp_path: Path) -> None:
    catalogue = lenient(tmp_path, more=BROKEN_ENTRY)
    assert set(catalogue.secrets) == {"app/db"}
    assert "more.yaml:6: secrets.app/broken.rotation" in messages(catalogue)
    assert catalogue.left_out_of("app/db") == ()
    with pytest.raises(NotFound, match=r"its entry was left out: .*more\.yaml"):
        catalogue.secret("app/broken")


def test_an_unset_variable_of_another_target_leaves_out_that_target_alone(tmp_path: Path) -> None:
    catalogue = lenient(tmp_path, {"KEYTURN_OTHER_PROJECT": "p-12345"})
    assert (set(catalogue.targets), set(catalogue.stores)) == ({"db"}, {"cloud", "other"})
    assert "KEYTURN_FAR_HOST is not set" in messages(catalogue)
    assert catalogue.left_out_of("app/db") == ()


def test_a_file_that_is_not_yaml_may_hold_anything(tmp_path: Path) -> None:
    catalogue = lenient(tmp_path, more="stores:\n  x: [\n")
    assert set(catalogue.secrets) == {"app/db"}
    assert [Path(problem.file).name for problem in catalogue.left_out_of("app/db")] == ["more.yaml"]
    with pytest.raises(NotFound, match=r"more\.yaml was left out"):
        catalogue.secret("app/elsewhere")


def test_a_destination_in_a_store_that_was_left_out_is_never_written_and_counts(tmp_path: Path) -> None:
    more = SECRETS.replace("name: app-db}]", "name: app-db}, {store: other, name: app-db}, {store: gone, name: x}]")
    catalogue = lenient(tmp_path, {"KEYTURN_FAR_HOST": "far.test"}, secrets=more)
    assert [place.store for place in catalogue.destinations("app/db")] == ["cloud"]
    said = [problem.where for problem in catalogue.left_out_of("app/db")]
    assert said == ["secrets.app/db.destinations[1].store", "secrets.app/db.destinations[2].store"]


def test_a_consumer_that_is_not_declared_is_left_out_with_the_rollout_that_names_it(tmp_path: Path) -> None:
    more = SECRETS.replace("[trainer]", "[trainer, unknown]\n    rollout: {canary: [unknown]}")
    catalogue = lenient(tmp_path, secrets=more)
    assert catalogue.secret("app/db").consumers == ("trainer",)
    assert catalogue.secret("app/db").rollout is None
    assert catalogue.left_out_of("app/db")


def test_a_secret_whose_target_was_left_out_stays_and_counts(tmp_path: Path) -> None:
    catalogue = lenient(
        tmp_path, secrets=SECRETS.replace("target: db", "target: far"), env={"KEYTURN_OTHER_PROJECT": "p-1"}
    )
    assert "app/db" in catalogue.secrets
    assert catalogue.left_out_of("app/db")
    with pytest.raises(NotFound, match=r"its entry was left out: .*KEYTURN_FAR_HOST is not set"):
        catalogue.target("far")


def test_a_sync_to_an_unknown_store_may_concern_every_secret(tmp_path: Path) -> None:
    catalogue = lenient(tmp_path, syncs='syncs:\n  all: {paths: ["**"], stores: [nowhere], name: "{path}"}\n')
    assert catalogue.syncs == {}
    assert catalogue.left_out_of("app/db")


def test_an_unknown_key_of_a_file_may_be_a_misspelled_section(tmp_path: Path) -> None:
    catalogue = lenient(tmp_path, more="secerts: {}\n")
    assert catalogue.left_out_of("app/db")


def test_a_secret_declared_twice_keeps_its_first_entry_and_counts(tmp_path: Path) -> None:
    catalogue = lenient(tmp_path, twice=SECRETS)
    assert catalogue.secret("app/db").destinations
    assert catalogue.left_out_of("app/db")


def test_a_broken_rule_leaves_out_the_rule_alone(tmp_path: Path) -> None:
    catalogue = lenient(tmp_path, more='rules:\n  strict: {paths: ["**"], never: {stores: [nowhere]}}\n')
    assert catalogue.rules == {}
    assert [problem.path[:2] for problem in catalogue.left_out] == [("rules", "strict")]
    assert catalogue.left_out_of("app/db") == ()


def test_a_directory_from_which_nothing_loads_is_refused(tmp_path: Path) -> None:
    for directory in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(CatalogueInvalid):
            load_catalogue(directory, {}, lenient=True)
    (tmp_path / "all.yaml").write_text("secrets: [\n")
    with pytest.raises(CatalogueInvalid):
        load_catalogue(tmp_path, {}, lenient=True)


@pytest.mark.parametrize("name", sorted(path.name for path in (Path(__file__).parent / "broken").iterdir()))
def test_every_broken_catalogue_loads_in_part_or_is_refused_and_lists_every_problem(name: str) -> None:
    operated = {"KEYTURN_POLICY": os.environ["KEYTURN_POLICY"]}
    directory, env = Path(__file__).parent / "broken" / name, {"KEYTURN_EMPTY": "", "KEYTURN_WORD": "many", **operated}
    try:
        catalogue = load_catalogue(directory, env, despite_policy=True, lenient=True)
    except CatalogueInvalid:
        return
    listed = {str(problem) for problem in catalogue.left_out} | set(catalogue.waived)
    strict = [problem for problem in find_problems(directory, env) if "may not be named" not in problem.message]
    assert {str(problem) for problem in strict} <= listed
    for path, secret in catalogue.secrets.items():
        assert all(place.store in catalogue.stores for place in secret.destinations), path
        assert set(secret.consumers) <= set(catalogue.consumers)
