"""Matching store secrets to hub paths by digests alone."""

import base64
import json
import secrets
from typing import Any

import pytest

from keyturn.core.ports.stores import OwnershipTags, RemoteSecret
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.inventory.hub_inventory import PathSecret
from keyturn.inventory.matching import CopyQuestion, Form, Match, Matching, Names, Rank, match_copies
from keyturn.inventory.store_inventory import StoredSecret, StoreInventory, stored
from keyturn.inventory.values import Digests, Held, Strength, strength_of

DIGESTS = Digests()
STRONG, OTHER = secrets.token_urlsafe(24) + "9aZ", secrets.token_urlsafe(24) + "9aZ"


def path(name: str, /, version: int = 1, **fields: Any) -> PathSecret:
    """A secret of the hub."""
    return PathSecret(name, version, DIGESTS.held(SecretFields(fields)))


def copy(name: str, content: Any, store: str = "aws", marks: OwnershipTags | None = None) -> StoredSecret:
    """A secret of a store: a text, or what is written as JSON the way that people do."""
    text = content if isinstance(content, str) else json.dumps(content)
    return stored(store, RemoteSecret(name, "1", marks), Sensitive(text), DIGESTS)


def matched(
    held: list[PathSecret],
    there: list[StoredSecret],
    *,
    older: dict[str, list[tuple[int, Held]]] | None = None,
    **more: Any,
) -> Matching:
    """What is told of one store."""
    inventory = StoreInventory(there[0].store, tuple(there))
    return match_copies(held, [inventory], lambda name: (older or {}).get(name, ()), **more)


def the_match(held: list[PathSecret], there: list[StoredSecret], **more: Any) -> Match:
    """The one copy that is found, where there is nothing else."""
    told = matched(held, there, **more)
    assert (told.questions, told.unmatched) == ((), ())
    (match,) = told.matches
    return match


def the_question(held: list[PathSecret], there: list[StoredSecret], **more: Any) -> CopyQuestion:
    """The one question that is asked, where no copy is found."""
    told = matched(held, there, **more)
    assert (told.matches, told.unmatched) == ((), ())
    (question,) = told.questions
    return question


# --- how much a value tells


@pytest.mark.parametrize(
    "text",
    ["", "true", "changeme", "CHANGEME", "5432", "2026", "10.0.0.1", "aaaaaaaaaaaaaaaaaaaa", "none", "ab1!", "443,80"],
)
def test_what_everybody_writes_tells_nothing(text: str) -> None:
    assert strength_of(Sensitive(text)) is Strength.COMMON


@pytest.mark.parametrize(
    "text",
    [
        "eu-central-1",
        "db.prod.internal.example.com",
        "https://grafana.example.com/api/v1",
        "ml_trainer_a",
        "postgresql://db.example.com:5432/features",
        "trainer@ml-project.iam.gserviceaccount.com",
        "2026-11-28T12:00:00",
        "MlTrainingDatabase2",
        "Sommer2026",
        "Summer!2026#Berlin",
        "[default]\nregion = eu-central-1\noutput = json",
        "correct-horse-battery-staple",
    ],
)
def test_names_hosts_and_words_tell_little(text: str) -> None:
    assert strength_of(Sensitive(text)) is Strength.PLAIN


def test_what_is_drawn_at_random_is_strong() -> None:
    drawn = [
        secrets.token_hex(16),
        secrets.token_urlsafe(24),
        secrets.token_hex(32),
        "x7!Qp2#mZ9@w",
        "kR8vTq2ZpL0xWm3N",
    ]
    assert {strength_of(Sensitive(text)) for text in drawn} == {Strength.STRONG}


# --- copies


def test_a_whole_secret_is_found_under_another_name_and_in_another_spelling() -> None:
    held = [path("ml/db", username="trainer", password=STRONG, port=5432), path("ml/other", password=OTHER)]
    match = the_match(held, [copy("legacy-thing", {"username": "trainer", "port": 5432, "password": STRONG})])
    assert (match.path, match.form, match.respelled) == ("ml/db", Form(), True)
    spelled = json.dumps(
        {"username": "trainer", "port": 5432, "password": STRONG}, sort_keys=True, separators=(",", ":")
    )
    assert not the_match(held, [copy("legacy-thing", spelled)]).respelled


def test_one_field_is_found_as_it_is_and_in_base64() -> None:
    held = [path("ml/db", username="trainer", password=STRONG)]
    assert the_match(held, [copy("pw", STRONG)]).form == Form(Rank.FIELD, field="password")
    encoded = the_match(held, [copy("pw", base64.b64encode(STRONG.encode()).decode())])
    assert encoded.form == Form(Rank.FIELD, field="password", encoded=True)


def test_some_fields_are_found_under_names_of_the_copys_own() -> None:
    held = [path("ml/db", username="trainer", password=STRONG, host="db.example.com")]
    match = the_match(held, [copy("db", {"DB_USERNAME": "trainer", "DB_PASSWORD": STRONG})])
    assert match.form == Form(Rank.FIELDS, (("DB_USERNAME", "username"), ("DB_PASSWORD", "password")))


def test_a_common_value_is_a_field_only_where_the_names_agree() -> None:
    held = [path("ml/db", password=STRONG, ssl="true")]
    assert the_match(held, [copy("db", {"DB_PASSWORD": STRONG, "DB_SSL": "true"})]).form.fields[1] == ("DB_SSL", "ssl")
    question = the_question(held, [copy("db", {"DB_PASSWORD": STRONG, "FLAG": "true"})])
    assert "under FLAG something" in question.text


def test_several_names_in_a_store_may_be_copies_of_one_path() -> None:
    told = matched([path("a/b", value=STRONG)], [copy("one", STRONG), copy("two", STRONG)])
    assert [match.stored.name for match in told.matches] == ["one", "two"]


def test_a_number_is_not_its_text_but_where_a_store_knows_texts_alone() -> None:
    held = [path("ml/db", password=STRONG, port=5432)]
    there = [copy("db", {"password": STRONG, "port": "5432"}, store="cluster")]
    assert "under port something" in the_question(held, there).text
    assert the_match(held, there, typeless=["cluster"]).form == Form()


# --- what is not a copy


def test_a_value_at_two_paths_is_a_question_that_names_the_likely_one() -> None:
    held = [path("ml/db", password=STRONG), path("shop/db", pw=STRONG)]
    question = the_question(held, [copy("shop-db", STRONG)])
    assert (
        question.text == "ml/db, shop/db hold this value: which of them is it a copy of; its name is that of shop/db?"
    )
    assert question.path == ""


def test_a_whole_secret_goes_before_a_field_of_another() -> None:
    held = [path("ml/db", password=STRONG, username="trainer"), path("copy/of/it", text=STRONG)]
    assert the_match(held, [copy("x", {"username": "trainer", "password": STRONG})]).path == "ml/db"


def test_two_fields_of_one_value_are_a_question() -> None:
    question = the_question([path("a/b", token=STRONG, old_token=STRONG)], [copy("x", STRONG)])
    assert (question.path, "old_token, token" in question.text) == ("a/b", True)


@pytest.mark.parametrize("value", ["changeme", "true", "5432", "admin"])
@pytest.mark.attack
def test_equal_common_values_are_no_copies(value: str) -> None:
    held = [path("a/b", value=value), path("c/d", password=STRONG)]
    told = matched(held, [copy("b", value), copy("anything", value), copy("a-b", value)])
    assert told.matches == ()
    assert all("is no evidence" in question.text for question in told.questions)


def test_a_whole_secret_of_common_values_is_no_copy() -> None:
    held = [path("a/b", username="admin", password="changeme")]
    told = matched(held, [copy("somewhere", {"username": "admin", "password": "changeme"})])
    assert told.matches == ()


def test_plain_values_are_a_copy_where_they_are_all_of_a_secret_and_nobody_elses() -> None:
    held = [path("a/b", region="eu-central-1", bucket="training-data")]
    content = {"region": "eu-central-1", "bucket": "training-data"}
    assert the_match(held, [copy("settings", content)]).path == "a/b"
    twice = matched(held, [copy("settings", content), copy("more-settings", content)])
    assert (twice.matches, len(twice.questions)) == ((), 2)
    assert "by accident" in twice.questions[0].text


def test_one_plain_value_is_a_copy_where_its_name_speaks_of_the_path() -> None:
    held = [path("ml/bucket", name="training-data")]
    assert the_match(held, [copy("ml_bucket", "training-data")]).form == Form(Rank.FIELD, field="name")
    assert "by accident" in the_question(held, [copy("elsewhere", "training-data")]).text


def test_an_object_with_something_besides_is_a_question() -> None:
    held = [path("ml/db", username="trainer", password=STRONG)]
    question = the_question(held, [copy("db", {"password": STRONG, "engine": "postgres-14"})])
    assert (question.path, question.text.endswith("under engine something that this secret does not hold")) == (
        "ml/db",
        True,
    )


def test_white_space_around_a_value_is_told() -> None:
    question = the_question([path("a/b", value=STRONG)], [copy("x", f"{STRONG}\n")])
    assert "white space around it" in question.text


def test_an_older_value_under_the_secrets_name_is_told_with_its_version() -> None:
    before = DIGESTS.held(SecretFields({"value": OTHER}))
    held = [path("ml/db", version=5, value=STRONG)]
    question = the_question(held, [copy("ML-DB", OTHER)], older={"ml/db": [(3, before)]})
    assert question.text == "it differs: it holds version 3 of this secret, and CURRENT is version 5"
    assert (question.path, question.form) == ("ml/db", Form(Rank.FIELD, field="value"))


def test_another_value_under_the_secrets_name_is_told_to_differ() -> None:
    question = the_question([path("ml/db", value=STRONG)], [copy("prod-ml-db", OTHER)])
    assert question.text == "it differs: its name is that of this secret, and it holds another value"


def test_what_has_nothing_in_common_is_left_alone() -> None:
    told = matched([path("ml/db", value=STRONG)], [copy("somebody-elses", OTHER)])
    assert (told.matches, told.questions, told.unmatched) == ((), (), ("aws:somebody-elses",))


def test_a_field_whose_name_is_taken_for_a_property_is_a_question() -> None:
    question = the_question(
        [PathSecret("a/b", 1, DIGESTS.held(SecretFields({"config.db": STRONG})))], [copy("x", STRONG)]
    )
    assert "property" in question.text


# --- what Keyturn has made


def test_a_copy_of_keyturns_own_is_declared_without_taking_it_over() -> None:
    marks = OwnershipTags("ml/db", 1, "f" * 64)
    match = the_match([path("ml/db", value=STRONG), path("x/y", other=STRONG)], [copy("n", STRONG, marks=marks)])
    assert (match.path, match.own, match.form) == ("ml/db", True, Form(Rank.FIELD, field="value"))


def test_a_copy_of_another_catalogue_or_of_an_unknown_path_is_a_question() -> None:
    other = OwnershipTags("ml/db", 1, "f" * 64, catalogue="shop")
    assert (
        "the catalogue shop keeps it"
        in the_question([path("ml/db", value=STRONG)], [copy("n", STRONG, marks=other)]).text
    )
    gone = OwnershipTags("gone/db", 1, "f" * 64)
    assert "marks of gone/db" in the_question([path("ml/db", value=STRONG)], [copy("n", STRONG, marks=gone)]).text


def test_a_store_that_gives_nothing_back_is_asked_about_by_names() -> None:
    inventory = StoreInventory("actions", names_alone=("ML_DB", "DEPLOY"))
    told = match_copies([path("ml/db", value=STRONG)], [inventory], lambda _: ())
    assert [(asked.path, asked.name) for asked in told.questions] == [("ml/db", "ML_DB")]
    assert told.unmatched == ("actions:DEPLOY",)


# --- names


@pytest.mark.parametrize(
    ("name", "agrees"),
    [
        ("ml-training-database", True),
        ("MlTrainingDatabase", True),
        ("/prod/ml_training/database", True),
        ("training-database", True),
        ("ml-training-database-password", True),
        ("database", False),
        ("other-database", False),
    ],
)
def test_a_name_speaks_of_a_path_whatever_stands_between_its_words(name: str, agrees: bool) -> None:
    names = Names([path("ml/training/database", password=STRONG)])
    assert bool(names.paths(name)) is agrees


# --- nothing is kept


def test_no_value_is_in_what_is_told() -> None:
    held = path("ml/db", password=STRONG)
    told = matched([held], [copy("x", STRONG), copy("y", {"password": STRONG, "more": OTHER})])
    assert STRONG not in repr((held, told))
    assert OTHER not in repr((held, told))


def test_each_look_has_a_key_of_its_own() -> None:
    assert Digests().of_text(Sensitive(STRONG)) != Digests().of_text(Sensitive(STRONG))
