"""Generated values keep their policy, hold the entropy that is claimed, and lean to no side."""

import base64
import math
import random
import string
from collections import Counter
from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyturn.core.errors import Invalid
from keyturn.core.sensitive import Sensitive
from keyturn.core.text.checksummed_tokens import BASE62, PREFIX, token
from keyturn.core.text.passwords import CLASSES, PRINTABLE, SEPARATORS, Form, PasswordPolicy, generate, password_flaw
from keyturn.core.text.wording import english

CLASS_NAMES = sorted(CLASSES)


def uniform(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311


@st.composite
def policies(draw: st.DrawFn) -> PasswordPolicy:
    form = draw(st.sampled_from(Form))
    length = None if form is Form.UUID else draw(st.none() | st.integers(1, 64))
    alphabet = classes = separator = prefix = None
    if form is Form.PASSWORD:
        alphabet = draw(st.none() | st.lists(st.sampled_from(sorted(PRINTABLE)), min_size=2, unique=True).map("".join))
        classes = draw(st.none() | st.lists(st.sampled_from(CLASS_NAMES), unique=True).map(tuple))
    if form is Form.PASSPHRASE:
        separator = draw(st.none() | st.sampled_from(sorted(SEPARATORS)))
    if form is Form.TOKEN:
        prefix = draw(st.from_regex(PREFIX, fullmatch=True))
    minimum = draw(st.sampled_from([1, 20, 64]))
    try:
        return PasswordPolicy(form, length, alphabet, classes, minimum, separator=separator, prefix=prefix)
    except Invalid:
        assume(False)
        raise


@given(policies(), st.integers(0, 2**32))
def test_every_value_keeps_its_policy(policy: PasswordPolicy, seed: int) -> None:
    assert password_flaw(policy, generate(policy, uniform(seed).choice)) is None


@given(policies())
def test_no_policy_that_can_be_made_holds_less_than_its_minimum(policy: PasswordPolicy) -> None:
    assert policy.entropy() >= policy.minimum_entropy


def test_entropy_counts_exactly_the_values_there_are() -> None:
    policy = PasswordPolicy(length=4, alphabet="abAB12", classes=("lower", "upper", "digit"), minimum_entropy=1)
    every = [Sensitive("".join(text)) for text in product("abAB12", repeat=4)]
    assert policy.entropy() == pytest.approx(math.log2(sum(password_flaw(policy, value) is None for value in every)))


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


@pytest.mark.parametrize("size", [1, 2, 3])
def test_url_safe_texts_that_no_bytes_give_are_flawed(size: int) -> None:
    policy = PasswordPolicy(Form.URL_SAFE, size, minimum_entropy=1)
    drawn = bytes(range(255 - size, 255))
    made = base64.urlsafe_b64encode(drawn).rstrip(b"=").decode()
    ends = [made[:-1] + last for last in string.ascii_letters + string.digits + "-_"]
    kept = [text for text in ends if password_flaw(policy, Sensitive(text)) is None]
    assert len(kept) == {1: 4, 2: 16, 3: 64}[size]
    assert made in kept


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


def test_a_passphrase_has_as_many_bits_as_its_words() -> None:
    policy = PasswordPolicy(Form.PASSPHRASE)
    words = generate(policy).reveal().split("-")
    assert len(words) == 12
    assert set(words) <= set(english())
    assert policy.entropy() == 132


def test_the_words_of_a_passphrase_may_be_parted_by_another_sign() -> None:
    policy = PasswordPolicy(Form.PASSPHRASE, 7, minimum_entropy=77, separator=" ")
    assert len(generate(policy).reveal().split(" ")) == 7
    assert password_flaw(policy, Sensitive("-".join(english()[:7])))


@given(st.integers(1, 40), st.sampled_from(sorted(SEPARATORS)), st.integers(0, 2**32))
def test_a_passphrase_reads_in_one_way_only(words: int, separator: str, seed: int) -> None:
    policy = PasswordPolicy(Form.PASSPHRASE, words, minimum_entropy=1, separator=separator)
    drawn: list[str] = []

    def choice(among: Sequence[str]) -> str:
        drawn.append(uniform(seed + len(drawn)).choice(among))
        return drawn[-1]

    assert generate(policy, choice).reveal().split(separator) == drawn
    assert len(drawn) * math.log2(len(english())) == policy.entropy()


def test_every_word_is_drawn_as_often_as_any_other() -> None:
    policy = PasswordPolicy(Form.PASSPHRASE, 1024, minimum_entropy=1)
    random_choice = uniform(11).choice
    counts = Counter(word for _ in range(40) for word in generate(policy, random_choice).reveal().split("-"))
    assert len(counts) == 2048
    expected = 40 * 1024 / 2048
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert 1850 < chi_square < 2250  # 2,047 degrees, 0.1 % on either side


def test_a_token_has_its_prefix_its_random_characters_and_their_checksum() -> None:
    policy = PasswordPolicy(Form.TOKEN, prefix="acme_live")
    text = generate(policy).reveal()
    assert text == token("acme_live", text[len("acme_live_") : -6])
    assert len(text) == len("acme_live_") + 36
    assert 178 < policy.entropy() < 179


@given(st.text(BASE62, min_size=1, max_size=60), st.data())
def test_no_character_of_a_token_can_be_mistyped_unnoticed(drawn: str, data: st.DataObject) -> None:
    policy = PasswordPolicy(Form.TOKEN, len(drawn), minimum_entropy=1, prefix="kt_live")
    whole = token("kt_live", drawn)
    assert password_flaw(policy, Sensitive(whole)) is None
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.sampled_from(sorted(set(BASE62 + "_-") - {whole[place]})))
    assert password_flaw(policy, Sensitive(whole[:place] + other + whole[place + 1 :]))


@pytest.mark.parametrize(
    ("policy", "problem", "hint"),
    [
        ({"length": 20}, "119 bits of entropy", "Raise length"),
        ({"form": Form.UUID}, "122 bits", "minimum_entropy: 122"),
        ({"form": Form.HEX, "length": 8}, "64 bits", "16 bytes"),
        ({"form": Form.UUID, "length": 16}, "length of a uuid is fixed", "Remove"),
        ({"form": Form.HEX, "classes": ("lower",)}, "don't apply to the form hex", "form password"),
        ({"length": 0}, "below 1", "32"),
        ({"form": Form.PASSPHRASE, "length": 11}, "121 bits", "12 words"),
        ({"form": Form.PASSPHRASE, "length": 1, "minimum_entropy": 133}, "11 bits", "13 words"),
        ({"form": Form.PASSPHRASE, "length": 0}, "below 1", "12"),
        ({"form": Form.PASSPHRASE, "separator": ""}, "one character between them", "hyphen"),
        ({"form": Form.PASSPHRASE, "separator": "--"}, "one character between them", "hyphen"),
        ({"form": Form.PASSPHRASE, "separator": "x"}, "no letter", "hyphen"),
        ({"form": Form.PASSPHRASE, "separator": "\u2013"}, "one character between them", "ASCII"),
        ({"form": Form.PASSPHRASE, "classes": ("lower",)}, "don't apply to the form passphrase", "form password"),
        ({"separator": "-"}, "separator doesn't apply to the form password", "form passphrase"),
        ({"form": Form.UUID, "prefix": "acme"}, "prefix doesn't apply to the form uuid", "form token"),
        ({"form": Form.TOKEN, "prefix": "acme", "alphabet": "abc"}, "don't apply to the form token", "form password"),
        ({"form": Form.TOKEN}, "names its issuer", "acme_live"),
        ({"form": Form.TOKEN, "prefix": "acme", "length": 21}, "125 bits", "22 characters"),
        ({"form": Form.TOKEN, "prefix": "acme_"}, "not a legal one", "set by itself"),
        ({"form": Form.TOKEN, "prefix": "a"}, "not a legal one", "2 to 40"),
        ({"form": Form.TOKEN, "prefix": "a" * 41}, "not a legal one", "2 to 40"),
        ({"form": Form.TOKEN, "prefix": "acme__live"}, "not a legal one", "single underscores"),
        ({"form": Form.TOKEN, "prefix": "1acme"}, "not a legal one", "letters"),
        ({"form": Form.TOKEN, "prefix": "acme-live"}, "not a legal one", "underscores"),
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
        (PasswordPolicy(Form.PASSPHRASE), "abandon-ability", "it has 2 words, not 12"),
        (PasswordPolicy(Form.PASSPHRASE), "-".join(["abandon"] * 11 + ["xyzzy"]), "not in the list"),
        (PasswordPolicy(Form.PASSPHRASE), "-".join(["abandon"] * 11 + ["Abandon"]), "not in the list"),
        (PasswordPolicy(Form.TOKEN, prefix="acme"), token("other", "a" * 30), "does not begin with its prefix"),
        (PasswordPolicy(Form.TOKEN, prefix="acme"), token("acme_live", "a" * 30), "36 letters and digits"),
        (PasswordPolicy(Form.TOKEN, prefix="acme"), token("acme", "a" * 29), "36 letters and digits"),
        (PasswordPolicy(Form.TOKEN, prefix="acme"), token("acme", "a" * 30)[:-1] + "0", "checksum does not fit"),
    ],
)
def test_a_flaw_is_told_without_the_value(policy: PasswordPolicy, text: str, said: str) -> None:
    told = password_flaw(policy, Sensitive(text))
    assert told
    assert said in told
    assert text not in told
