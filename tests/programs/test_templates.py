"""What templates write, and what they say where they can't."""

import json
import tomllib
from pathlib import Path

import pytest

from keyturn.client.client import SecretClient
from keyturn.client.secrets import Secret
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound
from keyturn.core.sensitive import SecretFields
from keyturn.programs.references import FieldReference, Reading
from keyturn.programs.templates import LARGEST, Template
from tests.support.served import MADE, MemorySource

HARD = "a'b\"c\\d\n%e$f \x7f"
FIELDS = {"password": HARD, "port": 5432, "on": True, "items": "of-the-secret", "none": None, "list": [1, "x"]}


class Typed(MemorySource):
    """Serves these fields."""

    def read(self, path: str) -> Secret:
        self._answer(path)
        return Secret(path, SecretFields(FIELDS), 1, "1", "hub", MADE)


@pytest.fixture
def reading() -> Reading:
    return Reading(SecretClient([Typed(a=1)], poll=0))


def rendered(text: str, reading: Reading) -> str:
    return Template(Path("/etc/app/t.j2"), text).render(reading).reveal()


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ('{{ secret("a").port }} {{ secret("a").on }} {{ secret("a").none }}', "5432 true null"),
        ('{{ secret("a").items }} {{ secret("a")["items"] }}', "of-the-secret of-the-secret"),
        ('{{ secret("a").nothing | default("d") }}{{ secret("a").nothing is defined }}', "dfalse"),
        ('{% for name in secret("a") %}{{ name }} {% endfor %}', "password port on items none list "),
        ("one line\n", "one line\n"),
        ('{{ secret("a").port | base64 }} {{ secret("a").items | base64 | base64decode }}', "NTQzMg== of-the-secret"),
        ('{{ secret("a").password | url }}', "a%27b%22c%5Cd%0A%25e%24f%20%7F"),
    ],
)
def test_what_a_template_writes(template: str, text: str, reading: Reading) -> None:
    assert rendered(template, reading) == text


def test_json_and_toml_give_back_what_was_put_in(reading: Reading) -> None:
    assert json.loads(rendered('{{ secret("a") | json }}', reading)) == FIELDS
    toml = 'v = {{ secret("a").password | toml }}\nl = {{ secret("a").list | toml }}\nt = {{ {"x y": 1} | toml }}'
    assert tomllib.loads(rendered(toml, reading)) == {"v": HARD, "l": [1, "x"], "t": {"x y": 1}}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ('\n{{ secret("a").passwrd }}', "t.j2:2: a name or a field"),
        ('\n\n{{ secret("a") }}', "t.j2:3: a secret is written a field at a time"),
        ('{{ secret("a") | string }}', "t.j2:1"),
        ('{{ secret("a").password | ini }}', "t.j2:1: a value with line breaks"),
        ('{{ secret("a") | toml }}', "t.j2:1: TOML knows no null"),
        ('{{ secret("a").password | base64decode }}', "t.j2:1: it is not the base64"),
        ('{{ secret("a").password / 2 }}', "t.j2:1: it can't be carried out: TypeError"),
        ("{% if %}", "t.j2:1: Expected an expression"),
        ("{{ missing }}", "t.j2:1: a name or a field"),
        ('{{ secret("a")[secret("a").password] }}', "t.j2:1: a name or a field"),
        ('{{ secret(secret("a").password) }}', "a secret for /etc/app/t.j2"),
        ('{{ secret("a").password * 200000 }}', "more than 1,048,576 bytes"),
    ],
)
def test_what_can_not_be_rendered_is_said_with_its_line_and_without_a_value(
    template: str, words: str, reading: Reading
) -> None:
    with pytest.raises(KeyturnError) as caught:
        rendered(template, reading)
    assert words in str(caught.value)
    assert "a'b" not in str(caught.value)


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a * b %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 'x' * 999999999999 }}",
        "{{ [0] * 999999999999 }}",
        "{{ 2 ** 9999999999 }}",
        "{{ 'x' | center(999999999999) }}",
        "{{ 'x'.ljust(999999999999) }}",
        "{{ '%999999999999d' % 1 }}",
        "{{ '{:999999999999}'.format(1) }}",
        "{{ '%999999999999d' | format(1) }}",
        "{{ ('x' * 99999) | replace('x', 'y' * 99999) }}",
        "{% set n = namespace(x='xxxx') %}{% for a in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x='xxxx') %}{% for a in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=[1]) %}{% for a in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | json }}",
    ],
)
def test_a_template_that_takes_too_much_time_or_memory_ends(template: str, reading: Reading) -> None:
    with pytest.raises(Invalid, match=r"template may|more than|can't be carried out"):
        rendered(template, reading)


def test_a_secret_that_is_not_there_is_named(reading: Reading) -> None:
    with pytest.raises(NotFound, match="hub:b: there is none"):
        rendered('{{ secret("b").password }}', reading)


def test_a_field_is_named_or_is_the_only_one(reading: Reading) -> None:
    assert FieldReference.parse("a#b#port") == FieldReference("a#b", "port")
    assert reading.field(FieldReference.parse("a#port")).reveal() == "5432"
    with pytest.raises(Invalid, match="Say which: a#FIELD"):
        reading.field(FieldReference.parse("a"))
    with pytest.raises(NotFound, match="Did you mean password"):
        reading.field(FieldReference.parse("a#passwrd"))
    for text in ("", "#b", "a#"):
        with pytest.raises(ValueError, match="PATH#FIELD"):
            FieldReference.parse(text)


def test_a_template_that_anybody_may_write_or_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.j2"
    with pytest.raises(NotFound, match="no such template"):
        Template.load(file)
    file.write_text("x" * (LARGEST + 1))
    with pytest.raises(Invalid, match="more than"):
        Template.load(file)
    file.write_text("x")
    file.chmod(0o646)
    with pytest.raises(Denied, match="every user of this machine may write it"):
        Template.load(file)
    with pytest.raises(KeyturnError, match=r"directory|no regular file"):
        Template.load(tmp_path)
