"""What every ``DataKeys`` does: a data key opens with its context alone, also later."""

import base64
import pickle
from collections.abc import Callable

import pytest

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.envelope import KEY_BYTES, DataKeys, SealRefused
from keyturn.core.sensitive import Sensitive
from keyturn.providers.keys.aes_gcm import AesEnvelope

CONTEXT = {"keyturn-purpose": "test", "keyturn-path": "/var/cache/größer"}


class DataKeysContract:
    """A subclass gives ``keys``, ``rotate``, which gives the wrapping key another generation, and ``other``."""

    refusals: tuple[type[KeyturnError], ...] = (SealRefused,)
    """How the server says that nothing there has wrapped a key."""

    @pytest.fixture
    def keys(self) -> DataKeys:
        raise NotImplementedError

    @pytest.fixture
    def rotate(self) -> Callable[[], object]:
        """Gives the key behind ``keys`` a new generation; what older ones have wrapped still opens."""
        raise NotImplementedError

    @pytest.fixture
    def other(self) -> DataKeys:
        """The same adapter with another key."""
        raise NotImplementedError

    def test_a_data_key_opens_and_is_another_each_time(self, keys: DataKeys) -> None:
        first, second = keys.make(CONTEXT), keys.make(CONTEXT)
        assert len(base64.b64decode(first.key.reveal())) == KEY_BYTES
        assert first.key != second.key
        assert keys.unwrap(first.wrapped, CONTEXT) == first.key
        assert keys.unwrap(second.wrapped, CONTEXT) == second.key

    def test_it_opens_with_its_own_context_alone(self, keys: DataKeys) -> None:
        wrapped = keys.make(CONTEXT).wrapped
        for context in ({}, {**CONTEXT, "keyturn-path": "/elsewhere"}, {**CONTEXT, "more": "x"}):
            with pytest.raises(SealRefused):
                keys.unwrap(wrapped, context)

    def test_what_an_older_generation_has_wrapped_opens(self, keys: DataKeys, rotate: Callable[[], object]) -> None:
        old = keys.make(CONTEXT)
        rotate()
        new = keys.make(CONTEXT)
        assert keys.unwrap(old.wrapped, CONTEXT) == old.key
        assert keys.unwrap(new.wrapped, CONTEXT) == new.key

    def test_what_another_key_has_wrapped_or_nobody_is_refused(self, keys: DataKeys, other: DataKeys) -> None:
        wrapped = keys.make(CONTEXT).wrapped
        foreign = other.make(CONTEXT).wrapped
        for changed in (foreign, wrapped[:-8], "", "vault:v1:AAAA", "AAAA"):
            with pytest.raises(self.refusals):
                keys.unwrap(changed, CONTEXT)

    def test_nothing_shows_the_key(self, keys: DataKeys) -> None:
        made = keys.make(CONTEXT)
        assert made.key.reveal() not in repr(made) + repr(vars(keys)) + made.wrapped
        with pytest.raises(TypeError):
            pickle.dumps(made)

    def test_an_envelope_stands_on_it(self, keys: DataKeys) -> None:
        text = Sensitive("päss")
        sealed = AesEnvelope(keys).seal(text, CONTEXT)
        assert AesEnvelope(keys).open(sealed, CONTEXT) == text
