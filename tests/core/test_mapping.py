"""What a copy's text is made of, and that no value can break out of its place in a template."""

import base64
import json
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg2.extensions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.catalogue.destinations import Destination
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.mapping import WHOLE, Encoding, Escape, Shape, template_flaw
from keyturn.core.text.references import Unfit
from tests.support import ado

FIELDS = SecretFields({"username": "app", "password": "p@ss/w:ö rd", "host": "db.example.com", "port": 5432})
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)


def rendered(shape: Shape, fields: SecretFields = FIELDS) -> str:
    return shape.render(fields).reveal()


def test_the_whole_secret_is_one_json_object() -> None:
    assert json.loads(rendered(WHOLE)) == FIELDS.reveal()


def test_chosen_fields_stand_under_their_new_names_with_their_json_types() -> None:
    shape = Shape(fields=(("DB_USER", "username"), ("DB_PORT", "port")))
    assert json.loads(rendered(shape)) == {"DB_USER": "app", "DB_PORT": 5432}


def test_one_field_is_its_bare_text() -> None:
    assert rendered(Shape(field="port")) == "5432"


@given(password=TEXT, user=TEXT, database=TEXT)
def test_a_url_gives_every_part_back(password: str, user: str, database: str) -> None:
    shape = Shape(template="postgresql://{u}:{p}@{h}:{n}/{d}")
    url = urlsplit(rendered(shape, SecretFields({"u": user, "p": password, "h": "db", "n": 5432, "d": database})))
    assert (unquote(url.username or ""), unquote(url.password or "")) == (user, password)
    assert (url.hostname, url.port, unquote(url.path[1:])) == ("db", 5432, database)


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("redis://{h}:6379", "redis://[::1]:6379"),
        ("redis://:{p}@{h}", "redis://:%3A%3A1@[::1]"),
        ("postgresql://{p}:{p}@{h}:5432,{h}:5433/{p}", "postgresql://%3A%3A1:%3A%3A1@[::1]:5432,[::1]:5433/%3A%3A1"),
        ("postgresql://{p}@db/x", "postgresql://%3A%3A1@db/x"),
        ("https://db/x,{p}?a=@{p}#//{p}", "https://db/x,%3A%3A1?a=@%3A%3A1#//%3A%3A1"),
        ("https://db?next=http://{p}", "https://db?next=http://%3A%3A1"),
    ],
)
def test_an_ipv6_address_gets_brackets_as_a_urls_host_and_nowhere_else(template: str, written: str) -> None:
    assert rendered(Shape(template=template), SecretFields({"h": "::1", "p": "::1"})) == written


def test_an_ipv6_host_may_have_its_brackets_already_and_a_zone() -> None:
    shape = Shape(template="redis://{h}:6379")
    assert rendered(shape, SecretFields({"h": "[::1]"})) == "redis://[::1]:6379"
    assert rendered(shape, SecretFields({"h": "fe80::1%eth0"})) == "redis://[fe80::1%25eth0]:6379"


@pytest.mark.parametrize("template", ["jdbc:postgresql://{h}:5432/db?user={u}&password={u}", "{h}"])
def test_a_url_within_another_scheme_has_its_host_and_a_whole_value_is_none(template: str) -> None:
    text = rendered(Shape(template=template, escape=Escape.URL), SecretFields({"h": "::1", "u": "a+b"}))
    assert text in ("jdbc:postgresql://[::1]:5432/db?user=a%2Bb&password=a%2Bb", "%3A%3A1")


@given(password=TEXT)
def test_libpq_reads_the_same_password_from_a_keyword_string(password: str) -> None:
    text = rendered(Shape(template="host=db password={p}", escape=Escape.LIBPQ), SecretFields({"p": password}))
    assert psycopg2.extensions.parse_dsn(text) == {"host": "db", "password": password}


@pytest.mark.parametrize(
    ("escape", "value", "written"),
    [
        (Escape.ODBC, "plain", "{plain}"),
        (Escape.ODBC, "", "{}"),
        (Escape.ODBC, "a%41+b", "{a%41+b}"),
        (Escape.ODBC, "a;b}c", "{a;b}}c}"),
        (Escape.ADO, "plain", "plain"),
        (Escape.ADO, 'a;b"c', '"a;b""c"'),
        (Escape.ADO, "a\x01b", '"a\x01b"'),
        (Escape.ADO, "a\x7f\x85", '"a\x7f\x85"'),
        (Escape.JSON, 'a"b\\c\n', 'a\\"b\\\\c\\n'),
        (Escape.NONE, "a;b", "a;b"),
    ],
)
def test_a_value_in_a_connection_string_keeps_its_characters_to_itself(
    escape: Escape, value: str, written: str
) -> None:
    assert rendered(Shape(template="Pwd={p};", escape=escape), SecretFields({"p": value})) == f"Pwd={written};"


def test_odbc_puts_a_password_in_braces_and_leaves_bare_what_postgresqls_driver_knows_no_braces_for() -> None:
    template = "Server={h};UID={u};Database={d}; password = {p};X={x}"
    fields = SecretFields({"h": "127.0.0.1", "u": "a@b+c", "d": "sh%op", "p": "plain", "x": "a;b"})
    text = rendered(Shape(template=template, escape=Escape.ODBC), fields)
    assert text == "Server=127.0.0.1;UID=a@b+c;Database=sh%op; password = {plain};X={a;b}"


@given(password=TEXT, user=TEXT)
def test_ado_net_reads_every_value_as_it_is(password: str, user: str) -> None:
    template = "Server=db;User ID={u};Password={p};Pooling=true"
    text = rendered(Shape(template=template, escape=Escape.ADO), SecretFields({"u": user, "p": password}))
    assert ado.pairs(text) == {"server": "db", "user id": user, "password": password, "pooling": "true"}


@given(inside=TEXT)
def test_json_reads_every_value_as_it_is(inside: str) -> None:
    text = rendered(Shape(template='{{"a": "{p}"}}', escape=Escape.JSON), SecretFields({"p": inside}))
    assert json.loads(text) == {"a": inside}


@pytest.mark.parametrize(
    ("escape", "template"),
    [(Escape.LIBPQ, "password='{p}'"), (Escape.ODBC, "Pwd={{{p}}};"), (Escape.ADO, 'Pwd="{p}";')],
)
def test_quotes_that_the_template_has_already_are_not_written_twice(escape: Escape, template: str) -> None:
    assert rendered(Shape(template=template, escape=escape), SecretFields({"p": "x"})) == template.format(p="x")


@pytest.mark.parametrize("escape", [Escape.LIBPQ, Escape.ODBC, Escape.ADO])
def test_a_null_character_ends_no_connection_string_early(escape: Escape) -> None:
    with pytest.raises(Unfit, match="null character"):
        Shape(template="Pwd={p};", escape=escape).render(SecretFields({"p": "a\0b"}))


def test_a_value_with_braces_is_not_read_as_a_template() -> None:
    assert rendered(Shape(template="{a}-{{x}}", escape=Escape.NONE), SecretFields({"a": "{b}"})) == "{b}-{x}"


def test_a_missing_field_is_named() -> None:
    with pytest.raises(Unfit, match="no field database"):
        Shape(template="{database}").render(FIELDS)


def test_base64_goes_both_ways() -> None:
    encoded = rendered(Shape(field="password", encoding=Encoding.BASE64))
    assert base64.b64decode(encoded).decode() == "p@ss/w:ö rd"
    back = Shape(field="x", encoding=Encoding.FROM_BASE64)
    assert rendered(back, SecretFields({"x": encoded})) == "p@ss/w:ö rd"


@pytest.mark.parametrize(
    ("fields", "encoding", "said"),
    [
        ({"x": base64.b64encode(b"\xff\xfe").decode()}, Encoding.FROM_BASE64, "not UTF-8"),
        ({"x": "no base64!"}, Encoding.FROM_BASE64, "not base64"),
        ({"x": "no pem"}, Encoding.PEM, "not PEM"),
        ({"x": "\ud800"}, Encoding.TEXT, "no UTF-8"),
    ],
)
def test_what_is_no_text_is_refused_without_quoting_it(fields: dict[str, str], encoding: Encoding, said: str) -> None:
    with pytest.raises(Unfit, match=said) as caught:
        Shape(field="x", encoding=encoding).render(SecretFields(fields))
    assert fields["x"] not in str(caught.value)


def test_pem_gets_one_kind_of_line_end_and_a_last_one() -> None:
    pem = "-----BEGIN CERTIFICATE-----\r\nQUJD\r\n-----END CERTIFICATE-----"
    made = rendered(Shape(field="x", encoding=Encoding.PEM), SecretFields({"x": pem}))
    assert made == "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
    escaped = rendered(Shape(field="x", encoding=Encoding.PEM), SecretFields({"x": made.replace("\n", "\\n")}))
    assert escaped == made


@pytest.mark.parametrize("template", ["{", "}", "{a!r}", "{a:>3}", "none", "{a b}", "{}"])
def test_a_template_that_means_nothing_has_a_flaw(template: str) -> None:
    assert template_flaw(template)


def test_shapes_are_told_apart_by_their_mark_and_the_whole_has_none() -> None:
    marks = {shape.mark for shape in (WHOLE, Shape(field="a"), Shape(field="b"), Shape(template="{a}"))}
    assert len(marks) == 4
    assert WHOLE.mark == ""


@pytest.mark.parametrize(
    ("said", "mark"),
    [
        ({"field": "a"}, "0ecb9fe3"),
        ({"fields": {"X": "a"}}, "803038d8"),
        ({"fields": ["a", "b"]}, "982a4da0"),
        ({"template": "x://{a}"}, "df37f527"),
        ({"template": "{a}", "escape": "libpq", "encoding": "base64"}, "b18d3eb7"),
    ],
)
def test_the_marks_of_copies_that_stand_in_stores_stay_as_they_are(said: dict[str, Any], mark: str) -> None:
    assert Destination.model_validate({"store": "s", "name": "n", **said}).shape.marked(3) == mark
