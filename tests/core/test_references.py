"""What names in a mapping mean: fields, properties inside of them, the version before; and how names are spelled."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.core.sensitive import SecretFields
from keyturn.core.text.formatting import Case, respelled, spelled, words_of
from keyturn.core.text.mapping import Escape, Shape, template_flaw
from keyturn.core.text.references import Unfit, value_of

CONFIG = json.dumps({"db": {"host": "h", "ports": [1, {"n": 2}], "a.b": "dotted"}, "text": '{"deep": "d"}'})
FIELDS = SecretFields({"config": CONFIG, "real": {"x": True, "none": None}, "tls.crt": "pem", "key": "new", "n": 5})
OLD = SecretFields({"key": "old", "n": 5})
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="."), min_size=1, max_size=8)
EXACT = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("key", "new"),
        ("tls.crt", "pem"),
        ("config.db.host", "h"),
        ("config.db.ports.0", 1),
        ("config.db.ports.1.n", 2),
        ("config.db.a.b", "dotted"),
        ("config.text.deep", "d"),
        ("real.x", True),
        ("real.none", None),
    ],
)
def test_a_name_leads_to_a_field_or_a_property_inside_of_one(name: str, value: Any) -> None:
    assert value_of(FIELDS, name) == value


@pytest.mark.parametrize(
    ("fields", "name", "said"),
    [
        ({"a": "1"}, "b.c", "the secret has no field b.c"),
        ({"a": "{}"}, "a.b", "the field a has no property b"),
        ({"a": {"b": "hunter2"}}, "a.b.c", "the field a is no JSON, so nothing inside of it can be named"),
        ({"a": "[1]"}, "a.1", "the field a has no property 1"),
        ({"a": '{"b": 1.10}'}, "a.b", "the property b of the field a holds a number that would be spelled otherwise"),
        ({"a": '{"b": {"c": 9007199254740993}}'}, "a.b", "holds a number that would be spelled otherwise"),
    ],
)
def test_what_a_name_does_not_lead_to_is_said_without_a_value(fields: dict[str, Any], name: str, said: str) -> None:
    with pytest.raises(Unfit, match=said) as caught:
        value_of(SecretFields(fields), name)
    assert "hunter2" not in str(caught.value)


@given(st.dictionaries(NAMES, EXACT, min_size=1, max_size=4))
def test_every_property_of_a_json_text_is_found_as_it_is(held: dict[str, Any]) -> None:
    fields = SecretFields({"f": json.dumps(held)})
    for name, value in held.items():
        assert value_of(fields, f"f.{name}") == value


@pytest.mark.parametrize(
    ("shape", "both", "alone"),
    [
        (Shape(field=("key", "previous.key")), '["new","old"]', '["new"]'),
        (Shape(field=("key", "previous.key"), join=" "), "new old", "new"),
        (Shape(fields=(("K", ("key", "previous.key")),)), '{"K":["new","old"]}', '{"K":["new"]}'),
        (Shape(fields=(("K", ("key", "previous.key")),), join=";"), '{"K":"new;old"}', '{"K":"new"}'),
        (Shape(fields=(("K", "key"), ("OLD", "previous.key"))), '{"K":"new","OLD":"old"}', '{"K":"new"}'),
        (Shape(template="{key,previous.key}!"), "new,old!", "new!"),
        (Shape(template="{key}|{previous.key}"), "new|old", "new|"),
        (Shape(template="x://{key, previous.key}"), "x://new,old", "x://new"),
        (Shape(template="k={key,previous.key}", escape=Escape.LIBPQ), "k='new,old'", "k='new'"),
        (Shape(field=("n", "previous.n")), "[5]", "[5]"),
        (Shape(field=("tls.crt", "previous.tls.crt")), '["pem"]', '["pem"]'),
    ],
)
def test_the_version_before_stands_beside_while_there_is_one(shape: Shape, both: str, alone: str) -> None:
    assert shape.render(FIELDS, OLD).reveal() == both
    assert shape.render(FIELDS).reveal() == alone
    assert shape.tells_previous
    assert shape.marked(0) == shape.mark != shape.marked(3) != shape.marked(4)


def test_a_slip_in_the_name_of_a_previous_field_is_told_though_there_is_no_version_before() -> None:
    with pytest.raises(Unfit, match="the secret has no field kee"):
        Shape(field=("key", "previous.kee")).render(FIELDS)


def test_a_field_that_is_really_called_so_is_meant_by_its_name() -> None:
    assert Shape(field="previous.key").render(SecretFields({"previous.key": "v"}), OLD).reveal() == "v"


def test_several_values_in_one_text_are_refused_where_nobody_could_tell_where_one_ends() -> None:
    shape = Shape(field=("key", "previous.key"), join=",")
    with pytest.raises(Unfit, match="contains the separator"):
        shape.render(SecretFields({"key": "a,b"}), OLD)
    assert shape.render(SecretFields({"key": "a,b"})).reveal() == "a,b"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=2, max_size=2, unique=True))
def test_a_list_gives_both_values_back(values: list[str]) -> None:
    made = Shape(field=("k", "previous.k")).render(SecretFields({"k": values[0]}), SecretFields({"k": values[1]}))
    assert json.loads(made.reveal()) == values


def test_templates_stand_side_by_side_each_with_its_escape_and_beside_fields() -> None:
    fields = SecretFields({"u": "a", "p": "x'y/z"})
    shape = Shape(
        fields=(("USER", "u"),),
        templates=(("URL", "pg://{u}:{p}@h", None), ("DSN", "user={u} password={p}", Escape.LIBPQ)),
    )
    made = json.loads(shape.render(fields).reveal())
    assert made == {"USER": "a", "URL": "pg://a:x%27y%2Fz@h", "DSN": "user='a' password='x\\'y/z'"}


@given(st.dictionaries(NAMES, EXACT, min_size=1, max_size=4), st.sampled_from([None, SecretFields({"zz": "old"})]))
def test_what_leads_back_from_a_copy_is_what_it_was_made_of(held: dict[str, Any], before: SecretFields | None) -> None:
    fields = SecretFields({**held, "zz": "new"})
    names = [name for name in fields if not name.startswith("previous")]
    pairs = tuple((f"N{index}", name) for index, name in enumerate(names))
    shape = Shape(
        fields=(*pairs, ("several", ("zz", "previous.zz")), ("old", "previous.zz")), templates=(("t", "{zz}", None),)
    )
    assert shape.invert(shape.render(fields, before)) == {name: fields.reveal()[name] for name in names}


@pytest.mark.parametrize("shape", [Shape(case=Case.SNAKE), Shape(templates=(("a", "{a}", None),)), Shape(field=("a",))])
def test_what_leads_nowhere_back_says_so(shape: Shape) -> None:
    with pytest.raises(Unfit):
        shape.invert(shape.render(SecretFields({"a": "1"})))


@pytest.mark.parametrize("template", ["{previous.a}", "{a,}", "{a,,b}", "{,}"])
def test_a_template_of_nothing_that_lasts_has_a_flaw(template: str) -> None:
    assert template_flaw(template)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dbURLPath", ["db", "url", "path"]),
        ("db-url.path", ["db", "url", "path"]),
        ("DB_URL_PATH", ["db", "url", "path"]),
        ("api2Key", ["api2", "key"]),
        ("straße", ["straße"]),
    ],
)
def test_a_name_has_words_however_it_is_spelled(name: str, words: list[str]) -> None:
    assert words_of(name) == words


@pytest.mark.parametrize(
    ("case", "made"),
    [
        (None, "dbUrl-path"),
        (Case.UPPER_SNAKE, "DB_URL_PATH"),
        (Case.SNAKE, "db_url_path"),
        (Case.KEBAB, "db-url-path"),
        (Case.CAMEL, "dbUrlPath"),
        (Case.PASCAL, "DbUrlPath"),
        (Case.UPPER, "DBURL-PATH"),
        (Case.LOWER, "dburl-path"),
    ],
)
def test_a_name_is_spelled_as_the_copy_wants_it(case: Case | None, made: str) -> None:
    assert spelled("dbUrl-path", case) == made


def test_two_fields_that_would_have_one_name_are_refused_by_their_names() -> None:
    with pytest.raises(Unfit, match="the fields a-b and a_b would both be called A_B"):
        respelled({"a-b": 1, "a_b": 2}, Case.UPPER_SNAKE)
    with pytest.raises(Unfit, match="no letter"):
        spelled("--", Case.SNAKE)
