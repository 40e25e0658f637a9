"""What a copy's text is made of, and that no value can break out of its place in a template."""

import base64
import json
from urllib.parse import unquote, urlsplit

import psycopg2.extensions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.core.mapping import WHOLE, Encoding, Escape, Shape, Unfit, flaw
from keyturn.core.sensitive import SecretFields

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


def test_an_ipv6_host_in_a_url_gets_its_brackets() -> None:
    assert rendered(Shape(template="redis://{h}:6379"), SecretFields({"h": "::1"})) == "redis://[::1]:6379"


@given(password=TEXT)
def test_libpq_reads_the_same_password_from_a_keyword_string(password: str) -> None:
    text = rendered(Shape(template="host=db password={p}", escape=Escape.LIBPQ), SecretFields({"p": password}))
    assert psycopg2.extensions.parse_dsn(text) == {"host": "db", "password": password}


@pytest.mark.parametrize(
    ("escape", "value", "written"),
    [
        (Escape.ODBC, "plain", "plain"),
        (Escape.ODBC, "a;b}c", "{a;b}}c}"),
        (Escape.ADO, "plain", "plain"),
        (Escape.ADO, 'a;b"c', '"a;b""c"'),
        (Escape.JSON, 'a"b\\c\n', 'a\\"b\\\\c\\n'),
        (Escape.NONE, "a;b", "a;b"),
    ],
)
def test_a_value_in_a_connection_string_keeps_its_characters_to_itself(
    escape: Escape, value: str, written: str
) -> None:
    assert rendered(Shape(template="Pwd={p};", escape=escape), SecretFields({"p": value})) == f"Pwd={written};"


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
    assert flaw(template)


def test_shapes_are_told_apart_by_their_mark_and_the_whole_has_none() -> None:
    marks = {shape.mark for shape in (WHOLE, Shape(field="a"), Shape(field="b"), Shape(template="{a}"))}
    assert len(marks) == 4
    assert WHOLE.mark == ""
