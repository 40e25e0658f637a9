"""The keys that an application reads from the hub: two while one is replaced, and those before where it is away."""

from typing import Any

import pytest

from keyturn.client.webhooks.keys import READ_AGAIN, HubKeys
from keyturn.core.errors import Invalid, NotFound, Unavailable
from keyturn.core.ports.hub import State

AWAY = Unavailable("read", "the hub", "it does not answer")


class Hub:
    """Answers with ``entry``, and counts how often it was asked."""

    def __init__(self, entry: dict[str, Any] | None) -> None:
        self.entry: dict[str, Any] | Exception | None = entry
        self.asked = 0

    def read_state(self, path: str) -> State | None:
        assert path == "webhooks/trainer"
        self.asked += 1
        if isinstance(self.entry, Exception):
            raise self.entry
        return None if self.entry is None else State(self.entry, 1, 0.0)


def opened(hub: Any, now: list[float]) -> HubKeys:
    return HubKeys(hub, "webhooks/trainer", clock=lambda: now[0])


def test_both_are_accepted_while_one_is_replaced_and_nonsense_makes_no_more_reads() -> None:
    hub, now = Hub({"key": "first"}), [0.0]
    keys = opened(hub, now)
    assert [key.reveal() for key in keys()] == ["first"]
    hub.entry = {"key": "first", "next": "second", "note": "of a person"}
    assert len(keys()) == hub.asked == 1
    now[0] = READ_AGAIN
    assert [key.reveal() for key in keys()] == ["first", "second"]
    assert hub.asked == 2


@pytest.mark.parametrize("entry", [AWAY, None, {"key": 7}])
def test_a_hub_that_does_not_tell_leaves_those_before(entry: Any) -> None:
    hub, now = Hub({"key": "first"}), [0.0]
    keys = opened(hub, now)
    keys()
    hub.entry, now[0] = entry, READ_AGAIN
    assert [key.reveal() for key in keys()] == ["first"]
    assert hub.asked == 2


@pytest.mark.parametrize(("entry", "error"), [(AWAY, Unavailable), (None, NotFound), ({"next": "second"}, Invalid)])
def test_without_any_key_it_says_why(entry: Any, error: type[Exception]) -> None:
    hub = Hub(None)
    hub.entry = entry
    with pytest.raises(error):
        opened(hub, [0.0])()
