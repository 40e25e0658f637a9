"""Converting other tools' files to a catalogue, and reporting what can't be converted."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.catalogue import Catalogue, find_problems, load_catalogue
from keyturn.cli.app import app
from keyturn.inventory.from_aws import cron_of, times_of

OWNER = "platform@example.com"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No hub, no stack: nothing is asked of either."""
    for name in ("VAULT_ADDR", "KEYTURN_HUB_MOUNT", "KEYTURN_CATALOGUE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))


def convert(directory: Path, content: Any, *more: str) -> Result:
    """Convert one file."""
    text = content if isinstance(content, str) else json.dumps(content)
    (directory / "given").write_text(text)
    arguments = ["--from", str(directory / "given"), "--out", str(directory / "out"), "--owner", OWNER]
    return CliRunner().invoke(app, ["init", *arguments, *more])


def converted(directory: Path, content: Any, *more: str) -> Catalogue:
    """The catalogue that comes of it, which is sound, and in which nothing is rotated."""
    done = convert(directory, content, *more)
    assert done.exit_code == 0, done.output
    assert find_problems(directory / "out", {}) == []
    made = load_catalogue(directory / "out", {})
    assert {str(secret.rotation.strategy) for secret in made.secrets.values()} <= {"manual"}
    return made


def places(catalogue: Catalogue, path: str) -> list[dict[str, Any]]:
    """Where a secret goes."""
    return [place.model_dump(exclude_defaults=True) for place in catalogue.secret(path).pushed_to]


def text(directory: Path) -> str:
    """The file that declares the secrets."""
    return (directory / "out" / "secrets.yaml").read_text()


CLOUDS = ("--aws", "eu-central-1", "--azure", "https://ml.vault.azure.net", "--gcp", "ml-platform")
EVERYWHERE = [{"store": "aws", "name": "ml-db"}, {"store": "azure", "name": "ml-db"}, {"store": "gcp", "name": "ml-db"}]


# --- a mapping of paths


@pytest.mark.parametrize(
    "content",
    [
        {"secret/ml/db": {"aws": "ml-db", "azure": "ml-db", "gcp": "ml-db"}},
        {"sync_config": {"secret/data/ml/db": {"AWS": ["ml-db"], "azure": {"name": "ml-db"}, "gcp": "ml-db"}}},
        {"ml/db": ["aws:ml-db", {"store": "azure", "name": "ml-db"}, {"cloud": "gcp", "key": "ml-db"}]},
        [{"path": "/secret/ml/db/", "aws": "ml-db", "azure": "ml-db", "gcp": "ml-db"}],
        {
            "mappings": [
                {
                    "source": "ml/db",
                    "targets": [{"provider": name, "name": "ml-db"} for name in ("aws", "azure", "gcp")],
                }
            ]
        },
        "secret/ml/db:\n  aws: ml-db\n  azure: ml-db\n  gcp: ml-db\n",
    ],
)
def test_every_form_of_a_mapping_says_the_same(content: Any, tmp_path: Path) -> None:
    made = converted(tmp_path, content, *CLOUDS)
    assert places(made, "ml/db") == EVERYWHERE
    assert made.secret("ml/db").owner == OWNER


def test_fields_of_a_mapping_are_fields_of_the_copy(tmp_path: Path) -> None:
    content = {"ml/db": {"aws": [{"name": "a", "field": "password"}, {"name": "b", "fields": {"PW": "password"}}]}}
    made = converted(tmp_path, content, *CLOUDS)
    assert places(made, "ml/db") == [
        {"store": "aws", "name": "a", "field": "password"},
        {"store": "aws", "name": "b", "fields": {"PW": "password"}},
    ]


def test_nothing_is_overwritten_unless_it_is_asked_for(tmp_path: Path) -> None:
    content = {"ml/db": {"aws": "ml-db"}}
    assert not places(converted(tmp_path, content, *CLOUDS), "ml/db")[0].get("adopt")
    assert places(converted(tmp_path, content, "--adopt"), "ml/db") == [
        {"store": "aws", "name": "ml-db", "adopt": True}
    ]


def test_a_store_that_nothing_declares_is_commented_out_with_the_remedy(tmp_path: Path) -> None:
    made = converted(tmp_path, {"ml/db": {"aws": "ml-db", "plant": "ml/db"}}, "--aws", "eu-central-1")
    assert places(made, "ml/db") == [{"store": "aws", "name": "ml-db"}]
    assert "# question: plant:ml/db: nothing declares the store plant" in text(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("just words", "no mapping"),
        ({"ml/db": 3}, "ml/db: it lists no places"),
        ({"ml/db": {"aws": {"field": "x"}}}, "ml/db: a place in aws has no name"),
        ({"ml/db": ["ml-db"]}, "ml/db: a mapping is missing"),
        ("{a: [", "no YAML and no JSON"),
    ],
)
def test_what_is_none_of_these_is_refused_with_its_place(content: Any, words: str, tmp_path: Path) -> None:
    done = convert(tmp_path, content)
    assert (done.exit_code, (tmp_path / "out").exists()) == (1, False)
    assert words in done.stderr
    assert "remedy: " in done.stderr


# --- sync_mappings

AZURE, SEVERAL = "https://ml.vault.azure.net", ("aws", "azure", "gcp")
SYNC: dict[str, Any] = {
    "sync_mappings": [
        {
            "vault": {"path": "secret/data/ml/db", "key": "password"},
            "aws": {"name": "ml-db", "region": "eu-central-1"},
            "azure": {"name": "ml-db", "vault_url": f"{AZURE}/"},
            "gcp": {"name": "ml-db", "project": "ml-platform"},
        },
        {
            "vault": {"path": "ml/api"},
            "aws": [{"name": "ml-api", "region": "eu-central-1"}, {"name": "ml-api", "region": "us-east-1"}],
            "azure": {"name": "ml-api", "vault_name": "ml"},
            "gcp": {"secret_id": "ml-api", "project_id": "ml-platform"},
        },
    ]
}


def test_sync_mappings_load_with_the_stores_that_they_name(tmp_path: Path) -> None:
    made = converted(tmp_path, SYNC)
    assert places(made, "ml/db") == [{"store": store, "name": "ml-db", "field": "password"} for store in SEVERAL]
    assert [(place["store"], place["name"]) for place in places(made, "ml/api")] == [
        ("aws", "ml-api"),
        ("aws-us-east-1", "ml-api"),
        ("azure", "ml-api"),
        ("gcp", "ml-api"),
    ]
    found = {name: settings.model_dump(exclude_unset=True) for name, settings in made.stores.items()}
    assert found == {
        "aws": {"kind": "aws-secrets-manager", "region": "eu-central-1"},
        "aws-us-east-1": {"kind": "aws-secrets-manager", "region": "us-east-1"},
        "azure": {"kind": "azure-key-vault", "vault_url": AZURE},
        "gcp": {"kind": "gcp-secret-manager", "project": "ml-platform"},
    }


@pytest.mark.parametrize(
    "content",
    [
        {"sync_mappings": [{"vault": "secret/ml/db", "aws": "ml-db", "azure": "ml-db", "gcp": "ml-db"}]},
        {"sync_mappings": {"db": {"vault": "ml/db", "aws": ["ml-db"], "azure": {"name": "ml-db"}, "gcp": "ml-db"}}},
        [
            {
                "vault": {"path": "ml/db"},
                "aws": {"secret_name": "ml-db"},
                "azure": "ml-db",
                "gcp": {"secret_id": "ml-db"},
            }
        ],
        {
            "aws": {"region": "eu-central-1"},
            "azure": {"vault_url": AZURE},
            "gcp": {"project_id": "ml-platform"},
            "sync_mappings": [{"name": "db", "vault": {"path": "ml/db"}, **dict.fromkeys(SEVERAL, "ml-db")}],
        },
    ],
)
def test_every_form_of_sync_mappings_says_the_same(content: Any, tmp_path: Path) -> None:
    assert places(converted(tmp_path, content, *CLOUDS), "ml/db") == EVERYWHERE


def test_a_mount_and_a_member_of_json_are_kept(tmp_path: Path) -> None:
    aws = {"name": "ml-db", "key": "DB_PASSWORD", "region": "eu-central-1"}
    content = {"sync_mappings": [{"vault": {"mount": "teams", "path": "ml/db", "key": "password"}, "aws": aws}]}
    made = converted(tmp_path, content)
    assert places(made, "teams:ml/db") == [{"store": "aws", "name": "ml-db", "fields": {"DB_PASSWORD": "password"}}]
    assert made.mount_paths == {"teams": "teams"}


def test_a_store_that_is_declared_elsewhere_is_not_taken_for_this_one(tmp_path: Path) -> None:
    made = converted(tmp_path, SYNC, "--aws", "eu-west-1")
    assert {place["store"] for place in places(made, "ml/db")} == {"aws-eu-central-1", "azure", "gcp"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"vault": {"path": "ml/db", "version": 3}, "aws": "ml-db"}, "vault has version, which is not converted"),
        ({"vault": "ml/db", "aws": {"name": "ml-db", "transform": "upper"}}, "it has transform"),
        ({"vault": "ml/db", "aws": {"name": "ml-db", "key": "PW"}}, "vault names no field"),
    ],
)
def test_what_of_sync_mappings_is_not_converted_is_a_question(
    entry: dict[str, Any], words: str, tmp_path: Path
) -> None:
    made = converted(tmp_path, {"sync_mappings": [entry]}, *CLOUDS)
    assert places(made, "ml/db") == []
    assert words in text(tmp_path)


def test_what_stands_beside_sync_mappings_is_listed(tmp_path: Path) -> None:
    made = converted(tmp_path, {**SYNC, "schedule": "0 * * * *"})
    assert made.secrets.keys() == {"ml/api", "ml/db"}
    assert "schedule: it is next to sync_mappings, and is not converted" in text(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"sync_mappings": [{"aws": "x"}]}, "an entry has no path under vault"),
        ({"sync_mappings": ["x"]}, "sync_mappings: a mapping is missing"),
        ({"sync_mappings": [{"vault": "ml/db", "aws": {"region": "eu-central-1"}}]}, "a place in aws has no name"),
    ],
)
def test_a_broken_entry_of_sync_mappings_is_refused(content: Any, words: str, tmp_path: Path) -> None:
    done = convert(tmp_path, content)
    assert (done.exit_code, (tmp_path / "out").exists()) == (1, False)
    assert words in done.stderr


# --- External Secrets Operator


VAULT: dict[str, Any] = {
    "apiVersion": "external-secrets.io/v1",
    "kind": "ClusterSecretStore",
    "metadata": {"name": "vault"},
    "spec": {"provider": {"vault": {"server": "https://vault.example.com", "path": "secret", "version": "v2"}}},
}
AWS: dict[str, Any] = {
    "apiVersion": "external-secrets.io/v1",
    "kind": "SecretStore",
    "metadata": {"name": "aws-prod", "namespace": "ml"},
    "spec": {"provider": {"aws": {"service": "SecretsManager", "region": "eu-central-1"}}},
}


def pulls(name: str, **spec: Any) -> dict[str, Any]:
    """An ExternalSecret of the namespace ml."""
    ref = {"secretStoreRef": {"kind": "ClusterSecretStore", "name": "vault"}}
    metadata = {"name": name, "namespace": "ml"}
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": metadata,
        "spec": {**ref, **spec},
    }


def pushes(name: str, source: str, *data: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A PushSecret of the same namespace."""
    said = {
        "secretStoreRefs": [{"name": "aws-prod"}],
        "selector": {"secret": {"name": source}},
        "data": list(data),
        **spec,
    }
    metadata = {"name": name, "namespace": "ml"}
    return {"apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret", "metadata": metadata, "spec": said}


def key(secret_key: str, remote: str, name: str = "") -> dict[str, Any]:
    """One key of a PushSecret."""
    return {
        "match": {"secretKey": secret_key, "remoteRef": {"remoteKey": remote, **({"property": name} if name else {})}}
    }


def manifests(*several: dict[str, Any]) -> str:
    """As kubectl prints them."""
    return yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": list(several)})


def test_what_is_pulled_into_a_cluster_is_pushed_to_it(tmp_path: Path) -> None:
    whole = pulls("db", dataFrom=[{"extract": {"key": "secret/ml/db"}}])
    data = [{"secretKey": "PW", "remoteRef": {"key": "ml/db", "property": "password"}}]
    some = pulls("some", target={"name": "db-env"}, data=data)
    made = converted(tmp_path, manifests(VAULT, whole, some))
    assert places(made, "ml/db") == [
        {"store": "cluster-ml", "name": "db"},
        {"store": "cluster-ml", "name": "db-env", "fields": {"PW": "password"}},
    ]
    assert made.stores["cluster-ml"].model_dump(include={"kind", "namespace"}) == {
        "kind": "kubernetes",
        "namespace": "ml",
    }


def test_what_is_pushed_from_a_cluster_goes_out_from_the_hub(tmp_path: Path) -> None:
    data = [{"secretKey": "PW", "remoteRef": {"key": "ml/db", "property": "password"}}]
    whole = {"match": {"remoteRef": {"remoteKey": "whole"}}}
    pushed = pushes(
        "out",
        "db",
        key("PW", "pw"),
        key("PW", "object", "pass"),
        whole,
        updatePolicy="IfNotExists",
        deletionPolicy="Delete",
    )
    made = converted(
        tmp_path, "---\n".join(yaml.safe_dump(one) for one in (VAULT, AWS, pulls("db", data=data), pushed))
    )
    policies = {"update": "create-only", "deletion": "delete"}
    aws = [place for place in places(made, "ml/db") if place["store"] == "aws-prod"]
    assert [{k: str(v) if k in policies else v for k, v in place.items()} for place in aws] == [
        {"store": "aws-prod", "name": "pw", "field": "password", **policies},
        {"store": "aws-prod", "name": "object", "fields": {"pass": "password"}, **policies, "update": "add-fields"},
        {"store": "aws-prod", "name": "whole", "fields": {"PW": "password"}, **policies},
    ]
    assert made.stores["aws-prod"].places == ("eu-central-1",)


def test_a_secret_of_a_cluster_that_nothing_pulls_gets_a_path_and_a_question(tmp_path: Path) -> None:
    made = converted(tmp_path, manifests(AWS, pushes("out", "made-here", key("password", "pw"))))
    assert places(made, "ml/made-here") == [{"store": "aws-prod", "name": "pw", "field": "password"}]
    assert "# question: it is the Secret made-here of a cluster: is it at this path of the hub?" in text(tmp_path)


def test_what_a_cloud_is_the_source_of_is_to_be_imported_first(tmp_path: Path) -> None:
    ref = {"secretStoreRef": {"name": "aws-prod"}}
    convert(tmp_path, manifests(AWS, pulls("db", **ref, dataFrom=[{"extract": {"key": "prod/db"}}])))
    reason = "it is read from aws: bring that to the hub first, with keyturn import"
    assert f"#   ExternalSecret ml/db: it is not converted: {reason}" in text(tmp_path)


# --- AWS's rotation


def aws(name: str, function: str = "own", **more: Any) -> dict[str, Any]:
    """A secret as list-secrets tells it."""
    arn = f"arn:aws:secretsmanager:eu-west-1:111122223333:secret:{name}-AbCdEf"
    lambda_arn = f"arn:aws:lambda:eu-west-1:111122223333:function:{function}"
    return {"Name": name, "ARN": arn, "RotationEnabled": True, "RotationLambdaARN": lambda_arn, **more}


def test_awss_rotation_becomes_a_proposal_and_two_never_rotate_one_secret(tmp_path: Path) -> None:
    both = "SecretsManagerRDSPostgreSQLRotationMultiUser"
    content = {"SecretList": [aws("prod/db", both, RotationRules={"AutomaticallyAfterDays": 30})]}
    made = converted(tmp_path, content)
    assert places(made, "prod/db") == []
    assert made.stores["aws"].places == ("eu-west-1",)
    said = text(tmp_path)
    rotation = "strategy: alternating-users, target: TARGET, users: [USER, USER_clone], owner_role: OWNER"
    assert f"# rotation: {{ {rotation}, interval: 30d, grace: 1d }}" in said
    assert "cancel-rotate-secret --secret-id prod/db" in said
    assert "#   - { store: aws, name: prod/db, adopt: true }" in said


def test_several_described_secrets_may_follow_one_another(tmp_path: Path) -> None:
    texts = [json.dumps(aws(name, RotationRules={"ScheduleExpression": "rate(4 hours)"})) for name in ("a", "b")]
    assert converted(tmp_path, "\n".join(texts)).secrets.keys() == {"a", "b"}
    assert "AWS's times are interval: 4h grace: 1h" in text(tmp_path)


def test_what_aws_manages_itself_or_does_not_rotate_is_left(tmp_path: Path) -> None:
    managed = aws("rds!cluster", OwningService="rds")
    quiet = {**aws("quiet"), "RotationEnabled": False}
    assert converted(tmp_path, [managed, quiet]).secrets == {}
    assert "rds manages it" in text(tmp_path)
    assert "AWS does not rotate it" in text(tmp_path)


@pytest.mark.parametrize(
    ("expression", "cron"),
    [
        ("0 8 1 * ? *", "0 8 1 * *"),
        ("0 16 ? * 2#1 *", "0 16 * * mon#1"),
        ("0 0 ? * SUN *", "0 0 * * sun"),
        ("0 10 ? * 2-6 *", "0 10 * * mon-fri"),
        ("0 12 ? * 6L *", "0 12 * * 5L"),
        ("0 0/8 * * ? *", "0 */8 * * *"),
        ("0 10 15W * ? *", ""),
        ("0 10 1 * ? 2027", ""),
    ],
)
def test_awss_cron_is_the_catalogues_or_a_question(expression: str, cron: str) -> None:
    assert cron_of(expression) == cron
    times, asks = times_of({"ScheduleExpression": f"cron({expression})"})
    assert (times.get("cron", ""), bool(asks)) == (cron, not cron)


# --- the command


def test_adopt_goes_with_files_alone(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", "--out", str(tmp_path / "out"), "--owner", OWNER, "--adopt"])
    assert done.exit_code == 2
