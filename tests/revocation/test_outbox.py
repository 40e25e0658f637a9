"""Every incident is reported to the on-call channel once, however it was opened."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.core.errors import Unavailable
from keyturn.core.notifications.channel import Announcement
from keyturn.core.sensitive import Sensitive
from keyturn.providers.apprise_channel import URL_FILE, AppriseChannel, configured_channel
from keyturn.revocation import run
from keyturn.revocation.incidents import outbox, resume
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.announcements import CLAIMED, unsent
from keyturn.revocation.incidents.incident import Message, News
from keyturn.rotation.state.context import Workspace
from local.pager import Pager
from local.support.ports import free_port
from tests.revocation.site import Site
from tests.support.announcements import load_apprise
from tests.support.lab import Lab


@pytest.fixture(scope="module")
def pager() -> Iterator[Pager]:
    """A service that Apprise speaks to."""
    load_apprise()
    listening = Pager(free_port())
    yield listening
    listening.close()


@pytest.fixture
def site(lab: Lab) -> Site:
    return Site.of(lab, lab.generated())


def calling(workspace: Workspace, pager: Pager) -> Workspace:
    """The same, with the pager as its channel."""
    return replace(workspace, channel=AppriseChannel(lambda: Sensitive(pager.address)))


def heard(pager: Pager, site: Site) -> list[str]:
    """The messages about its incident."""
    return [message for message in pager.messages if site.incident in message.splitlines()[0]]


def first_lines(pager: Pager, site: Site) -> list[str]:
    return [message.splitlines()[0].rpartition(f"{site.incident} is ")[2] for message in heard(pager, site)]


class Broken:
    """A channel whose service does not answer."""

    def send(self, announcement: Announcement) -> None:
        raise Unavailable("tell", "the failure channel", "the service did not take it")


class Slow:
    """A channel that two processes meet at: it takes its time, and keeps what it is given."""

    def __init__(self) -> None:
        self.entered, self.free = threading.Event(), threading.Event()
        self.sent: list[Announcement] = []

    def send(self, announcement: Announcement) -> None:
        self.entered.set()
        assert self.free.wait(10)
        self.sent.append(announcement)


def test_an_incident_is_told_when_it_is_opened_stays_open_and_is_closed(site: Site, pager: Pager) -> None:
    workspace = calling(site.workspace, pager)
    site.begin(workspace=workspace)
    assert outbox.tell_people(workspace, site.incident) == ""
    for hours, due in ((2, True), (2.5, False), (3.5, True)):
        later = replace(workspace, clock=site.at(timedelta(hours=hours)).clock)
        assert resume.claim_reminder(later, site.incident) == due
        assert outbox.tell_people(later, site.incident) == ""
    run.finish(workspace, site.incident)
    assert outbox.tell_people(workspace, site.incident) == ""
    assert first_lines(pager, site) == ["opened", "still open", "still open", "closed"]
    opened, reminder, _, closed = heard(pager, site)
    assert opened.splitlines()[1] == f"leaked in a log: {site.secret.path}"
    assert f"`keyturn revoke --resume {site.incident}`" in reminder
    assert "closed, and proven" in closed
    assert "Left:" not in closed
    value = site.secret.first["value"]
    assert not [message for message in heard(pager, site) if value in message]


def test_what_can_not_be_sent_stays_in_the_outbox_and_is_sent_once_when_the_channel_is_back(
    site: Site, pager: Pager
) -> None:
    broken = replace(site.workspace, channel=Broken())
    site.begin(workspace=broken)
    assert "the service did not take it" in outbox.tell_people(broken, site.incident)
    run.finish(broken, site.incident)
    assert "the service did not take it" in outbox.tell_people(broken, site.incident)
    waits = incident_store.load_incident(broken, site.incident)
    assert [message.news for message in unsent(waits)] == [News.OPENED, News.CLOSED]
    assert site.incident in [one.id for one in outbox.list_unfinished(broken)]
    mended = calling(site.workspace, pager)
    assert outbox.tell_people(mended, site.incident) == ""
    assert outbox.tell_people(mended, site.incident) == ""
    assert first_lines(pager, site) == ["opened", "closed"]
    assert site.incident not in [one.id for one in outbox.list_unfinished(mended)]


def test_without_a_channel_that_is_said_and_nothing_is_claimed(site: Site) -> None:
    site.begin()
    assert outbox.tell_people(site.workspace, site.incident) == outbox.NOBODY
    (message,) = unsent(incident_store.load_incident(site.workspace, site.incident))
    assert message.claimed_at is None


def test_of_two_workers_one_sends(site: Site) -> None:
    channel = Slow()
    one = replace(site.workspace, channel=channel)
    site.begin(workspace=one)
    sending = threading.Thread(target=outbox.tell_people, args=(one, site.incident))
    sending.start()
    assert channel.entered.wait(10)
    assert outbox.tell_people(replace(one, holder="another-host/1/1"), site.incident) == ""
    channel.free.set()
    sending.join(10)
    assert [announcement.subject for announcement in channel.sent] == [f"Keyturn: {site.incident} is opened"]


def test_a_message_whose_sender_died_is_sent_again_under_the_same_id(site: Site) -> None:
    channel = Slow()
    channel.free.set()
    workspace = replace(site.workspace, channel=channel)
    site.begin(workspace=workspace)
    message = outbox.claim_message(workspace, site.incident)
    assert message is not None
    channel.send(announcement_of(workspace, site, message))  # and then it dies
    assert outbox.tell_people(workspace, site.incident) == ""
    assert len(channel.sent) == 1, "it may still be at it"
    later = replace(workspace, clock=site.at(CLAIMED + timedelta(seconds=1)).clock)
    assert outbox.tell_people(later, site.incident) == ""
    first, again = channel.sent
    assert first.id == again.id


def announcement_of(workspace: Workspace, site: Site, message: Message) -> Announcement:
    from keyturn.revocation.incidents.announcements import announcement

    return announcement(incident_store.load_status(workspace, site.incident), message)


def test_a_reminder_that_waits_is_not_doubled_and_an_incident_opened_again_is_told(site: Site) -> None:
    site.begin()
    for hours in (2, 4, 6):
        assert resume.claim_reminder(site.at(timedelta(hours=hours)), site.incident)
    assert news(site) == [News.OPENED, News.STAYS_OPEN]
    run.finish(site.workspace, site.incident)
    incident_store.update_incident(site.workspace, site.incident, lambda known: replace(known, closed_at=None))
    assert news(site) == [News.OPENED, News.STAYS_OPEN, News.CLOSED, News.REOPENED]


def news(site: Site) -> list[News]:
    return [message.news for message in unsent(incident_store.load_incident(site.workspace, site.incident))]


def test_an_address_in_a_file_that_can_not_be_read_stops_no_revocation(site: Site, tmp_path: Path) -> None:
    workspace = replace(site.workspace, channel=configured_channel({URL_FILE: str(tmp_path / "missing")}))
    site.begin(workspace=workspace)
    assert f"{URL_FILE} names can't be read" in outbox.tell_people(workspace, site.incident)
    assert not run.finish(workspace, site.incident).open
