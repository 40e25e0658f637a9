"""What is proposed for a secret, by the names of its fields and by what the targets say; each is one that loads."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from keyturn.catalogue import find_problems
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.inventory.accounts import AccountSeen, TargetInventory
from keyturn.inventory.drafting import flow
from keyturn.inventory.hub_inventory import PathSecret, Unread
from keyturn.inventory.proposals import Proposal, propose
from keyturn.inventory.values import Digests

DIGESTS = Digests()
HOST = "db.example.com"

DECLARED: dict[str, Any] = {
    "pg": {"kind": "postgresql", "host": HOST, "database": "ml", "admin": "targets/pg"},
    "other": {"kind": "postgresql", "host": "other.example.com", "database": "ml", "admin": "targets/other"},
    "cache": {"kind": "redis", "host": "cache.example.com", "admin": "targets/cache"},
    "TARGET": {"kind": "aws-iam"},
    "graph": {"kind": "microsoft-graph"},
    "arm": {"kind": "azure-resource-manager", "subscription": "11111111-2222-3333-4444-555555555555"},
    "google": {"kind": "gcp-iam", "project": "ml-project"},
}
FILLED = {
    "APPLICATION": "4f5b7a10-3b0c-4c43-9a33-2d6e2f5b7a10",
    "ACCOUNT": "storage1",
    "ADDRESS": "a@ml-project.iam.gserviceaccount.com",
    "NAME": "shop.internal",
}
"""What a person puts in the place of the words in capitals."""


def target(name: str, accounts: Iterable[tuple[str, Iterable[str]]] = ()) -> TargetInventory:
    """A target as it was found."""
    settings = DECLARED[name]
    host = frozenset({DIGESTS.of_text(Sensitive(settings["host"]))} if "host" in settings else ())
    seen = {DIGESTS.of_text(Sensitive(user)): AccountSeen(user, frozenset(groups)) for user, groups in accounts}
    return TargetInventory(name, settings["kind"], host, seen)


def proposed(targets: Iterable[TargetInventory] = (), **fields: Any) -> Proposal:
    """What is proposed for these fields."""
    return propose(PathSecret("a/b", 1, DIGESTS.held(SecretFields(fields))), list(targets))


def insist_on_sound(proposal: Proposal, directory: Path) -> None:
    """What is proposed loads, once its words in capitals are filled in."""
    rotation = {key: FILLED.get(str(value), value) for key, value in yaml.safe_load(flow(proposal.rotation)).items()}
    secret = {"owner": "a@example.com", "classification": "internal", "rotation": rotation}
    (directory / "all.yaml").write_text(yaml.safe_dump({"targets": DECLARED, "secrets": {"a/b": secret}}))
    assert find_problems(directory, {}) == []


def test_a_login_at_a_target_whose_accounts_could_not_be_listed_names_that_target() -> None:
    unread = replace(target("pg"), unread=(Unread("target pg", "its accounts could not be listed"),))
    told = proposed([unread, target("other")], **LOGIN)
    assert told.reason == "it is a login at pg, whose accounts could not be listed"
    assert "keyturn setup target pg --apply" in told.questions[0]
    elsewhere = proposed([unread], **{**LOGIN, "host": "third.example.com"})
    assert "none of the given targets" in elsewhere.reason


LOGIN = {"username": "app_a", "password": "p", "host": HOST}
PAIR = [("app_a", ["app", "readers"]), ("app_b", ["app"])]


@pytest.mark.parametrize(
    ("fields", "targets", "strategy", "words"),
    [
        (LOGIN, [target("pg", PAIR)], "alternating-users", "both members of app"),
        ({**LOGIN, "username": "app_b"}, [target("pg", PAIR)], "alternating-users", "they can alternate"),
        (LOGIN, [target("pg", PAIR[:1])], "single-user", "no second account"),
        (
            LOGIN,
            [target("pg", [("app_a", ["app"]), ("app_b", ["other"])])],
            "single-user",
            "share no role without login",
        ),
        (
            {**LOGIN, "username": "svc"},
            [target("pg", [("svc", ["g"]), ("svc_clone", ["g"])])],
            "alternating-users",
            "svc and svc_clone",
        ),
        ({"username": "u", "password": "p", "host": "cache.example.com"}, [target("cache")], "redis-acl", "cache"),
        ({"access_key_id": "a", "secret_access_key": "b"}, [], "aws-iam-key", "AWS access key"),
        ({"client_id": "a", "client_secret": "b"}, [target("graph")], "azure-app-secret", "client secret"),
        ({"account_name": "a", "account_key": "b"}, [target("arm")], "azure-storage-key", "storage account"),
        ({"credentials_json": "{}"}, [target("google")], "gcp-service-account-key", "key file"),
        ({"certificate": "c", "private_key": "k"}, [], "certificate", "certificate"),
        ({"private_key": "k", "kid": "1"}, [], "signing-key", "signs tokens"),
        ({"session_secret": "s", "webhook_secret": "w", "port": 1}, [], "generated", "session_secret, webhook_secret"),
    ],
)
def test_a_kind_is_told_by_its_fields_and_what_is_proposed_loads(
    fields: dict[str, Any], targets: list[TargetInventory], strategy: str, words: str, tmp_path: Path
) -> None:
    proposal = proposed(targets, **fields)
    assert (proposal.rotation["strategy"], words in proposal.reason) == (strategy, True)
    insist_on_sound(proposal, tmp_path)


@pytest.mark.parametrize(
    ("fields", "targets", "words"),
    [
        (LOGIN, [], "which server is it?"),
        ({"username": "u", "password": "p"}, [], "where does it log in?"),
        ({"user": "u", "pass": "p"}, [target("pg", [("u", [])])], "which copies and applications need these names?"),
        ({**LOGIN, "host": "elsewhere"}, [target("pg", PAIR)], "which server is it?"),
        ({"aws_access_key_id": "a", "aws_secret_access_key": "b"}, [], "can the applications take the names"),
        ({"type": "t", "private_key_id": "i", "client_email": "e"}, [], "can the applications take the names"),
        ({"tls.crt": "c", "tls.key": "k"}, [], "can the applications take the names"),
        ({"ssh_private_key": "k"}, [], "which REST API has its public half?"),
        ({"api_key": "k"}, [], "which service has issued it?"),
        (
            {"username": "app_a", "password": "p"},
            [target("pg", PAIR), target("other", PAIR)],
            "which of pg, other is it for?",
        ),
    ],
)
def test_where_nothing_is_certain_there_is_a_question_and_no_proposal(
    fields: dict[str, Any], targets: list[TargetInventory], words: str
) -> None:
    proposal = proposed(targets, **fields)
    assert (proposal.rotation, any(words in question for question in proposal.questions)) == ({}, True)


def test_of_other_fields_nothing_is_said() -> None:
    proposal = proposed(motto="hello")
    assert (proposal.rotation, proposal.questions) == ({}, ())


def test_a_name_in_a_proposal_is_the_targets_word_and_no_value_of_the_hub() -> None:
    proposal = proposed(username="somebody", password="p", host=HOST, api_key="k")
    assert "somebody" not in repr(proposal)
