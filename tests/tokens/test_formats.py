"""Every format of a leaked token is complete, and recognised as that one alone."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from keyturn.core.sensitive import Sensitive
from keyturn.tokens.library import SHIPPED, load_formats, recognise
from keyturn.tokens.model import TokenFormat
from tests.support.leaked_tokens import make_token, with_wrong_checksum

pytestmark = pytest.mark.sampled(3, of="file")

FORMATS = load_formats()
NAMES = sorted(FORMATS)


def test_there_are_many_and_a_good_part_ends_by_a_request() -> None:
    assert len(FORMATS) >= 80
    assert sum(each.end is not None for each in FORMATS.values()) >= 30
    titles = [each.title for each in FORMATS.values()]
    assert len(set(titles)) == len(titles)


def test_the_page_says_how_many_there_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "revocation.md").read_text()
    assert f"[{len(FORMATS)} formats](cli.md#kill)" in page
    assert f"It ends {sum(each.end is not None for each in FORMATS.values())} of them" in page


@pytest.mark.parametrize("name", NAMES)
def test_a_token_is_recognised_as_its_own_format_alone(name: str) -> None:
    each = FORMATS[name]
    for _ in range(20):
        value = Sensitive(make_token(each))
        assert recognise(value, FORMATS, name).name == name
        assert recognise(value, FORMATS).name == ("" if each.named_only else name)


@pytest.mark.parametrize("name", NAMES)
def test_a_token_has_too_many_values_for_its_hash_to_be_guessed(name: str) -> None:
    shortest = min((make_token(FORMATS[name]) for _ in range(20)), key=len)
    assert len(shortest) >= 20, "80 bits at least: the ledger has its SHA-256"


@pytest.mark.parametrize("name", [name for name in NAMES if FORMATS[name].checksum])
def test_a_wrong_checksum_is_no_token_unless_a_person_names_the_format(name: str) -> None:
    value = Sensitive(with_wrong_checksum(make_token(FORMATS[name])))
    assert recognise(value, FORMATS).name == ""
    assert "its checksum is wrong" in recognise(value, FORMATS).why
    assert recognise(value, FORMATS, name).name == name


def test_the_checksum_is_githubs_own() -> None:
    published = "_".join(("ghp", "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17"))  # therootcompany/base62-token.js
    assert recognise(Sensitive(published), FORMATS).name == "github-personal-access-token"


@pytest.mark.parametrize("text", ["hunter2", "correct horse battery staple", "ghp_", "{}", "sk-", "a" * 40, "ghp_\x00"])
def test_anything_else_is_recognised_as_nothing(text: str) -> None:
    assert recognise(Sensitive(text), FORMATS).name == ""


def test_something_around_a_token_is_not_cut_off() -> None:
    token = make_token(FORMATS["github-fine-grained-token"])
    for text in (f"TOKEN={token}", f'"{token}"', f"{token} {token}"):
        assert recognise(Sensitive(text), FORMATS).name == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_person_gets_a_page_over_tls_and_steps(name: str) -> None:
    hand = FORMATS[name].by_hand
    assert re.fullmatch(r"https://[A-Za-z0-9./#~_-]+", hand.page or "")
    assert all(step[-1] in ".`" for step in hand.steps)


BROKEN = {
    "url: https://api.github.com\n": ("url: http://api.github.com\n", "is not the https address"),
    "  by: value\n": ("  by: guess\n", "by"),
    "pattern: ghp_[A-Za-z0-9]{36}\n": ("pattern: ghp_[\n", "is not a regular expression"),
    'headers: { authorization: "Bearer {{token}}" }': ("headers: { authorization: Bearer }", "written out"),
    "path: /user": ("path: /user/{{id}}", "asks for {{id}}"),
    'body: { credentials: ["{{token}}"] }': ("body: { credentials: [x] }", "holds no {{token}}"),
    "service: GitHub\n": ("service: GitHub\nhosts: [github.example.com]\n", "has a host of its own"),
}


@pytest.mark.parametrize("old", BROKEN)
def test_a_format_that_could_send_a_token_elsewhere_or_nowhere_is_refused(old: str) -> None:
    text, (new, problem) = (SHIPPED / "github-personal-access-token.yaml").read_text(), BROKEN[old]
    assert old in text
    with pytest.raises(ValidationError, match=re.escape(problem)):
        TokenFormat.model_validate(yaml.safe_load(text.replace(old, new, 1)))
