"""An ACME server's renewal suggestions (RFC 9773), found by its directory."""

from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from keyturn.core.clear_text import leaves_in_clear
from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.schedule.renewal_info import RenewalWindow
from keyturn.providers.answers import reads_answers
from keyturn.providers.connection_errors import RemoteServer, from_connection
from keyturn.providers.http.api_target import api_session
from keyturn.providers.keys.x509 import renewal_identifier
from keyturn.providers.outbound import within

DOING: Final = "ask for renewals"
TIMEOUT: Final = 20.0  # seconds for each answer
REMEDY: Final = "See KEYTURN_RENEWAL_INFO; until it answers, the certificate's own end decides"
ACME: Final = RemoteServer(REMEDY, "KEYTURN_RENEWAL_INFO", "Set KEYTURN_RENEWAL_INFO_CA_FILE to its CA file")


@reads_answers()
class AcmeRenewalInfo:
    """A ``RenewalAdviser`` at a directory (RFC 8555, 7.1.1). Raises Invalid unless it is https, or on this machine."""

    def __init__(self, directory: str, ca_file: str | None = None) -> None:
        parts = urlsplit(directory)
        self.name = parts.netloc.rpartition("@")[2]
        if parts.scheme not in ("https", "http") or not parts.hostname or leaves_in_clear(directory):
            raise Invalid(DOING, self.name or "the ACME server", "its directory is no https URL", REMEDY)
        self._directory = directory
        self._ca_file = ca_file

    def window(self, pem: str) -> RenewalWindow:
        identifier = renewal_identifier(pem)
        place = self._get(self._directory).get("renewalInfo")
        if place is None:
            raise Invalid(DOING, self.name, "its directory has no renewalInfo", REMEDY)
        if urlsplit(place)[:2] != urlsplit(self._directory)[:2]:
            raise Invalid(DOING, self.name, "its renewalInfo is at another server", REMEDY)
        suggested = self._get(f"{place.rstrip('/')}/{identifier}")["suggestedWindow"]
        begins_at, ends_at = (datetime.fromisoformat(suggested[name]) for name in ("start", "end"))
        if begins_at.tzinfo is None or ends_at.tzinfo is None or ends_at <= begins_at:
            raise Invalid(DOING, self.name, "the window that it suggests is none", REMEDY)
        return RenewalWindow(identifier, begins_at, ends_at)

    def _get(self, url: str) -> Any:
        try:
            with within(TIMEOUT), api_session(url, self._ca_file) as http:
                answer = http.get(url, timeout=TIMEOUT, allow_redirects=False)
        except OSError as error:
            raise from_connection(error, DOING, self.name, ACME) from None
        if answer.status_code != requests.codes.ok:
            raise Unavailable(DOING, self.name, f"it answered {answer.status_code}", REMEDY)
        return answer.json()
