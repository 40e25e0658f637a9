"""The store in memory does what every store must do."""

import pytest

from keyturn.core.store_limits import AWS_SECRETS_MANAGER
from tests.contracts.merging import MergingCases
from tests.contracts.store import Raw, StoreContract
from tests.support.memory_store import MemoryStore


class TestMemoryStore(MergingCases, StoreContract):
    kind = AWS_SECRETS_MANAGER
    creates = True

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore("memory")

    @pytest.fixture
    def foreign(self, store: MemoryStore) -> Raw:
        return store.put_by_hand

    @pytest.fixture
    def tampered(self, store: MemoryStore) -> Raw:
        return store.put_by_hand
