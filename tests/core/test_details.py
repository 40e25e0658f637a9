"""Store-specific options of a copy, for each kind of store."""

import re
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter

from keyturn.catalogue.stores import StoreSettings
from keyturn.core.ports.stores import Details, OwnershipTags, changed_tags, tag_changes

STORES = {
    one["kind"]: TypeAdapter[StoreSettings](StoreSettings).validate_python(one)
    for one in (
        {"kind": "azure-key-vault", "vault_url": "https://x.vault.azure.net"},
        {"kind": "gcp-secret-manager", "project": "p", "annotations": {"shared": "x" * 1000}},
        {"kind": "kubernetes", "namespace": "apps"},
        {"kind": "vault", "address": "https://v", "token_file": "t"},
        {"kind": "github-actions", "repository": "o/r", "token_file": "t"},
        {"kind": "file", "directory": "/d"},
    )
}
AZURE, GCP, K8S, VAULT = "azure-key-vault", "gcp-secret-manager", "kubernetes", "vault"
END = datetime(2100, 1, 1, tzinfo=UTC)


def tags(count: int, name: str = "t{}", text: str = "x") -> Details:
    return Details({name.format(number): text for number in range(count)})


def annotations(name: str, text: str = "x") -> Details:
    return Details(annotations={name: text})


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        (AZURE, tags(10)),
        (AZURE, Details({"Cost Centre".replace(" ", "/"): "é" * 256}, content_type="c" * 255, expires_at=END)),
        (GCP, tags(63)),
        (GCP, Details({"équipe_1-x": "", "t" * 63: "v" * 63}, {"Owner": "Any Text!", "a.b-c_d": ""})),
        (GCP, annotations("a", "x" * 14_000)),
        (K8S, Details({"app.kubernetes.io/name": "Shop_1.x", "team": ""}, {"example.com/note": "Any Text!"})),
        (K8S, annotations("n", "x" * 150_000)),
        (K8S, Details(content_type="kubernetes.io/ssh-auth")),
        (VAULT, tags(55)),
        (VAULT, Details({"t" * 128: "é" * 256}, expires_at=END)),
        *((kind, Details()) for kind in STORES),
    ],
)
def test_what_a_service_takes_is_not_refused(kind: str, details: Details) -> None:
    assert STORES[kind].refuses_details(details) is None


@pytest.mark.parametrize(
    ("kind", "details", "said"),
    [
        *((kind, Details(description="d"), "keeps no description") for kind in STORES),
        *((kind, tags(1), "keeps no tags") for kind in ("github-actions", "file")),
        *((kind, annotations("a"), "keeps no annotations") for kind in (AZURE, VAULT, "github-actions", "file")),
        *((kind, Details(content_type="c"), "keeps no content_type") for kind in (GCP, VAULT, "file")),
        (K8S, Details(content_type="text/plain"), "takes the Secret's type for content_type, one of Opaque, "),
        *((kind, Details(expires_at=END), "keeps no expiry") for kind in (K8S, "github-actions", "file")),
        *((kind, Details({"keyturn-source": "x"}), "keyturn-") for kind in (AZURE, GCP, K8S, VAULT)),
        *((kind, Details({"a b": "x"}), "space|signs|letters") for kind in (AZURE, GCP, K8S, VAULT)),
        (GCP, Details(expires_at=END), "deletes a secret that expires.*ttl"),
        (AZURE, tags(11), "10 tags in addition to Keyturn's own, and these are 11"),
        (AZURE, Details({"n" * 257: "x"}), "256"),
        (AZURE, Details({"n": "x" * 257}), "tag 'n': its text has to be 256"),
        (AZURE, Details(content_type="c" * 256), "255"),
        (AZURE, tags(9, name="{}" + "n" * 30), "256"),
        (GCP, tags(64), "63 tags"),
        (GCP, Details({"Team": "x"}), "tag 'Team': its name has to be .* small letters"),
        (GCP, Details({"1team": "x"}), "a letter first"),
        (GCP, Details({"team": "Payments"}), "annotations take other texts"),
        (GCP, Details({"team": "x" * 64}), "63"),
        (GCP, Details({"team": "秘" * 43}), "63 small letters"),
        (GCP, annotations("-a"), "annotation '-a'"),
        (GCP, annotations("a/b"), "letters, digits and -_."),
        (GCP, annotations("a", "x" * 14_500), "15360 bytes"),
        (K8S, Details({"team": "Pay ments"}), "annotations take other texts"),
        (K8S, Details({"team": "x" * 64}), "63"),
        (K8S, Details({"Example.com/team": "x"}), "a domain"),
        (K8S, Details({"team-": "x"}), "first and last"),
        (K8S, annotations("kubectl.kubernetes.io/last-applied-configuration"), "kubectl keeps"),
        (K8S, annotations("n", "x" * 170_000), "bytes"),
        (VAULT, tags(56), "55 tags"),
        (VAULT, Details({"n" * 129: "x"}), "128"),
        (VAULT, Details({"n": ""}), "1 to 512"),
        (VAULT, Details({"n": "x" * 513}), "512"),
        (VAULT, Details({"n": "a\tb"}), "printed"),
        (VAULT, tags(5, name="{}" + "n" * 110), "512"),
    ],
)
def test_what_a_service_would_refuse_is_told_by_name_and_no_text_is_quoted(
    kind: str, details: Details, said: str
) -> None:
    problem = STORES[kind].refuses_details(details)
    assert problem is not None
    assert re.search(said, problem), problem
    assert "xxxx" not in problem


def test_of_tags_that_nobody_asks_for_only_those_that_keyturn_has_set_are_removed() -> None:
    there = {"ours": "1", "kept": "2", "theirs": "3"}
    assert tag_changes(there, {"kept": "2", "new": "4"}, ("ours", "kept", "gone")) == {"ours": None, "new": "4"}
    assert changed_tags(there, {"kept": "5"}, ("ours", "kept")) == {"kept": "5", "theirs": "3"}


def test_a_label_of_ours_gives_no_claim_to_an_annotation_of_that_name() -> None:
    details = Details({"team": "pay"}, {"owner": "Ann"})
    marks = OwnershipTags("a/b", 1, "f" * 64, tags=details.names)
    assert OwnershipTags.from_tags(marks.to_tags()) == marks
    assert marks.annotations == ("owner",)
    assert tag_changes({"team": "Theirs", "owner": "Zoë"}, {}, marks.annotations) == {"owner": None}
    assert tag_changes({"owner": "theirs", "team": "pay"}, {}, marks.tags) == {"team": None}
