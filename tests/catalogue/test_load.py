"""The example loads, and what comes out is pleasant to use."""

import gc
import os
import re
from datetime import time, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from yaml.nodes import Node

from keyturn.catalogue import Catalogue, Classification, find_problems, load_catalogue
from keyturn.catalogue.files.parse import gather, parse_files
from keyturn.catalogue.stores.aws import AwsSecretsManagerSettings
from keyturn.catalogue.stores.azure import AzureKeyVaultSettings
from keyturn.catalogue.stores.gcp import GcpSecretManagerSettings
from keyturn.catalogue.stores.kubernetes import KubernetesSettings
from keyturn.core.errors import NotFound
from keyturn.core.schedule.due import Schedule, Window
from keyturn.core.text.passwords import Form, PasswordPolicy
from keyturn.strategies.database_users import AlternatingUsersSettings, SingleUserSettings
from keyturn.strategies.generated import GeneratedSettings
from keyturn.strategies.vault_dynamic import VaultDynamicSettings
from tests.support.places import single

EXAMPLE = Path(__file__).parents[2] / "deployments" / "catalogue"
ENV = {
    "KEYTURN_AZURE_VAULT_URL": "https://localhost:8443",
    "KEYTURN_GCP_PROJECT": "keyturn-demo",
    "KEYTURN_TRAINER_URL": "http://127.0.0.1:9001",
    "KEYTURN_INFERENCE_URL": "http://127.0.0.1:9002",
}


@pytest.fixture(scope="module")
def example() -> Catalogue:
    return load_catalogue(EXAMPLE, ENV)


def loaded(directory: Path, text: str, env: dict[str, str] | None = None) -> Catalogue:
    (directory / "all.yaml").write_text(text)
    return load_catalogue(directory, env or {})


SECRET = """
targets:
  main-db: {kind: postgresql, host: db, database: app, admin: targets/main-db}
secrets:
  app/key:
    owner: app@example.com
    classification: internal
    rotation: {interval: 30d, grace: 1h, %s}
"""


def test_the_example_declares_the_two_secrets_of_the_demo_and_a_decoy(example: Catalogue) -> None:
    decoys = {path for path, secret in example.secrets.items() if secret.decoy}
    assert decoys == {"ml-training/warehouse-admin"}
    assert set(example.secrets) - decoys == {"ml-training/database", "ml-training/api-keys"}
    clouds = ("aws", "azure", "gcp")
    places = {
        "ml-training/database": [
            *((store, "ml-database-credentials") for store in (*clouds, "cluster")),
            ("parameters", "/ml-training/database-url"),
        ],
        "ml-training/api-keys": [(store, "ml-api-keys") for store in clouds],
    }
    for path, expected in places.items():
        secret = example.secret(path)
        assert [(place.store, place.name) for place in single(secret.destinations)] == expected
        assert secret.consumers == ("trainer", "inference")
        assert secret.path == path


def test_the_database_secret_alternates_two_users(example: Catalogue) -> None:
    secret = example.secrets["ml-training/database"]
    assert secret.classification is Classification.CONFIDENTIAL
    assert isinstance(secret.rotation, AlternatingUsersSettings)
    assert secret.rotation.strategy == "alternating-users"
    assert secret.rotation.users == ("ml_trainer_a", "ml_trainer_b")
    assert secret.rotation.owner_role == "ml_trainer"
    assert secret.rotation.interval == timedelta(days=30)
    assert secret.rotation.password.policy == PasswordPolicy(length=32)


def test_the_api_keys_are_generated_field_by_field(example: Catalogue) -> None:
    rotation = example.secret("ml-training/api-keys").rotation
    assert isinstance(rotation, GeneratedSettings)
    assert {name: policy.form for name, policy in rotation.policies.items()} == {
        "inference_key": Form.URL_SAFE,
        "webhook_signing_key": Form.HEX,
    }


def test_timing_is_given_in_the_words_of_the_decision(example: Catalogue) -> None:
    window = Window(frozenset({0, 1, 2, 3}), time(2), time(5), "Europe/Berlin")
    schedule = Schedule(timedelta(days=30), timedelta(hours=2), timedelta(days=45), window)
    assert example.secret("ml-training/database").rotation.schedule == schedule


def test_connections_come_from_the_environment(example: Catalogue) -> None:
    assert example.store("azure") == AzureKeyVaultSettings(kind="azure-key-vault", vault_url="https://localhost:8443")
    assert example.store("gcp") == GcpSecretManagerSettings(kind="gcp-secret-manager", project="keyturn-demo")
    assert example.store("cluster") == KubernetesSettings(kind="kubernetes", namespace="ml", restart=True)
    target: Any = example.target("ml-postgres")
    assert (target.host, target.port) == ("127.0.0.1", 5432)
    trainer: Any = example.consumer("trainer")
    assert trainer.url == "http://127.0.0.1:9001"


def test_an_empty_default_leaves_an_optional_setting_out(example: Catalogue) -> None:
    assert example.store("aws") == AwsSecretsManagerSettings(kind="aws-secrets-manager", region="eu-central-1")
    elsewhere = load_catalogue(EXAMPLE, {**ENV, "KEYTURN_AWS_ENDPOINT": "http://127.0.0.1:5000"}).store("aws")
    assert isinstance(elsewhere, AwsSecretsManagerSettings)
    assert elsewhere.endpoint_url == "http://127.0.0.1:5000"


def test_a_number_may_come_from_the_environment() -> None:
    target: Any = load_catalogue(EXAMPLE, {**ENV, "KEYTURN_POSTGRES_PORT": "6543"}).target("ml-postgres")
    assert target.port == 6543


def test_without_its_environment_the_example_names_every_missing_variable() -> None:
    said = " ".join(problem.message for problem in find_problems(EXAMPLE, {}))
    assert all(f"{name} is not set" in said for name in ENV)


@pytest.mark.parametrize("kind", ["secret", "store", "target", "consumer"])
def test_an_unknown_name_is_not_found_and_the_likely_one_is_named(example: Catalogue, kind: str) -> None:
    known = {"secret": "ml-training/database", "store": "azure", "target": "ml-postgres", "consumer": "trainer"}[kind]
    with pytest.raises(NotFound, match=f"Did you mean {known}"):
        getattr(example, kind)(known[:-1])


def test_an_unknown_name_in_an_empty_catalogue_is_not_found() -> None:
    with pytest.raises(NotFound, match="declares no secret at all"):
        Catalogue().secret("app/key")


def test_what_is_loaded_can_not_be_changed(example: Catalogue) -> None:
    with pytest.raises(ValidationError):
        example.secret("ml-training/database").rotation.interval = timedelta(days=1)  # type: ignore[misc]


def test_a_single_user_is_accepted_when_its_gap_is(tmp_path: Path) -> None:
    said = "strategy: single-user, target: main-db, user: app, accepts_gap: true"
    rotation = loaded(tmp_path, SECRET % said).secret("app/key").rotation
    assert isinstance(rotation, SingleUserSettings)
    assert (rotation.user, rotation.accepts_gap) == ("app", True)


def test_the_engines_mount_is_database_by_default(tmp_path: Path) -> None:
    rotation = (
        loaded(tmp_path, SECRET % "strategy: vault-dynamic, target: main-db, role: app").secret("app/key").rotation
    )
    assert isinstance(rotation, VaultDynamicSettings)
    assert (rotation.mount, rotation.role) == ("database", "app")


def test_one_generated_field_is_called_value_by_default(tmp_path: Path) -> None:
    rotation = loaded(tmp_path, SECRET % "strategy: generated, form: hex, length: 16").secret("app/key").rotation
    assert isinstance(rotation, GeneratedSettings)
    assert rotation.policies == {"value": PasswordPolicy(Form.HEX, 16)}


def test_an_anchor_may_share_a_window_between_secrets(tmp_path: Path) -> None:
    window = "window: &night {days: [mon], from: 23:00, to: 04:00, timezone: UTC}"
    text = SECRET % f"strategy: generated, {window}"
    text += "  app/other:\n    owner: a\n    classification: public\n"
    text += "    rotation: {strategy: generated, interval: 7d, grace: 1d, window: *night}\n"
    catalogue = loaded(tmp_path, text)
    assert catalogue.secret("app/other").rotation.window == catalogue.secret("app/key").rotation.window


def test_sections_may_be_spread_over_files_and_left_empty(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("consumers:\n  one: {url: 'https://one.example.com', signing_key: webhooks/one}\n")
    (tmp_path / "b.yaml").write_text("consumers:\n  two: {url: 'https://two.example.com', signing_key: webhooks/two}\n")
    (tmp_path / "c.yaml").write_text("consumers:\nsecrets:\n")
    assert set(load_catalogue(tmp_path, {}).consumers) == {"one", "two"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"region": "eu-central-1"}, {"region": "eu-central-1"}, True),
        ({"region": "eu-central-1"}, {"region": "us-east-1"}, False),
        ({"role_arn": "arn:aws:iam::111111111111:role/a"}, {"role_arn": "arn:aws:iam::111111111111:role/b"}, True),
        ({"role_arn": "arn:aws:iam::111111111111:role/a"}, {"role_arn": "arn:aws:iam::222222222222:role/a"}, False),
        ({"kms_key_id": "alias/a"}, {"kms_key_id": "alias/b"}, True),
    ],
)
def test_two_stores_are_one_system_by_region_and_account(
    one: dict[str, str], other: dict[str, str], same: bool
) -> None:
    first, second = (
        AwsSecretsManagerSettings.model_validate({"kind": "aws-secrets-manager", "region": "eu-central-1", **settings})
        for settings in (one, other)
    )
    assert (first.system == second.system) is same


def test_the_examples_of_the_operators_guide_are_a_sound_catalogue(tmp_path: Path) -> None:
    guide = (EXAMPLE.parents[1] / "docs" / "catalogue.md").read_text(encoding="utf-8")
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", guide, flags=re.M | re.S)):
        (tmp_path / f"{number}.yaml").write_text(block)
    strategies = {secret.rotation.strategy for secret in load_catalogue(tmp_path, os.environ).secrets.values()}
    assert strategies == {"alternating-users", "single-user", "vault-dynamic", "generated", "signing-key"}


ALIKE = """
stores:
  aws: {kind: aws-secrets-manager, region: eu-central-1}
secrets:
  app/one:
    owner: app@example.com
    classification: internal
    rotation: {strategy: generated, field: password, interval: 30d, grace: 1h}
    destinations: [{store: aws, name: one}]
  app/two:
    owner: app@example.com
    classification: internal
    rotation: {grace: 1h, interval: 30d, strategy: generated, field: password}
    destinations: [{store: aws, name: two}]
  app/other:
    owner: app@example.com
    classification: internal
    rotation: {strategy: generated, field: password, interval: 31d, grace: 1h}
    destinations: [{store: aws, name: other}]
"""


def test_rotations_that_say_the_same_are_kept_once(tmp_path: Path) -> None:
    secrets = loaded(tmp_path, ALIKE).secrets
    one, two, other = (secrets[f"app/{name}"] for name in ("one", "two", "other"))
    assert one.rotation is two.rotation
    assert one.model_fields_set is two.model_fields_set
    assert (other.rotation.interval, one.rotation.interval) == (timedelta(days=31), timedelta(days=30))


@pytest.mark.parametrize(
    ("wrong", "line", "where"),
    [
        ("classification: secret", 12, "secrets.app/two.classification"),
        ("classification: internal\n    onwer: x", 13, "secrets.app/two.onwer"),
    ],
)
def test_what_is_wrong_with_a_secret_is_told_where_it_stands_though_another_says_the_same(
    tmp_path: Path, wrong: str, line: int, where: str
) -> None:
    first, two, rest = ALIKE.partition("app/two:")
    (tmp_path / "all.yaml").write_text(first + two + rest.replace("classification: internal", wrong, 1))
    (problem,) = find_problems(tmp_path, {})
    assert (problem.line, problem.where) == (line, where)


def test_nodes_of_a_sound_catalogue_are_given_up_as_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(ALIKE)
    gc.collect()
    before = nodes()
    read = parse_files(gather(tmp_path))
    assert nodes() == before
    assert read.entries["secrets"]["app/two"].line_of(("rotation", "interval")) == 13


def nodes() -> int:
    """How many nodes of files are in memory."""
    return sum(isinstance(thing, Node) for thing in gc.get_objects())
