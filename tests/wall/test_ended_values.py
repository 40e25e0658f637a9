"""Applications are never given a value that was revoked."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from keyturn.client.client import SecretClient
from keyturn.client.sources import StoreSource
from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.errors import KeyturnError, NotFound, Unavailable
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice, message_id
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import Sensitive
from tests.support.memory_store import MemoryStore
from tests.support.served import MemorySource

PATH, COPY = "ml-training/database", "copy"
KEY = Sensitive("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NOW = datetime.now(UTC)
ENDED = Notice(SECRET_REVOKED, PATH, 7, NOW, replaced=False)


def keep(store: MemoryStore, version: int, text: str, made_at: datetime) -> None:
    """Let the copy be this version, with the marks that Keyturn writes."""
    marks = OwnershipTags(PATH, version, "0" * 64, created_at=made_at)
    store.write(COPY, Sensitive(text), marks, store.describe(COPY))


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore("memory")
    keep(store, 7, '{"password": "leaked"}', NOW - timedelta(days=1))
    return store


@pytest.fixture
def client(store: MemoryStore) -> Iterator[SecretClient]:
    with SecretClient([StoreSource(store, {PATH: COPY})], poll=0, patience=0) as client:
        assert client.get(PATH)["password"].reveal() == "leaked"
        yield client


def signed(notice: Notice, key: Sensitive = KEY) -> tuple[dict[str, str], bytes]:
    """Headers and body of a notice, as Keyturn sends it."""
    sent_id = message_id(notice.secret_path, notice.version, notice.event, replaced=notice.replaced)
    body, at = notice.to_json(), datetime.now(UTC)
    signature = Webhook(key.reveal()).sign(sent_id, at, body)
    stamp = str(int(at.timestamp()))
    return {"webhook-id": sent_id, "webhook-timestamp": stamp, "webhook-signature": signature}, body.encode()


def answer(client: SecretClient, notice: Notice, key: Sensitive = KEY) -> int:
    """The status for a notice that is signed with this key."""
    return Receiver([KEY]).handle(*signed(notice, key), client.told)


def refused(client: SecretClient) -> type[KeyturnError]:
    with pytest.raises(KeyturnError) as error:
        client.get(PATH)
    assert "leaked" not in str(error.value)
    return error.type


def test_a_copy_that_is_not_cleared_yet_gives_nothing_and_delays_no_notice(
    client: SecretClient, store: MemoryStore
) -> None:
    assert answer(client, ENDED) == 200
    assert refused(client) is Unavailable
    store.purge(COPY)
    assert refused(client) is NotFound


def test_an_older_version_in_a_restored_store_is_refused(client: SecretClient, store: MemoryStore) -> None:
    assert answer(client, ENDED) == 200
    keep(store, 5, '{"password": "leaked"}', NOW - timedelta(days=9))
    assert refused(client) is Unavailable


def test_a_fallback_source_does_not_return_the_ended_value_in_an_outage(store: MemoryStore) -> None:
    hub = MemorySource("hub", **{PATH: 7})
    with SecretClient([hub, StoreSource(store, {PATH: COPY})], poll=0, patience=0) as client:
        client.get(PATH)
        hub.away = True
        assert answer(client, ENDED) == 200
        assert refused(client) is Unavailable


def test_its_later_replacement_is_returned(client: SecretClient, store: MemoryStore) -> None:
    assert answer(client, ENDED) == 200
    keep(store, 8, '{"password": "fresh"}', NOW + timedelta(seconds=5))
    assert client.get(PATH)["password"].reveal() == "fresh"


def test_only_the_source_can_report_that_a_version_has_ended(client: SecretClient) -> None:
    assert answer(client, ENDED, Sensitive("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")) == 401
    assert client.get(PATH).version == 7


def test_the_end_of_a_replacement_is_not_taken_for_a_repeated_notice() -> None:
    receiver, heard = Receiver([KEY]), list[Notice]()
    replacing = Notice(SECRET_REVOKED, PATH, 7, NOW)
    for notice in (replacing, ENDED, ENDED):
        assert receiver.handle(*signed(notice), heard.append) == 200
    assert heard == [replacing, ENDED]
