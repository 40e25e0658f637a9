"""What a checkpoint says, and whether it is believed."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.core.errors import Rewritten
from keyturn.ledger.checkpoints import Checkpoint, read_checkpoint, trusted
from keyturn.ledger.signed_notes import sign_note
from keyturn.providers.ledger.ed25519 import verify_ed25519
from tests.ledger.keys import ORIGIN, Key

SPECIFICATIONS = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""  # noqa: E501
"""The example of C2SP's tlog-checkpoint."""

ROOT = bytes(range(32))


def test_the_specifications_example_is_read() -> None:
    told = read_checkpoint(SPECIFICATIONS)
    assert (told.origin, told.size, told.time) == ("example.com/behind-the-sofa", 20_852_163, None)
    assert told.root.hex() == "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
    assert SPECIFICATIONS.startswith(told.text())


def test_a_checkpoint_is_four_lines_and_a_signature() -> None:
    at = datetime(2026, 3, 1, 4, 12, 0, 5, timezone(timedelta(hours=1)))
    made = Checkpoint(ORIGIN, 5, ROOT, at).sign(Key())
    assert made.note.split("\n")[:5] == [
        "keyturn/tests",
        "5",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "time 2026-03-01T03:12:00.000005Z",
        "",
    ]
    assert str(made) == "the checkpoint of 2026-03-01 03:12:00 UTC over 5 entries"


@given(st.integers(0, 10**17), st.binary(min_size=32, max_size=32), st.none() | st.datetimes(timezones=st.just(UTC)))
def test_a_checkpoint_reads_back_as_it_was(size: int, root: bytes, time: datetime | None) -> None:
    key = Key()
    made = Checkpoint(ORIGIN, size, root, time).sign(key)
    assert trusted(made.note, [key.public()], verify_ed25519) == read_checkpoint(made.note) == made


def test_a_key_of_another_name_makes_no_checkpoint_of_this_ledger() -> None:
    key = Key()
    note = sign_note(Checkpoint(ORIGIN, 5, ROOT).text(), "keyturn/other", key)
    with pytest.raises(Rewritten, match="no key that is trusted"):
        trusted(note, [key.public("keyturn/other")], verify_ed25519)


@pytest.mark.parametrize(
    "text",
    [
        "keyturn/tests\n",
        "keyturn/tests\n5\n",
        "keyturn/tests\n05\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "keyturn/tests\n-5\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "keyturn/tests\n٥\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        f"keyturn/tests\n{'9' * 5000}\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "keyturn/tests\n5\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n",
        "keyturn/tests\n5\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n",
        "keyturn/tests\n5\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==\n",
        "keyturn/tests\n5\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\ntime soon\n",
    ],
)
def test_what_is_no_checkpoint_is_refused_whoever_signed_it(text: str) -> None:
    key = Key()
    with pytest.raises(Rewritten, match="read a checkpoint"):
        trusted(sign_note(text, ORIGIN, key), [key.public()], verify_ed25519)


def test_other_extension_lines_are_somebody_elses() -> None:
    key = Key()
    text = Checkpoint(ORIGIN, 5, ROOT).text() + "anything else\n"
    assert trusted(sign_note(text, ORIGIN, key), [key.public()], verify_ed25519) == Checkpoint(ORIGIN, 5, ROOT)
