"""The ledger's key is replaced only by an entry that the old key signed."""

import base64
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.core.ports.ledger import Entry
from keyturn.ledger.checkpointer import sign_checkpoint
from keyturn.ledger.signed_notes import sign_note
from keyturn.ledger.succession import TITLE, succession_entry
from keyturn.ledger.verify import Verification, verify_ledger
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.sqlite import SqliteLedger
from tests.ledger.entries import BEGAN, entries
from tests.ledger.keys import ORIGIN, Key, Memory
from tests.support.clock import Clock


class Site:
    """A ledger that ``old`` has signed; what follows is up to the test."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self.ledger, self.kept = ledger, Memory()
        self.old, self.new, self.thief = Key(), Key(), Key()
        ledger.append(entries(3))
        self.sign(self.old)

    def sign(self, key: Key) -> None:
        """A checkpoint."""
        assert sign_checkpoint(self.ledger, key, self.kept, Clock(), verify_ed25519)

    def hand_over(self, key: Key, successor: Key) -> Entry:
        """The entry that the notary writes."""
        return succession_entry(key, successor.public(), BEGAN, "approle keyturn-notary")

    def verify(self, *keys: Key) -> Verification:
        """For whoever believes these."""
        return verify_ledger(self.ledger, [key.public() for key in keys], verify_ed25519)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with closing(SqliteLedger(tmp_path / "ledger.db", ORIGIN, patience=5)) as ledger:
        yield Site(ledger)


def test_a_verifier_with_the_old_key_continues_with_the_new_one_and_reports_it(site: Site) -> None:
    last = Key()
    site.ledger.append([site.hand_over(site.old, site.new), *entries(2, 5)])
    site.sign(site.new)
    site.ledger.append([site.hand_over(site.new, last)])
    site.sign(last)
    report = site.verify(site.old)
    assert (report.whole, report.vouched, report.checkpoints) == (True, 7, 3)
    told = [(handed.sequence, handed.key, handed.successor) for handed in report.successions]
    assert told == [
        (4, site.old.public(), site.new.public()),
        (7, site.new.public(), last.public()),
    ]
    assert site.verify(site.old, site.new, last).successions == ()
    assert not site.verify(site.new).whole


def forged(site: Site, how: str) -> Entry:
    """An entry by whoever may write entries, and has no key that is believed."""
    true = site.hand_over(site.old, site.new)
    text = f"{TITLE}\n{ORIGIN}\n{site.thief.public()}\n"

    def carrying(note: str) -> Entry:
        return replace(true, place=str(site.thief.public()), note=base64.b64encode(note.encode()).decode())

    signature = base64.b64encode(site.old.public().key_id + site.thief.sign(text.encode())).decode()
    elsewhere = f"{TITLE}\nkeyturn/elsewhere\n{site.thief.public()}\n"
    of_another = succession_entry(site.old, site.thief.public("keyturn/elsewhere"), BEGAN, "notary")
    return {
        "signed by itself": site.hand_over(site.thief, site.thief),
        "signed in the old key's name": carrying(f"{text}\n— {ORIGIN} {signature}\n"),
        "a true signature on another text": carrying(
            text + "\n" + base64.b64decode(true.note).decode().partition("\n\n")[2]
        ),
        "a checkpoint": carrying(site.kept.note),
        "of another ledger": of_another,
        "with another ledger's name in it": carrying(sign_note(elsewhere, ORIGIN, site.thief)),
        "no note": replace(true, note="none"),
        "not base64 of text": replace(true, note=base64.b64encode(b"\xff\xfe").decode()),
    }[how]


FORGERIES = (
    "signed by itself",
    "signed in the old key's name",
    "a true signature on another text",
    "a checkpoint",
    "of another ledger",
    "with another ledger's name in it",
    "no note",
    "not base64 of text",
)


@pytest.mark.parametrize("how", FORGERIES)
def test_an_entry_that_the_old_key_did_not_sign_replaces_no_key(site: Site, how: str) -> None:
    site.ledger.append([forged(site, how)])
    site.sign(site.thief)
    report = site.verify(site.old)
    assert (report.whole, report.vouched, report.successions) == (False, 3, ())
    assert report.problem
    assert "was not made by this ledger's key" in report.problem.what


def test_the_old_key_signs_nothing_more_once_it_has_handed_over(site: Site) -> None:
    site.ledger.append([site.hand_over(site.old, site.new)])
    site.sign(site.new)
    site.ledger.append(entries(2, 5))
    site.sign(site.old)
    report = site.verify(site.old)
    assert (report.whole, report.vouched) == (False, 4)


@pytest.mark.parametrize("kept", ["all", "none of the new one's"])
def test_the_old_key_stays_retired_if_both_are_trusted_or_checkpoints_are_gone(site: Site, kept: str) -> None:
    site.ledger.append([site.hand_over(site.old, site.new)])
    if kept == "all":
        site.sign(site.new)
    site.ledger.append(entries(2, 5))
    site.sign(site.old)
    for keys in ((site.old, site.new), (site.old,)):
        report = site.verify(*keys)
        assert not report.whole
        assert report.vouched < 6


def test_a_replaced_key_can_not_name_another_successor(site: Site) -> None:
    site.ledger.append([site.hand_over(site.old, site.new)])
    site.sign(site.new)
    site.ledger.append([site.hand_over(site.old, site.thief)])
    site.sign(site.thief)
    for keys in ((site.old, site.new), (site.old,)):
        report = site.verify(*keys)
        assert not report.whole
        assert report.vouched == 4


def test_the_new_key_is_not_valid_for_earlier_checkpoints(site: Site) -> None:
    site.ledger.append(entries(2, 4))
    site.sign(site.new)
    site.ledger.append([site.hand_over(site.old, site.new)])
    site.sign(site.new)
    report = site.verify(site.old)
    assert not report.whole
    assert report.problem
    assert "checkpoint 2 was not made by this ledger's key" in report.problem.what


def test_a_succession_that_is_written_again_changes_nothing(site: Site) -> None:
    handing = site.hand_over(site.old, site.new)
    site.ledger.append([handing])
    site.sign(site.new)
    site.ledger.append([handing, *entries(1, 6)])
    site.sign(site.new)
    report = site.verify(site.old)
    assert (report.whole, report.vouched, len(report.successions)) == (True, 6, 1)
