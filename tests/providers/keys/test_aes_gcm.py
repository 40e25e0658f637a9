"""What is sealed: it opens whole and unchanged, for its own context, or not at all."""

import base64
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from keyturn.core.errors import Denied, KeyturnError, Unavailable
from keyturn.core.ports.envelope import DataKey, Refusal, SealRefused
from keyturn.core.sensitive import Sensitive
from keyturn.providers.keys.aes_gcm import KEY_LIFETIME, AesEnvelope, fresh_key

ROOT = Path(__file__).parents[3]
CONTEXT = {"place": "here"}
TEXT = Sensitive("correct horse battery staple")


class MemoryKeys:
    """Wraps nothing; counts, and may be away."""

    def __init__(self, kind: str = "memory") -> None:
        self.kind = kind
        self.made: dict[str, Sensitive] = {}
        self.unwrapped = 0
        self.error: KeyturnError | None = None

    def make(self, context: Mapping[str, str]) -> DataKey:
        self._insist()
        wrapped = f"key-{len(self.made)}"
        self.made[wrapped] = fresh_key()
        return DataKey(self.made[wrapped], wrapped)

    def unwrap(self, wrapped: str, context: Mapping[str, str]) -> Sensitive:
        self._insist()
        self.unwrapped += 1
        if wrapped not in self.made:
            raise SealRefused(Refusal.KEYLESS, wrapped, "there is none")
        return self.made[wrapped]

    def _insist(self) -> None:
        if self.error:
            raise self.error


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def keys() -> MemoryKeys:
    return MemoryKeys()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def envelope(keys: MemoryKeys, clock: Clock) -> AesEnvelope:
    return AesEnvelope(keys, clock)


def refusal_of(envelope: AesEnvelope, sealed: bytes, context: Mapping[str, str] = CONTEXT) -> Refusal:
    with pytest.raises(SealRefused) as caught:
        envelope.open(sealed, context)
    return caught.value.refusal


def test_it_opens_and_shows_nothing(envelope: AesEnvelope) -> None:
    sealed = envelope.seal(TEXT, CONTEXT)
    assert envelope.open(sealed, CONTEXT) == TEXT
    assert not any(word.encode() in sealed for word in TEXT.reveal().split())
    assert sealed != envelope.seal(TEXT, CONTEXT)


def test_any_changed_byte_is_told(envelope: AesEnvelope) -> None:
    sealed = envelope.seal(TEXT, CONTEXT)
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1 << place % 8
        assert refusal_of(envelope, bytes(changed)) in Refusal


def test_any_cut_is_told(envelope: AesEnvelope) -> None:
    sealed = envelope.seal(TEXT, CONTEXT)
    for length in range(len(sealed)):
        assert refusal_of(envelope, sealed[:length]) in {Refusal.MALFORMED, Refusal.TAMPERED}
    assert refusal_of(envelope, sealed + b"x") is Refusal.TAMPERED


def test_another_context_is_foreign_and_one_that_was_written_over_is_tampering(envelope: AesEnvelope) -> None:
    sealed = envelope.seal(TEXT, CONTEXT)
    elsewhere = {"place": "else"}
    assert refusal_of(envelope, sealed, elsewhere) is Refusal.FOREIGN
    assert refusal_of(envelope, sealed.replace(b'"here"', b'"else"'), elsewhere) is Refusal.TAMPERED


def test_another_kind_of_key_is_named(envelope: AesEnvelope) -> None:
    sealed = envelope.seal(TEXT, CONTEXT)
    assert refusal_of(AesEnvelope(MemoryKeys("another")), sealed) is Refusal.KEYLESS


def test_a_data_key_is_used_for_an_hour(envelope: AesEnvelope, keys: MemoryKeys, clock: Clock) -> None:
    before = [envelope.seal(TEXT, CONTEXT) for _ in range(3)]
    assert len(keys.made) == 1
    clock.now += KEY_LIFETIME
    envelope.seal(TEXT, CONTEXT)
    assert len(keys.made) == 2
    assert {envelope.open(sealed, CONTEXT) for sealed in before} == {TEXT}
    assert keys.unwrapped == 1


def test_another_context_has_another_data_key(envelope: AesEnvelope, keys: MemoryKeys) -> None:
    envelope.seal(TEXT, CONTEXT)
    envelope.seal(TEXT, {"place": "else"})
    assert len(keys.made) == 2


def test_while_no_key_can_be_made_the_last_one_is_used_and_not_where_that_is_denied(
    envelope: AesEnvelope, keys: MemoryKeys, clock: Clock
) -> None:
    envelope.seal(TEXT, CONTEXT)
    clock.now += KEY_LIFETIME
    keys.error = Unavailable("make", "a key", "no answer")
    envelope.seal(TEXT, CONTEXT)
    keys.error = Denied("make", "a key", "denied")
    with pytest.raises(Denied):
        envelope.seal(TEXT, CONTEXT)


def test_a_header_of_another_shape_is_malformed(envelope: AesEnvelope) -> None:
    for header in (b"", b"[]", b'{"keys": 1, "wrapped": "x", "context": {}}', b"[" * 9000, b"x" * 20_000):
        assert refusal_of(envelope, b"keyturn-sealed-1 " + header + b"\n" + bytes(60)) is Refusal.MALFORMED


def test_a_key_of_another_length_is_refused(envelope: AesEnvelope, keys: MemoryKeys) -> None:
    sealed = envelope.seal(TEXT, CONTEXT)
    other = AesEnvelope(keys)
    keys.made["key-0"] = Sensitive(base64.b64encode(b"short").decode())
    assert refusal_of(other, sealed) is Refusal.TAMPERED


def test_without_the_package_the_extra_is_named_and_the_client_needs_none() -> None:
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "import keyturn.client.client, keyturn.client.offline.cache_file, keyturn.core.ports.envelope\n"
        "from keyturn.core.errors import Invalid\n"
        "try: import keyturn.providers.keys.aes_gcm\n"
        "except Invalid as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "the package cryptography is missing. Install keyturn[certificates]" in run.stdout
