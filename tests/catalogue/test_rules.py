"""Rules of a catalogue: where the copies of which secrets may lie, must lie, and must not."""

import os
from pathlib import Path

import pytest

from keyturn.catalogue import find_problems, load_catalogue

STORES = """
stores:
  aws: {kind: aws-secrets-manager, regions: [eu-central-1, us-east-1]}
  copied: {kind: aws-secrets-manager, region: eu-west-1, replicas: [us-west-2]}
  parameters: {kind: aws-parameter-store, region: eu-central-1, role_arns: ["arn:aws:iam::111122223333:role/a"]}
  frankfurt: {kind: gcp-secret-manager, project: my-project, location: europe-west3}
  google: {kind: gcp-secret-manager, project: my-project}
  two: {kind: gcp-secret-manager, project: my-project, replication: [europe-west3, us-east1]}
  vault: {kind: azure-key-vault, vault_url: "https://v.vault.azure.net", place: westeurope}
  cluster: {kind: kubernetes, namespace: apps}
  actions: {kind: github-actions, repository: a/b, token_file: /run/token}
"""

SECRET = """
secrets:
  pay/db:
    owner: pay@example.com
    classification: restricted
    labels: {team: pay}
    rotation: {strategy: generated, field: key, form: hex, interval: 1d, grace: 1h}
    destinations: [%s]
"""

EU = 'only: {places: ["eu-*", europe-*, westeurope]}'


def problems(directory: Path, rule: str, *stores: str) -> list[str]:
    """What is wrong with copies in these stores under a rule, without the remedies."""
    places = ", ".join(f"{{store: {store}, name: k{number}}}" for number, store in enumerate(stores))
    (directory / "all.yaml").write_text(f"{STORES}{SECRET % places}\nrules:\n  a: {{{rule}}}\n")
    return [problem.message for problem in find_problems(directory, os.environ)]


@pytest.mark.parametrize(
    ("rule", "stores", "said"),
    [
        # only
        (EU, ["aws/eu-central-1", "parameters", "frankfurt", "vault"], []),
        (EU, ["aws"], ["keeps them in us-east-1"]),
        (EU, ["copied"], ["keeps them in us-west-2"]),
        (EU, ["two"], ["keeps them in us-east1"]),
        (EU, ["google", "cluster"], ["the place of the copies in google", "the place of the copies in cluster"]),
        ("only: {stores: [aws, vault]}", ["aws", "vault"], []),
        ("only: {stores: [aws/eu-central-1]}", ["aws/us-east-1"], ["allows copies in aws/eu-central-1 alone"]),
        ("only: {kinds: [gcp-secret-manager]}", ["google", "vault"], ["allows copies in gcp-secret-manager alone"]),
        ("only: {kinds: [gcp-secret-manager], places: [europe-*]}", ["frankfurt", "two"], ["keeps them in us-east1"]),
        # never
        ("never: {kinds: [github-actions, file]}", ["aws", "cluster"], []),
        ("never: {kinds: [github-actions, file]}", ["actions"], ["forbids copies in github-actions or file"]),
        ("never: {places: [us-*]}", ["aws"], ["aws/us-east-1 keeps them in us-east-1"]),
        ("never: {places: [us-*]}", ["frankfurt", "vault"], []),
        ("never: {places: [us-*]}", ["google"], ["the place of the copies in google"]),
        ("never: {stores: [aws], places: [us-*]}", ["google", "aws/eu-central-1"], []),
        # always
        ("always: {stores: [aws]}", ["aws"], []),
        ("always: {stores: [aws]}", ["aws/us-east-1"], ["wants a copy in aws/eu-central-1"]),
        ("always: {stores: [aws, vault]}", ["aws"], ["wants a copy in vault"]),
        ("always: {places: [europe-*]}", ["frankfurt", "aws"], []),
        ("always: {places: [europe-*]}", ["two", "google"], ["wants a copy in europe-*"]),
        ("always: {kinds: [kubernetes]}", [], ["wants a copy in kubernetes"]),
        # accounts
        ("only: {accounts: ['1111*', my-project]}", ["parameters", "google"], []),
        ("only: {accounts: [my-project]}", ["parameters"], ["keeps them in 111122223333"]),
        ("only: {accounts: ['*']}", ["aws/us-east-1"], ["in whose account aws/us-east-1 is"]),
        ("never: {accounts: [a/*]}", ["actions"], ["forbids copies in a/*, and actions keeps them in a/b"]),
        ("never: {accounts: ['1*'], places: [us-*]}", ["parameters"], []),
        ("always: {accounts: [my-project], places: [europe-*]}", ["two"], ["wants a copy in europe-* and my-project"]),
        # which secrets
        (f"owners: [else@example.com], {EU}", ["aws"], []),
        (f"classifications: [restricted], labels: {{team: pay}}, {EU}", ["aws"], ["keeps them in us-east-1"]),
        (f"classifications: [internal], {EU}", ["aws"], []),
        (f'paths: ["pay/*"], without: [pay/db], {EU}', ["aws"], []),
    ],
)
def test_a_copy_lies_where_the_rule_lets_it(tmp_path: Path, rule: str, stores: list[str], said: list[str]) -> None:
    chosen = rule if rule.startswith(("owners", "classifications", "paths")) else f'paths: ["**"], {rule}'
    found = problems(tmp_path, chosen, *stores)
    assert len(found) == len(said), found
    for message, expected in zip(found, said, strict=True):
        assert message.startswith("the rule a ")
        assert expected in message


def test_a_copy_that_a_sync_makes_is_told_with_the_sync_and_the_rules_reason(tmp_path: Path) -> None:
    syncs = "syncs:\n  all: {paths: ['pay/*'], stores: [aws], name: '{name}'}\n"
    rules = f"rules:\n  eu:\n    classifications: [restricted]\n    {EU}\n    reason: the contract says so\n"
    (tmp_path / "all.yaml").write_text(f"{STORES}{SECRET % ''}\n{syncs}{rules}")
    (problem,) = find_problems(tmp_path, os.environ)
    assert problem.where == "secrets.pay/db"
    assert problem.message.endswith("keeps them in us-east-1; the sync all pushes it to aws/us-east-1")
    assert problem.remedy.startswith("Push it elsewhere. The rule is at ")
    assert problem.remedy.endswith(" (the contract says so).")


def test_of_secrets_that_are_not_declared_a_rule_by_paths_is_asked(tmp_path: Path) -> None:
    rules = (
        f"rules:\n  eu: {{paths: ['pay/**'], {EU}}}\n  owned: {{owners: [a@example.com], never: {{stores: [vault]}}}}\n"
    )
    (tmp_path / "all.yaml").write_text(f"{STORES}{SECRET % ''}\n{rules}")
    catalogue = load_catalogue(tmp_path, os.environ)
    forbidden = (
        "the rule eu allows copies in eu-* or europe-* or westeurope alone, and aws/us-east-1 keeps them in us-east-1"
    )
    assert catalogue.forbids("pay/undeclared", "aws/us-east-1") == forbidden
    assert catalogue.forbids("pay/undeclared", "aws/eu-central-1") == ""
    assert catalogue.forbids("ml/undeclared", "aws/us-east-1") == ""
    assert catalogue.forbids("pay/undeclared", "vault") == ""


TIMED = """
secrets:
  pay/db:
    owner: pay@example.com
    classification: restricted
    rotation: {%s}
rules:
  a: {classifications: [restricted], %s, reason: the bank's own}
"""


@pytest.mark.parametrize(
    ("rotation", "rule", "said"),
    [
        ("strategy: generated, interval: 30d, grace: 1h", "most_age: 30d", ""),
        ("strategy: generated, interval: 30d, jitter: 1h, grace: 1h", "most_age: 30d", "interval: the rule a lets no"),
        ('strategy: generated, cron: "0 3 * * sun", timezone: UTC, grace: 1h', "most_age: 8d", ""),
        (
            'strategy: generated, cron: "0 3 1 * *", timezone: UTC, grace: 1h',
            "most_age: 1w",
            "cron: the rule a lets no",
        ),
        ("strategy: manual", "most_age: 30d", "rotation: the rule a lets no value become older than 30d, and nothing"),
        ("strategy: manual, maximum_age: 30d", "most_age: 30d", ""),
        ("strategy: manual, maximum_age: 31d", "most_age: 30d", "maximum_age: the rule a lets no value become older"),
        ("strategy: generated, interval: 30d, grace: 59m", "least_grace: 1h", "grace: the rule a wants a grace of 1h"),
        ("strategy: generated, interval: 30d, grace: 1h", "least_grace: 1h", ""),
        ("strategy: manual", "least_grace: 1h", ""),
    ],
)
def test_a_value_becomes_no_older_than_the_rule_lets_it(tmp_path: Path, rotation: str, rule: str, said: str) -> None:
    (tmp_path / "all.yaml").write_text(TIMED % (rotation, rule))
    found = [str(problem) for problem in find_problems(tmp_path, os.environ)]
    assert len(found) == bool(said), found
    if said:
        assert said in found[0]
        assert "The rule is at" in found[0]
        assert "(the bank's own)" in found[0]
