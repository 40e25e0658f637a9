"""Rendered policies are reproducible and contain only what the catalogue declares."""

import json
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue import Catalogue, load_catalogue
from keyturn.catalogue.stores.aws import AwsSecretsManagerSettings
from keyturn.core.errors import Invalid
from keyturn.core.rights.aws_rights import LONGEST
from keyturn.core.rights.rights import CopyRights, Document, HubPlaces, Section, allow, merged
from keyturn.rights import hub_policies as rules
from keyturn.rights.copies import store_documents
from keyturn.rights.directory import left_over, write
from keyturn.rights.policy_documents import everything, rendered
from keyturn.rights.scope import SecretPath, scope_of
from tests.cli.command import run_keyturn

ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "deployments" / "policies"
EXAMPLE = ROOT / "deployments" / "catalogue"
VARIABLES = {
    "KEYTURN_TRAINER_URL": "https://trainer.example.com",
    "KEYTURN_INFERENCE_URL": "https://inference.example.com",
    "KEYTURN_AZURE_VAULT_URL": "https://ml.vault.azure.net",
    "KEYTURN_GCP_PROJECT": "ml-project",
}
SECRET: dict[str, Any] = {
    "owner": "tests@example.com",
    "classification": "internal",
    "rotation": {"strategy": "generated", "interval": "30d", "grace": "1h"},
}


def paths(role: str, **sections: Any) -> set[str]:
    """The paths in a policy for a catalogue of these."""
    scope = scope_of(Catalogue.model_validate(sections), HubPlaces(mounts={"pay": "kv-pay"}))
    return {rule.path for section in rules.sections(scope, role) for rule in section.rules}


def test_the_repositorys_policies_are_those_of_a_catalogue_that_may_do_everything() -> None:
    made = {document.name: document.text for document in everything()}
    there = {file.name: file.read_text() for file in POLICIES.iterdir() if file.name in made}
    assert there == made, "run `keyturn setup store --everything --out deployments/policies`"


def test_the_same_catalogue_gives_the_same_documents_and_each_names_its_digest() -> None:
    catalogue = load_catalogue(EXAMPLE, VARIABLES)
    first, second = (rendered(scope_of(catalogue, HubPlaces()), catalogue, "3f9a" * 16) for _ in range(2))
    assert first == second
    assert [document.name for document in first] == sorted(document.name for document in first)
    assert all("3f9a" * 16 in document.text for document in first)


def test_a_secret_of_another_mount_is_named_there_and_that_mount_is_listed() -> None:
    named = paths(
        rules.WORKER, secrets={"pay:cards": {**SECRET, "path": "pay:cards"}}, mounts={"pay": {"mount": "kv-pay"}}
    )
    assert {"kv-pay/data/cards", "kv-pay/metadata/cards", "kv-pay/detailed-metadata/*"} <= named
    assert not {path for path in named if path.startswith("secret/data/")}


@pytest.mark.parametrize(
    ("pattern", "copied"),
    [
        ("team/*", SecretPath("secret", "team/*")),
        ("team/app", SecretPath("secret", "team/app")),
        ("**", SecretPath("secret", "*")),
        ("pay:team/**/db", SecretPath("kv-pay", "team/*")),
    ],
)
def test_what_a_sync_copies_without_its_being_declared_is_read_and_not_written(
    pattern: str, copied: SecretPath
) -> None:
    store = {"kind": "file", "directory": "/tmp/copies"}
    catalogue = Catalogue.model_validate(
        {
            "stores": {"files": store},
            "syncs": {"all": {"paths": [pattern], "stores": ["files"]}},
            "policy": {"undeclared": [pattern]},
            "mounts": {"pay": {"mount": "kv-pay"}},
        }
    )
    scope = scope_of(catalogue, HubPlaces(mounts={"pay": "kv-pay"}))
    assert scope.copied == (copied,)
    rule = next(
        rule
        for section in rules.sections(scope, rules.WORKER)
        for rule in section.rules
        if rule.path == f"{copied.mount}/data/{copied.path}"
    )
    assert rule.capabilities == {"read"}


def test_engines_that_no_secret_uses_are_not_named() -> None:
    assert not {path for path in paths(rules.WORKER) if path.startswith(("database/", "pki/", "sys/leases"))}
    assert paths(rules.LEASE) == set()
    assert not {path for path in paths(rules.REVOKER) if path.startswith(("sys/leases", "auth/"))}


def test_rules_of_one_path_are_one_and_what_either_allows_is_allowed() -> None:
    limited, free = allow("a", "update", name=("x",)), allow("a", "read")
    (section,) = merged([Section("why", (limited,)), Section("why", (free, allow("a", "update", name=("y",))))])
    assert section.rules == (allow("a", "update", "read", name=("x", "y")),)
    (section,) = merged([Section("why", (limited, allow("a", "update")))])
    assert not section.rules[0].parameters


def test_files_that_people_have_made_are_left_alone_and_nothing_is_written_beside_them(tmp_path: Path) -> None:
    (tmp_path / "b.hcl").write_text('path "secret/*" {}')
    made = [
        Document("a.hcl", "# Made by `keyturn setup store`"),
        Document("b.hcl", "# Made by `keyturn setup store`"),
    ]
    with pytest.raises(Invalid, match=r"b\.hcl: it is there, and"):
        write(tmp_path, made)
    assert [file.name for file in tmp_path.iterdir()] == ["b.hcl"]
    (tmp_path / "b.hcl").unlink()
    (tmp_path / "b.hcl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Invalid):
        write(tmp_path, made)
    (tmp_path / "b.hcl").unlink()
    write(tmp_path, made)
    write(tmp_path, made[:1])
    assert list(left_over(tmp_path, made[:1])) == ["b.hcl"]


def test_the_command_writes_the_examples_policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    result = run_keyturn("setup", "store", "--catalogue", str(EXAMPLE), "--output", str(tmp_path), "--json")
    assert result.returncode == 0, result.stderr
    files = json.loads(result.stdout)["files"]
    assert {"keyturn-worker.hcl", "keyturn-revoker.hcl", "consumer-trainer.hcl"} <= set(files)
    assert 'path "secret/data/ml-training/database"' in (tmp_path / "keyturn-worker.hcl").read_text()


def test_a_policy_of_aws_names_the_copies_and_is_divided_where_it_would_be_too_long() -> None:
    settings = AwsSecretsManagerSettings(kind="aws-secrets-manager", region="eu-central-1")
    names = tuple(f"team/application-{number:03}/credentials" for number in range(200))
    made = list(settings.rights(CopyRights("store-aws", "made by a test", names)))
    daily = [json.loads(document.text) for document in made if "revoker" not in document.name]
    assert len(daily) > 1
    assert all(len("".join(document.text.split())) <= LONGEST for document in made)
    looking = {arn for policy in daily for arn in policy["Statement"][1]["Resource"]}
    assert looking == {f"arn:aws:secretsmanager:eu-central-1:*:secret:{name}-??????" for name in names}
    assert not any("DeleteSecret" in json.dumps(policy) for policy in daily)
    assert not any("secret:*" in json.dumps(policy) for policy in daily), "nothing is read but the copies"


def test_copies_that_no_secret_of_the_catalogue_names_are_told_by_the_beginning_of_their_names() -> None:
    catalogue = Catalogue.model_validate(
        {
            "stores": {"aws": {"kind": "aws-secrets-manager", "region": "eu-central-1"}},
            "syncs": {"all": {"paths": ["team/**"], "stores": ["aws"], "name": "copy-{path}", "separator": "-"}},
            "policy": {"undeclared": ["team/**"]},
        }
    )
    (daily, _) = store_documents(catalogue, "made by a test")
    assert "secret:copy-team-*" in daily.text


def test_a_store_that_nothing_is_pushed_to_is_listed_and_a_key_is_used_through_the_service_alone() -> None:
    place: dict[str, Any] = {"kind": "aws-secrets-manager", "region": "eu-central-1", "kms_key_id": "alias/copies"}
    catalogue = Catalogue.model_validate(
        {"stores": {"aws": {**place, "role_arn": "arn:aws:iam::111122223333:role/keyturn", "replicas": ["eu-west-1"]}}}
    )
    (daily,) = store_documents(catalogue, "made by a test")
    listing, key, asking = json.loads(daily.text)["Statement"]
    assert asking["Resource"] == ["arn:aws:iam::111122223333:role/keyturn"]
    assert listing["Action"] == ["secretsmanager:BatchGetSecretValue", "secretsmanager:ListSecrets"]
    assert key["Resource"] == ["arn:aws:kms:*:111122223333:key/*"]
    assert key["Condition"] == {
        "StringLike": {"kms:ViaService": "secretsmanager.*"},
        "ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/copies"},
    }


def test_the_rights_to_read_a_trail_in_a_bucket_are_rendered(tmp_path: Path) -> None:
    log = '{"kind": "cloudtrail-bucket", "bucket": "example-trail", "prefix": "AWSLogs/x/", "region": "eu-central-1"}'
    (tmp_path / "all.yaml").write_text(f'{{"access_logs": {{"aws-trail": {log}}}}}')
    catalogue = load_catalogue(tmp_path, {})
    scope = scope_of(catalogue, HubPlaces())
    (document,) = [each for each in rendered(scope, catalogue, "0") if each.name == "access-log-aws-trail.json"]
    actions = [action for statement in json.loads(document.text)["Statement"] for action in statement["Action"]]
    assert actions == ["s3:ListBucket", "s3:GetObject", "kms:Decrypt"]


def test_two_stores_whose_names_make_the_same_file_are_told_apart_by_people() -> None:
    stores = {name: {"kind": "kubernetes", "namespace": name} for name in ("plant", "plant-revoker")}
    destinations = [{"store": name, "name": "a"} for name in stores]
    secret = {**SECRET, "path": "team/a", "destinations": destinations}
    rotation = {**SECRET["rotation"], "fields": {"value": {}}}
    catalogue = Catalogue.model_validate({"stores": stores, "secrets": {"team/a": {**secret, "rotation": rotation}}})
    with pytest.raises(Invalid, match="same file"):
        rendered(scope_of(catalogue, HubPlaces()), catalogue, "3f9a" * 16)


@pytest.mark.attack
def test_the_worker_may_send_notices_and_a_consumer_reads_its_own_key_and_not_what_they_are_sent_with() -> None:
    queue = "arn:aws:sqs:eu-central-1:111122223333:jobs"
    consumers = {
        "jobs": {"kind": "aws-sqs", "queue_arn": queue, "signing_key": "webhooks/jobs"},
        "topic": {"kind": "gcp-pubsub", "topic": "projects/ml/topics/notices", "signing_key": "webhooks/topic"},
        "bus": {
            "kind": "azure-service-bus",
            "namespace_url": "https://ml.servicebus.windows.net",
            "queue": "jobs",
            "signing_key": "webhooks/bus",
        },
        "app": {
            "kind": "redis",
            "host": "redis.example.com",
            "channel": "c",
            "login": "webhooks/app/login",
            "signing_key": "webhooks/app",
        },
    }
    catalogue = Catalogue.model_validate({"consumers": consumers})
    made = {
        document.name: document.text for document in rendered(scope_of(catalogue, HubPlaces()), catalogue, "0" * 64)
    }
    (statement,) = json.loads(made["notices-jobs.json"])["Statement"]
    assert (statement["Action"], statement["Resource"]) == (["sqs:SendMessage"], [queue])
    assert "includedPermissions:\n- pubsub.topics.publish\n" in made["notices-topic.yaml"]
    assert "projects/ml/topics/notices" in made["notices-topic.yaml"]
    (assignment,) = json.loads(made["notices-bus-assignments.json"])["assignments"]
    assert assignment["role"] == "Azure Service Bus Data Sender"
    assert assignment["scope"].endswith("/Microsoft.ServiceBus/namespaces/ml/queues/jobs")
    login, key = 'path "keyturn/data/webhooks/app/login"', 'path "keyturn/data/webhooks/app"'
    assert login in made["keyturn-worker.hcl"]
    assert key in made["keyturn-worker.hcl"]
    assert key in made["consumer-app.hcl"]
    assert login not in made["consumer-app.hcl"]
    assert "webhooks/app" not in made["consumer-jobs.hcl"]
