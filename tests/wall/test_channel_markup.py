"""Notifications: paths and names are shown as text, never as markup."""

from typing import Any

import pytest
from apprise.plugins.slack import NotifySlack
from apprise.plugins.telegram import NotifyTelegram
from pytest_httpserver import HTTPServer

from keyturn.core.notifications.channel import Announcement
from keyturn.core.sensitive import Sensitive
from keyturn.providers.apprise_channel import AppriseChannel
from tests.support.announcements import load_apprise

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general"
TELEGRAM = "tgram://123456789:abcdefg_hijklmnop/12315544/"
HOSTILE = Announcement("msg_1", "Keyturn: a <b>subject</b>", "read *x* by <b>ana</b> from <http://evil.example|here>")


@pytest.fixture
def service(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    """Both services, on this machine."""
    load_apprise()
    monkeypatch.setattr(NotifySlack, "webhook_url", httpserver.url_for("/slack"))
    monkeypatch.setattr(NotifyTelegram, "notify_url", httpserver.url_for("/bot"))
    httpserver.expect_request("/slack/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ").respond_with_data("ok")
    httpserver.expect_request("/bot123456789:abcdefg_hijklmnop/sendMessage").respond_with_json({"ok": True})
    return httpserver


def sent(service: HTTPServer, address: str) -> dict[str, Any]:
    """What the service was given."""
    AppriseChannel(lambda: Sensitive(address)).send(HOSTILE)
    request, _ = service.log[-1]
    return dict(request.get_json())


def test_a_channel_with_its_own_markup_gets_escaped_text(service: HTTPServer) -> None:
    assert sent(service, SLACK)["mrkdwn"] is False


def test_an_html_channel_gets_escaped_text(service: HTTPServer) -> None:
    text = sent(service, TELEGRAM)["text"]
    assert "<b>ana</b>" not in text
    assert "&lt;b&gt;ana" in text
