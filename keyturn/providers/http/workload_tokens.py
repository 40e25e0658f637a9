"""Short-lived tokens that a service gives for a workload's own token (RFC 8693, RFC 7523)."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Final

from keyturn.core.errors import Denied, Invalid
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.http.api_login import REFUSED, KeptToken, kept_until, life_of
from keyturn.providers.http.api_target import HttpApi, Wording
from keyturn.settings.api_logins import TokenSettings

DOING: Final = "exchange the workload's token at"
LARGEST_TOKEN: Final = 16 * 1024
"""Bytes of a workload's token, which services limit as well."""
_JWT: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}")
_SENDABLE: Final = re.compile(r"[!-~]+")


class WorkloadTokens:
    """The tokens of one service for one workload, of which the last is kept in memory.

    ``name`` is what errors call the service, ``identity`` the name of the workload's token in the exchange.
    """

    def __init__(
        self,
        name: str,
        token_file: Path,
        exchange: TokenSettings,
        ca_file: str | None = None,
        identity: str = "identity",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._name, self._file, self._exchange, self._identity = name, token_file, exchange, identity
        wording = Wording("identity", "the trust rule at the service", "the route's identity")
        self._api = HttpApi(
            name, url=exchange.url, admin=lambda: SecretFields({}), ca_file=ca_file, clock=clock, wording=wording
        )
        self._clock = clock
        self._lock = Lock()
        self._last: KeptToken | None = None

    @property
    def kept(self) -> str | None:
        """The token in use, unless it ends soon."""
        last = self._last
        return last.token.reveal() if last and self._clock() < last.until else None

    def token(self) -> str:
        """The token in use, or a new one. Raises KeyturnError."""
        with self._lock:
            if (token := self.kept) is None:
                self._last = last = self.exchanged()
                return last.token.reveal()
            return token

    def forget(self) -> None:
        """Make the next request get a new one."""
        self._last = None

    def exchanged(self) -> KeptToken:
        """Get a new token. Raises KeyturnError."""
        now, request = self._clock(), self._exchange.token_request()
        fields = SecretFields({self._identity: read_token(self._file).reveal()})
        answer = self._api.call(request, fields, DOING, as_admin=False, also=(REFUSED,))
        if REFUSED.matches(answer):
            hint = f"Compare the trust rule with the issuer, subject, audience and expiry of the token in {self._file}"
            raise Denied(DOING, self._name, f"it refused the token with status {answer.status}", hint)
        token = answer.text(self._exchange.token)
        if token is None or not _SENDABLE.fullmatch(token.reveal()):
            hint = "Correct `token` of the exchange, in the catalogue"
            raise Invalid(DOING, self._name, "its answer holds no token that a header can carry", hint)
        return kept_until(token, life_of(answer.text(self._exchange.expires), now), now)


def read_token(file: Path) -> Sensitive:
    """Read a workload's token. Raises Invalid."""
    try:
        with file.open("rb") as stream:
            text = stream.read(LARGEST_TOKEN + 1).decode("ascii", "replace").strip()
    except OSError as error:
        hint = "Mount or write the workload's token there, readable by this process"
        raise Invalid("read", str(file), f"it can't be read ({error.strerror})", hint) from None
    if len(text) > LARGEST_TOKEN or not _JWT.fullmatch(text):
        raise Invalid("read", str(file), "it holds no signed token (JWT)", "Write the token there, and nothing else")
    return Sensitive(text)
