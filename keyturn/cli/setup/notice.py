"""``keyturn setup test-notice``: whether notices of incidents and alarms arrive."""

import os
import secrets
import socket

from keyturn.cli.output import note
from keyturn.core.errors import Invalid
from keyturn.core.notifications.channel import Announcement


def send_test_notice() -> None:
    """Send a test notice to the address in KEYTURN_FAILURE_URL, as an incident's notice is sent."""
    from keyturn.providers.apprise_channel import URL, URL_FILE, configured_channel

    channel = configured_channel(os.environ)
    if channel is None:
        hint = f"Set {URL} to an Apprise address, or {URL_FILE} to a file with it"
        raise Invalid("send", "a test notice", f"neither {URL} nor {URL_FILE} is set", hint)
    body = f"Sent from {socket.gethostname()} by `keyturn setup test-notice`. Incidents are reported here."
    channel.send(Announcement(f"test_{secrets.token_hex(6)}", "Keyturn: a test notice", body))
    note("the service has taken the test notice: see that it arrived")
