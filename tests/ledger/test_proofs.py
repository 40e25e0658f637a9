"""Proofs hold without the ledger, and only for what is so."""

import base64
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyturn.core.errors import Invalid, NotFound, Rewritten
from keyturn.ledger.checkpoints import Checkpoint, read_checkpoint
from keyturn.ledger.entries import Numbered, leaf
from keyturn.ledger.merkle import EMPTY_ROOT, leaf_hash
from keyturn.ledger.proofs import Growth, Proof, check_growth, check_proof, prove_entry, prove_growth
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.sqlite import SqliteLedger
from tests.ledger.conftest import Make
from tests.ledger.entries import entries, entry
from tests.ledger.keys import ORIGIN, Key

Notes = tuple[str, str]


@pytest.fixture
def notes(ledger: SqliteLedger, make: Make) -> Notes:
    """A ledger of 700 entries with checkpoints over 300 and 600 of them."""
    found = []
    for first in (1, 301):
        ledger.append(entries(300, first))
        made = make()
        assert made
        found.append(made.note)
    ledger.append(entries(100, 601))
    return found[0], found[1]


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize("sequence", [1, 256, 257, 300, 301, 512, 600])
def test_an_entry_is_proved_to_whoever_has_the_key(ledger: SqliteLedger, key: Key, sequence: int) -> None:
    proof = Proof.from_json(prove_entry(ledger, sequence).to_json())
    assert check_proof(proof, [key.public()], verify_ed25519) == Numbered(sequence, entry(sequence))
    with pytest.raises(Rewritten, match="no key that is trusted"):
        check_proof(proof, [Key().public()], verify_ed25519)


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize("sequence", [-1, 0, 601, 701])
def test_what_no_checkpoint_covers_is_not_proved(ledger: SqliteLedger, sequence: int) -> None:
    with pytest.raises(NotFound, match=f"prove entry {sequence}: no checkpoint is made over it"):
        prove_entry(ledger, sequence)


def test_without_a_checkpoint_nothing_is_proved(ledger: SqliteLedger) -> None:
    ledger.append(entries(3))
    with pytest.raises(NotFound, match="keyturn ledger checkpoint"):
        prove_entry(ledger, 1)


@pytest.mark.usefixtures("notes")
def test_a_proof_of_something_else_does_not_hold(ledger: SqliteLedger, key: Key) -> None:
    proof = prove_entry(ledger, 450)
    for other in (
        replace(proof, leaf=leaf(450, entry(451))),
        replace(proof, leaf=prove_entry(ledger, 451).leaf),
        replace(proof, sequence=451),
        replace(proof, sequence=0),
        replace(proof, hashes=proof.hashes[:-1]),
        replace(proof, hashes=prove_entry(ledger, 451).hashes),
    ):
        with pytest.raises(Rewritten, match="the entry is not among those of the checkpoint"):
            check_proof(other, [key.public()], verify_ed25519)


def test_an_entry_that_names_another_place_is_no_proof(key: Key) -> None:
    wrong = leaf(2, entry(1))
    proof = Proof(1, wrong, (), Checkpoint(ORIGIN, 1, leaf_hash(wrong)).sign(key).note)
    with pytest.raises(Rewritten, match="the entry says that it is number 2"):
        check_proof(proof, [key.public()], verify_ed25519)


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE entries SET entry = replace(entry, 'on-call', 'nobody')", "entry 450 is not what it was when"),
        ("DELETE FROM entries WHERE sequence = 450", "entry 450 is missing"),
        ("DELETE FROM tiles", "tiles are missing"),
        ("UPDATE tiles SET hashes = zeroblob(length(hashes)) WHERE number = 0", "entry 450 is not what it was when"),
    ],
)
def test_a_ledger_that_was_changed_proves_nothing(
    ledger: SqliteLedger, file: Path, statement: str, problem: str
) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)
    with pytest.raises(Rewritten, match=problem):
        prove_entry(ledger, 450)


def test_growth_is_proved_to_whoever_has_the_key(ledger: SqliteLedger, key: Key, notes: Notes) -> None:
    growth = Growth.from_json(prove_growth(ledger, *notes).to_json())
    before, after = check_growth(growth, [key.public()], verify_ed25519)
    assert (before.size, after.size) == (300, 600)
    with pytest.raises(Rewritten, match="no key that is trusted"):
        check_growth(growth, [Key().public()], verify_ed25519)
    with pytest.raises(Rewritten, match="does not continue"):
        check_growth(replace(growth, hashes=growth.hashes[:-1]), [key.public()], verify_ed25519)


def test_growth_out_of_something_else_is_not_proved(ledger: SqliteLedger, key: Key, notes: Notes) -> None:
    other = replace(read_checkpoint(notes[0]), root=bytes(32)).sign(key).note
    with pytest.raises(Rewritten, match="does not continue"):
        prove_growth(ledger, other, notes[1])
    with pytest.raises(Invalid, match="Give the older one first"):
        prove_growth(ledger, notes[1], notes[0])
    elsewhere = replace(read_checkpoint(notes[0]), origin="keyturn/other").sign(key).note
    growth = replace(prove_growth(ledger, *notes), older=elsewhere)
    with pytest.raises(Rewritten, match="the checkpoints are of two ledgers"):
        check_growth(growth, [key.public(), key.public("keyturn/other")], verify_ed25519)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: "no json",
        lambda told: "[]",
        lambda told: {**told, "sequence": "1"},
        lambda told: {**told, "sequence": True},
        lambda told: {**told, "hashes": "x"},
        lambda told: {**told, "hashes": [1]},
        lambda told: {**told, "hashes": ["%"]},
        lambda told: {key: value for key, value in told.items() if key != "entry"},
    ],
)
def test_what_is_no_proof_is_refused(change: Callable[[dict[str, Any]], Any]) -> None:
    whole = {"sequence": 1, "entry": "{}", "hashes": [base64.b64encode(bytes(32)).decode()], "checkpoint": ""}
    assert Proof.from_json(json.dumps(whole)).hashes == (bytes(32),)
    changed = change(whole)
    with pytest.raises(Invalid, match="read a proof"):
        Proof.from_json(changed if isinstance(changed, str) else json.dumps(changed))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_proof_with_hashes_of_other_lengths_does_not_hold(
    ledger: SqliteLedger, key: Key, notes: Notes, length: int
) -> None:
    odd, keys = bytes(length), [key.public()]
    proof, growth = prove_entry(ledger, 450), prove_growth(ledger, *notes)
    for hashes in ((odd, *proof.hashes[1:]), (*proof.hashes, odd), (odd,)):
        with pytest.raises(Rewritten, match="the entry is not among those"):
            check_proof(Proof.from_json(replace(proof, hashes=hashes).to_json()), keys, verify_ed25519)
        with pytest.raises(Rewritten, match="does not continue"):
            check_growth(Growth.from_json(replace(growth, hashes=hashes).to_json()), keys, verify_ed25519)


def test_a_checkpoint_over_nothing_has_the_root_of_an_empty_ledger(key: Key, notes: Notes) -> None:
    def signed(size: int, root: bytes) -> str:
        return Checkpoint(ORIGIN, size, root).sign(key).note

    keys = [key.public()]
    check_growth(Growth(signed(0, EMPTY_ROOT), notes[1], ()), keys, verify_ed25519)
    wrong = signed(0, bytes(32))
    for older, newer in ((wrong, wrong), (signed(0, EMPTY_ROOT), wrong), (wrong, notes[1])):
        with pytest.raises(Rewritten, match="does not continue"):
            check_growth(Growth(older, newer, ()), keys, verify_ed25519)


@pytest.mark.parametrize("field", ["entry", "checkpoint", "older", "newer"])
@pytest.mark.parametrize("text", ["", "\ud800", "\0", "\n\n\n", "x" * 70_000, "{}", "[" * 5_000])
def test_any_text_in_a_proof_is_refused_in_our_words(
    ledger: SqliteLedger, key: Key, notes: Notes, field: str, text: str
) -> None:
    of_entry = field in ("entry", "checkpoint")

    def checked(proof: str) -> object:
        if of_entry:
            return check_proof(Proof.from_json(proof), [key.public()], verify_ed25519)
        return check_growth(Growth.from_json(proof), [key.public()], verify_ed25519)

    whole = json.loads((prove_entry(ledger, 450) if of_entry else prove_growth(ledger, *notes)).to_json())
    assert checked(json.dumps(whole))
    with pytest.raises((Rewritten, Invalid)):
        checked(json.dumps({**whole, field: text}))
