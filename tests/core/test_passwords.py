"""Generated values keep their policy, hold the entropy that is claimed, and lean to no side."""

import math
import random
import string
from collections import Counter
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyturn.core.errors import Invalid
from keyturn.core.passwords import CLASSES, PRINTABLE, Form, PasswordPolicy, flaw, generate
from keyturn.core.sensitive import Sensitive

CLASS_NAMES = sorted(CLASSES)


def uniform(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311


@st.composite
def policies(draw: st.DrawFn) -> PasswordPolicy:
    form = draw(st.sampled_from(Form))
    length = None if form is Form.UUID else draw(st.none() | st.integers(1, 64))
    alphabet = classes = None
    if form is Form.PASSWORD:
        alphabet = draw(st.none() | st.lists(st.sampled_from(sorted(PRINTABLE)), min_size=2, unique=True).map("".join))
        classes = draw(st.none() | st.lists(st.sampled_from(CLASS_NAMES), unique=True).map(tuple))
    try:
        return PasswordPolicy(form, length, alphabet, classes, draw(st.sampled_from([1, 20, 64])))
    except Invalid:
        assume(False)
        raise


@given(policies(), st.integers(0, 2**32))
def test_every_value_keeps_its_policy(policy: PasswordPolicy, seed: int) -> None:
    assert flaw(policy, generate(policy, uniform(seed).choice)) is None


@given(policies())
def test_no_policy_that_can_be_made_holds_less_than_its_minimum(policy: PasswordPolicy) -> None:
    assert policy.entropy() >= policy.minimum_entropy


def test_entropy_counts_exactly_the_values_there_are() -> None:
    policy = PasswordPolicy(length=4, alphabet="abAB12", classes=("lower", "upper", "digit"), minimum_entropy=1)
    every = [Sensitive("".join(text)) for text in product("abAB12", repeat=4)]
    assert policy.entropy() == pytest.approx(math.log2(sum(flaw(policy, value) is None for value in every)))


def test_every_value_is_as_likely_as_any_other() -> None:
    policy = PasswordPolicy(length=3, alphabet="abA1", classes=("lower", "upper", "digit"), minimum_entropy=1)
    random_choice = uniform(7).choice
    drawn = 24_000
    counts = Counter(generate(policy, random_choice).reveal() for _ in range(drawn))
    assert len(counts) == round(2 ** policy.entropy()) == 12
    expected = drawn / 12
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 31.3  # chi square, 11 degrees, 0.1 %


def test_the_default_is_32_letters_and_digits_with_each_class() -> None:
    policy = PasswordPolicy()
    text = generate(policy).reveal()
    assert len(text) == 32
    assert set(text) <= set(string.ascii_letters + string.digits)
    assert all(set(text) & set(CLASSES[name]) for name in ("lower", "upper", "digit"))
    assert 190 < policy.entropy() < 191


def test_two_values_differ() -> None:
    assert generate(PasswordPolicy()) != generate(PasswordPolicy())


@pytest.mark.parametrize(
    ("form", "length", "characters", "bits"),
    [(Form.HEX, 16, 32, 128), (Form.URL_SAFE, 32, 43, 256), (Form.UUID, None, 36, 122)],
)
def test_bytes_decide_what_the_other_forms_hold(form: Form, length: int | None, characters: int, bits: int) -> None:
    policy = PasswordPolicy(form, length, minimum_entropy=122)
    assert len(generate(policy).reveal()) == characters
    assert policy.entropy() == bits


@pytest.mark.parametrize(
    ("policy", "problem", "hint"),
    [
        ({"length": 20}, "119 bits of entropy", "Raise length"),
        ({"form": Form.UUID}, "122 bits", "minimum_entropy: 122"),
        ({"form": Form.HEX, "length": 8}, "64 bits", "16 bytes"),
        ({"form": Form.UUID, "length": 16}, "no length", "Remove"),
        ({"form": Form.HEX, "classes": ("lower",)}, "don't apply to the form hex", "form password"),
        ({"length": 0}, "below 1", "32"),
        ({"alphabet": "a"}, "fewer than two", "Name more"),
        ({"alphabet": "aab"}, "twice", "once"),
        ({"alphabet": "ab c"}, "printable ASCII", "no space"),
        ({"alphabet": "abc", "classes": ("digit",)}, "no character of the class digit", "drop"),
        ({"classes": ()}, "no characters", "class"),
        ({"classes": ("letters",)}, "no class letters", "lower"),
        ({"classes": ("lower", "lower")}, "twice", "once"),
        (
            {"length": 4, "alphabet": string.ascii_lowercase + "A0!", "classes": tuple(CLASSES), "minimum_entropy": 1},
            "one random text in a thousand",
            "Raise length",
        ),
    ],
)
def test_a_policy_that_can_not_be_met_can_not_be_made(policy: dict[str, object], problem: str, hint: str) -> None:
    with pytest.raises(Invalid) as caught:
        PasswordPolicy(**policy)  # type: ignore[arg-type]
    assert problem in caught.value.problem
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("policy", "text", "said"),
    [
        (PasswordPolicy(), "tooShort1", "it has 9 characters, not 32"),
        (PasswordPolicy(), "x" * 32, "no character of the class upper"),
        (PasswordPolicy(), "aA1 " * 8, "outside the alphabet"),
        (PasswordPolicy(Form.HEX), "z" * 64, "not 64 hexadecimal digits"),
        (PasswordPolicy(Form.URL_SAFE), "short", "not 43 characters of URL-safe Base64"),
        (PasswordPolicy(Form.UUID, minimum_entropy=122), "not-a-uuid", "not a UUID"),
    ],
)
def test_a_flaw_is_told_without_the_value(policy: PasswordPolicy, text: str, said: str) -> None:
    told = flaw(policy, Sensitive(text))
    assert told
    assert said in told
    assert text not in told
