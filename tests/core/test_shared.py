"""Editing keys of an object in place, and the notes of their owners."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.core.ports.merged_keys import Note, edited, members_of, note_names, notes_in
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import Sensitive

KEYS = st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda one: st.lists(one), max_leaves=4
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5)


@pytest.mark.parametrize(
    ("before", "put", "take", "after"),
    [
        ('{"a": 1.0, "b": 1e3}', {"c": "x"}, (), '{"a": 1.0, "b": 1e3, "c": "x"}'),
        ('{"a": 1.0, "b": 1e3}', {"b": 2}, (), '{"a": 1.0, "b": 2}'),
        ('{\n  "a": 1,\n  "b": 2\n}\n', {"c": 3}, (), '{\n  "a": 1,\n  "b": 2,\n  "c": 3\n}\n'),
        ('{\n  "a": 1\n}', {"c": 3}, (), '{\n  "a": 1,\n  "c": 3\n}'),
        ('{"a":1,"b":2,"c":3}', {}, ("a",), '{"b":2,"c":3}'),
        ('{"a":1,"b":2,"c":3}', {}, ("b",), '{"a":1,"c":3}'),
        ('{"a":1,"b":2,"c":3}', {}, ("c", "a"), '{"b":2}'),
        ('{ "a" : 1 }', {}, ("a",), "{}"),
        ("{ }", {"a": "é"}, (), '{"a":"é"}'),
        ('{"t":1,"t":2}', {"a": 1}, ("z",), '{"t":1,"t":2,"a":1}'),
        ('{"a":12345678901234567890.10}', {"b": None}, (), '{"a":12345678901234567890.10,"b":null}'),
        ('{"\\u0061":1}', {"a": 2}, (), '{"\\u0061":2}'),
    ],
)
def test_what_is_not_ours_keeps_its_bytes(before: str, put: dict[str, Any], take: tuple[str, ...], after: str) -> None:
    assert edited(Sensitive(before), put, take) == Sensitive(after)


@pytest.mark.parametrize(
    "text", ["", "plain", "[1]", '"text"', '{"a":1', '{"a":1}x', "{'a':1}", '{"a":1,}', "{,}", "[" * 5000]
)
def test_what_is_no_object_is_refused_without_a_word_of_it(text: str) -> None:
    for act in (lambda: members_of(Sensitive(text)), lambda: edited(Sensitive(text), {"a": 1}, ())):
        with pytest.raises(ValueError, match=r"^it holds no JSON object$"):
            act()


def test_a_key_of_ours_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="the key t appears twice in it"):
        edited(Sensitive('{"t":1,"t":2}'), {"t": 3}, ())


@given(OBJECTS, OBJECTS, st.sets(KEYS, max_size=3), st.sampled_from([None, 1, "\t"]))
def test_an_edited_text_holds_what_an_edited_object_would(
    before: dict[str, Any], put: dict[str, Any], take: set[str], indent: Any
) -> None:
    text = Sensitive(json.dumps(before, indent=indent))
    wanted = {key: value for key, value in before.items() if key not in take} | put
    found = members_of(edited(text, put, take))
    assert json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)


@given(st.sets(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40), min_size=1, max_size=12), st.booleans())
def test_a_note_comes_back_from_tags_of_the_shortest_kind(keys: set[str], adopted: bool) -> None:
    marks = OwnershipTags("apps/" + "x" * 150, 12, "f" * 64, "0a1b2c3d", None, "team-a", adopted)
    note = Note(marks, tuple(sorted(keys)), frozenset(list(keys)[:1]))
    tags = note.to_tags()
    assert max(map(len, tags.values())) <= 256
    assert notes_in({"other": "tag", **tags}) == {marks.source: note}
    assert sorted(note_names(marks.source, {"other": "", **tags})) == sorted(tags)


def test_a_note_of_which_a_piece_is_missing_or_that_is_another_secrets_is_none() -> None:
    tags = Note(OwnershipTags("a", 1, "f" * 64), tuple(f"KEY_{number}" for number in range(60))).to_tags()
    assert len(tags) > 1
    first, *_, last = tags
    assert notes_in({name: text for name, text in tags.items() if name != last}) == {}
    moved = {name.replace(first, "keyturn-part-000000000000"): text for name, text in tags.items()}
    assert notes_in(moved) == {}
