"""Values that refuse every way out but one."""

import copy
import json
import logging
import pickle

import pydantic
import pytest

from keyturn.core.sensitive import MASK, SecretFields, Sensitive

TEXT = "hunter2-correct-horse"
VALUE = Sensitive(TEXT)
FIELDS = SecretFields({"password": TEXT, "port": 5432, "tls": None})


@pytest.mark.parametrize("shown", [repr(VALUE), str(VALUE), f"{VALUE}", f"{VALUE!r:>40}", repr([VALUE])])
def test_a_value_shows_a_mask_in_every_format(shown: str) -> None:
    assert MASK in shown
    assert TEXT not in shown


def test_fields_show_their_names_alone() -> None:
    assert repr(FIELDS) == str(FIELDS) == "SecretFields(password, port, tls)"


@pytest.mark.parametrize("value", [VALUE, FIELDS], ids=["value", "fields"])
def test_nothing_copies_a_value_into_another_place(value: object) -> None:
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="pickled or copied"):
            leak(value)
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps(value)
    assert not hasattr(value, "__dict__")


def test_a_value_can_not_be_a_models_field() -> None:
    with pytest.raises(TypeError, match="can't be a model's field"):
        pydantic.create_model("Leaky", password=(Sensitive, ...))


def test_a_log_shows_a_mask(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("any").warning("%s %r %s", VALUE, VALUE, FIELDS)
    assert TEXT not in caplog.text


def test_values_compare_by_their_text_and_only_with_each_other() -> None:
    assert Sensitive("a") == Sensitive("a") != Sensitive("b")
    assert Sensitive("a") != "a"
    assert len({Sensitive("a"), Sensitive("a")}) == 1
    assert (len(Sensitive("abc")), bool(Sensitive(""))) == (3, False)


def test_fields_give_texts_one_by_one_and_types_all_together() -> None:
    assert FIELDS["port"].reveal() == "5432"
    assert FIELDS["tls"].reveal() == "null"
    assert FIELDS.reveal() == {"password": TEXT, "port": 5432, "tls": None}
    assert SecretFields({"password": VALUE}).reveal() == {"password": TEXT}


def test_newer_fields_are_laid_over_and_the_others_stay() -> None:
    merged = FIELDS.merged(SecretFields({"password": "new", "more": [1]}))
    assert merged.reveal() == {"password": "new", "port": 5432, "tls": None, "more": [1]}
    assert FIELDS.reveal()["password"] == TEXT


@pytest.mark.parametrize(
    ("others", "held"),
    [({}, True), ({"port": 5432}, True), ({"port": "5432"}, False), ({"host": "x"}, False), ({"tls": None}, True)],
)
def test_fields_hold_others_with_the_same_values_and_types(others: dict[str, object], held: bool) -> None:
    assert FIELDS.holds(SecretFields(others)) is held


def test_a_field_that_is_absent_is_not_the_same_as_null() -> None:
    assert not SecretFields({}).holds(SecretFields({"tls": None}))
