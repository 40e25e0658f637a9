"""Signed notes, as others write and read them, too."""

import base64

import pytest

from keyturn.core.errors import Invalid, Rewritten
from keyturn.ledger.signed_notes import PublicKey, open_note, sign_note, signed_by, unverified_text
from keyturn.providers.ledger.ed25519 import verify_ed25519
from tests.ledger.keys import ORIGIN, Key

PUBLISHED_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PUBLISHED = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""
"""The example of Go's golang.org/x/mod/sumdb/note."""

TEXT = "keyturn/tests\n5\n"


@pytest.fixture
def key() -> Key:
    return Key()


def test_a_published_note_holds() -> None:
    key = PublicKey.parse(PUBLISHED_KEY)
    assert str(key) == PUBLISHED_KEY
    assert open_note(PUBLISHED, [key], verify_ed25519) == PUBLISHED.partition("\n\n")[0] + "\n"


def test_a_changed_note_does_not_hold() -> None:
    with pytest.raises(Rewritten, match="the signature of PeterNeumann does not hold"):
        open_note(PUBLISHED.replace("is the", "is not the"), [PublicKey.parse(PUBLISHED_KEY)], verify_ed25519)


def test_a_note_is_opened_with_its_key_alone(key: Key) -> None:
    note = sign_note(TEXT, ORIGIN, key)
    assert open_note(note, [Key().public(), key.public()], verify_ed25519) == TEXT
    assert unverified_text(note) == TEXT
    assert signed_by(note, key.public())
    for others in ([], [Key().public()], [key.public("keyturn/other")]):
        with pytest.raises(Rewritten, match="no key that is trusted has signed it"):
            open_note(note, others, verify_ed25519)


def test_signatures_of_others_are_passed_over(key: Key) -> None:
    note = sign_note(TEXT, ORIGIN, key)
    witness = sign_note(TEXT, "witness.example/w1", Key()).rpartition("\n\n")[2]
    assert open_note(note + witness, [key.public()], verify_ed25519) == TEXT


def test_a_wrong_signature_beside_a_right_one_refuses_the_note(key: Key) -> None:
    other = Key()
    wrong = sign_note("another\n", "witness.example/w1", other).rpartition("\n\n")[2]
    with pytest.raises(Rewritten, match=r"the signature of witness.example/w1 does not hold"):
        open_note(
            sign_note(TEXT, ORIGIN, key) + wrong, [key.public(), other.public("witness.example/w1")], verify_ed25519
        )


def test_a_text_is_parted_from_its_signatures_at_the_last_empty_line() -> None:
    with_empty_line = "a\n\nb\n"
    key = Key()
    signature = base64.b64encode(key.public().key_id + key.sign(with_empty_line.encode())).decode()
    note = f"{with_empty_line}\n— {ORIGIN} {signature}\n"
    assert open_note(note, [key.public()], verify_ed25519) == with_empty_line


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text",
        "text\n",
        "text\n\n",
        "text\n\n— name AAAA",
        "text\n\n- name AAAAAAAA\n",
        "text\n\n— name AAAA\n",
        "text\n\n— name AAAA=AAA\n",
        "text\n\n— name\n",
        "text\n\n— na me AAAAAAAA\n",
        "text\n\n— na+me AAAAAAAA\n",
        "te\rxt\n\n— name AAAAAAAA\n",
        "te\ud800xt\n\n— name AAAAAAAA\n",
        "text\n\n" + "— name AAAAAAAA\n" * 100_000,
    ],
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(Rewritten, match=r"signed note|can't be read"):
        unverified_text(note)


@pytest.mark.parametrize("text", ["", "no end", "an\n\nempty line\n", "a \x07\n"])
def test_what_can_t_be_a_text_is_not_signed(text: str, key: Key) -> None:
    with pytest.raises(Invalid, match="the text is no note"):
        sign_note(text, ORIGIN, key)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\nb"])
def test_a_name_that_would_be_taken_apart_names_no_key(name: str, key: Key) -> None:
    with pytest.raises(Invalid, match="it can't name a key"):
        key.public(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+c74f20a3",
        PUBLISHED_KEY[:-4],
        PUBLISHED_KEY.replace("c74f20a3", "c74f20a4"),
        PUBLISHED_KEY.replace("Peter", "Paul"),
        PUBLISHED_KEY.replace("+AR", "+AB"),
        "a b+00000000+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="it is not whole, or not one of Ed25519"):
        PublicKey.parse(text)
    assert PublicKey.parse(f" {PUBLISHED_KEY}\n") == PublicKey.parse(PUBLISHED_KEY)


def test_ed25519_gives_no_for_what_is_no_key_and_no_signature(key: Key) -> None:
    assert verify_ed25519(key.public_key(), b"x", key.sign(b"x"))
    assert not verify_ed25519(key.public_key(), b"y", key.sign(b"x"))
    assert not verify_ed25519(key.public_key()[:31], b"x", key.sign(b"x"))
    assert not verify_ed25519(key.public_key(), b"x", key.sign(b"x")[:63])
