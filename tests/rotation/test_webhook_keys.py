"""Replacing a webhook key without a refused notice."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.client.webhooks.keys import HubKeys
from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.errors import Denied, Unavailable
from keyturn.core.notifications.notices import NOTICE_PATH, Notice
from keyturn.core.own_keys import KeyState, KeyTurn
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import Sensitive
from keyturn.core.webhook_keys import WebhookKeys, generate_webhook_key
from keyturn.keys.webhook_keys import LEAST_GRACE, TRIED_WITHIN, turn_webhook_key, webhook_key
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.registry import CatalogueSender
from tests.support.clock import Clock
from tests.support.consumer import Consumer
from tests.support.hooks import Hooked, Once
from tests.support.lab import Declared, Lab, fresh

APP = "app"
OLD, YOUNG = timedelta(days=91), timedelta(days=89)
GRACE = timedelta(days=7)


class Site:
    """One consumer that accepts what ``accepted`` holds, a secret of its own, and a Keyturn with a clock to move."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.signing = lab, f"webhooks/{APP}/{fresh()}"
        key = generate_webhook_key()
        self.accepted: list[Sensitive] = [key]
        lab.keep(self.signing, {"key": key.reveal(), "note": "of a person"})
        self.accept: Callable[[], Sequence[Sensitive]] = lambda: self.accepted
        self.consumer = Consumer(lambda: self.accept())
        self.secret: Declared = lab.generated(consumers=[APP])
        self.clock = Clock()

    @property
    def workspace(self) -> Workspace:
        """Opened anew, as each run does."""
        consumers = {APP: {"url": self.consumer.url, "signing_key": self.signing, "timeout": "2s"}}
        opened = self.lab.open(self.secret, consumers=consumers, clock=self.clock).workspace
        return replace(opened, sender=CatalogueSender(opened.catalogue, self.lab.hub))

    @property
    def keys(self) -> WebhookKeys:
        """As the hub has them."""
        state = self.lab.hub.read_state(self.signing)
        assert state is not None
        assert state.data["note"] == "of a person"
        return WebhookKeys.from_data(self.signing, state.data)

    def turn(self, **how: Any) -> KeyTurn:
        """One run."""
        return turn_webhook_key(self.workspace, APP, **how)

    def notify(self) -> bool:
        """Whether the consumer acknowledges the next rotation."""
        return not any(told.error for told in rotate(self.workspace, self.secret.path, Trigger.FORCE).consumers)


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    made = Site(lab)
    with made.consumer:
        yield made


@pytest.mark.attack
def test_no_notice_is_refused_while_it_is_replaced_and_the_old_key_goes_when_the_new_one_is_accepted(
    site: Site,
) -> None:
    first = site.keys.key
    assert site.notify()
    site.clock.advance(YOUNG)
    assert (site.turn(), site.keys.next) == (KeyTurn(site.signing, "in use"), None)
    site.clock.advance(OLD - YOUNG)
    assert site.turn().changed
    site.clock.now = webhook_key(site.workspace, APP).since or site.clock.now
    assert site.keys.key == first
    second = site.keys.next
    assert second
    assert site.notify()
    site.accepted = [second]
    assert site.notify()

    assert not site.turn().changed
    site.clock.advance(GRACE + timedelta(minutes=1))
    site.accepted = [first]
    refused = site.turn()
    assert (refused.changed, refused.blocked, site.keys.next) == (False, True, second)
    assert f"let it read the field `next` of {site.signing}" in refused.did
    assert site.notify()
    site.accepted = [first, second]
    handled = len(site.consumer.handled)
    assert site.turn().changed
    assert len(site.consumer.handled) == handled
    assert site.keys == WebhookKeys(second)
    site.accepted = [second]
    assert site.notify()
    site.accepted = [first]
    assert not site.notify()


def test_a_consumer_that_reads_its_keys_from_the_hub_follows_by_itself(site: Site) -> None:
    site.accept = HubKeys(site.lab.hub, site.signing, clock=lambda: float(next(ticks)))
    ticks = iter(range(0, 10_000, 20))
    assert site.notify()
    old = site.keys.key
    assert site.turn(forced=True).changed
    assert not site.turn(forced=True).changed
    site.clock.advance(LEAST_GRACE + timedelta(minutes=1))
    assert site.turn(forced=True).changed
    assert site.keys.next is None
    assert site.keys.key != old
    assert site.notify()


def test_what_a_person_wrote_meanwhile_is_not_written_over(site: Site) -> None:
    site.notify()
    site.turn(forced=True)
    site.clock.advance(GRACE * 2)
    theirs = generate_webhook_key()
    write = Once(lambda: site.lab.keep(site.signing, {"key": theirs.reveal(), "note": "of a person"}))
    accepting: Any = replace(
        site.workspace,
        hub=Hooked(site.lab.hub, write_state=lambda path, *_, **__: write() if path == site.signing else None),
    )
    site.accepted = list(site.keys.all)
    outcome = turn_webhook_key(accepting, APP)
    assert (outcome.changed, "it was written by someone else" in outcome.did) == (False, True)
    assert site.keys == WebhookKeys(theirs)
    assert site.turn() == KeyTurn(site.signing, "in use")


def test_of_a_consumer_that_has_acknowledged_nothing_no_key_is_taken_away(site: Site) -> None:
    site.turn(forced=True)
    site.clock.advance(GRACE * 2)
    outcome = site.turn()
    assert (outcome.blocked, "has acknowledged nothing yet" in outcome.did) == (True, True)
    assert site.keys.next
    site.secret = site.secret.having(consumers=[])
    assert site.turn().changed


def test_a_consumer_that_is_down_is_no_consumer_that_accepts(site: Site) -> None:
    site.notify()
    site.turn(forced=True)
    site.clock.advance(GRACE * 2)
    site.accept = lambda: (_ for _ in ()).throw(Unavailable("read", "keys", "the hub is away"))
    outcome = site.turn()
    assert (outcome.blocked, f"{APP} could not be asked" in outcome.did) == (True, True)
    assert site.keys.next


def test_a_receiver_that_compares_the_whole_header_is_told_too(site: Site, httpserver: HTTPServer) -> None:
    site.turn(forced=True)
    taken: list[Notice] = []

    def take(request: Request) -> Response:
        if " " in request.headers["webhook-signature"]:
            return Response(status=HTTPStatus.UNAUTHORIZED)
        return Response(status=Receiver([site.keys.key]).handle(dict(request.headers), request.data, taken.append))

    httpserver.expect_request(NOTICE_PATH, method="POST").respond_with_handler(take)
    consumers = {APP: {"url": httpserver.url_for(""), "signing_key": site.signing}}
    catalogue = site.lab.open(site.secret, consumers=consumers).workspace.catalogue
    CatalogueSender(catalogue, site.lab.hub).deliver(APP, site.secret.path, 1, site.clock())
    assert [notice.version for notice in taken] == [1]


def test_what_stands_in_its_way_is_shown(site: Site) -> None:
    assert site.notify()
    assert webhook_key(site.workspace, APP).state is KeyState.IN_USE
    site.turn(forced=True)
    site.clock.advance(GRACE + timedelta(minutes=1))
    key = webhook_key(site.workspace, APP)
    assert (key.state, key.due(site.clock()), key.blocked) == (KeyState.TURNING, True, "")
    site.clock.advance(TRIED_WITHIN)
    assert "has not acknowledged a notice by the new key yet" in webhook_key(site.workspace, APP).blocked
    denied: Any = replace(site.workspace, hub=Hooked(site.lab.hub, read_state=lambda *_: (_ for _ in ()).throw(DENIED)))
    key = webhook_key(denied, APP)
    assert (key.state, key.since, str(DENIED) in key.blocked) == (KeyState.UNKNOWN, None, True)


DENIED = Denied("read", "webhooks/app", "the hub refuses it", "Give the login its policy")
