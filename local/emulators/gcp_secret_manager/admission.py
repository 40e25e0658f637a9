"""Who is let in, and how often: the bearer token and the quota, asked before anything else."""

import hmac
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import grpc
from google.rpc import error_details_pb2  # type: ignore[import-untyped]

from local.emulators.gcp_secret_manager.errors import Refused
from local.emulators.gcp_secret_manager.grants import Grant, bound
from local.emulators.gcp_secret_manager.messages import Duration
from local.emulators.rights import Documents, Rights

_WINDOW: Final = 60.0


class Login:
    """One caller: the token in ``file``, and what the documents in its rights file give; None for everything."""

    def __init__(self, file: Path) -> None:
        self.token = file.read_text()
        self.grants: Collection[Grant] | None = None
        self._rights = Rights(file.with_suffix(".json"), self._take)

    def refresh(self) -> None:
        """Look whether its rights have changed."""
        self._rights.refresh()

    def _take(self, documents: Documents | None) -> None:
        self.grants = None if documents is None else bound(documents)


class Admission:
    """Admits a call, or refuses it. Without a token and without a quota everything is admitted.

    ``grants`` are what whoever calls may do, other than ``logins``, which have their own; None for everything.
    """

    def __init__(self, token: str | None, requests_per_minute: int | None, logins: Iterable[Login] = ()) -> None:
        self._token = token
        self._logins = tuple(logins)
        self._quota = requests_per_minute
        self._admitted: deque[float] = deque()
        self._lock = threading.Lock()
        self.grants: Collection[Grant] | None = None

    def admit(self, metadata: Iterable[tuple[str, str | bytes]]) -> Collection[Grant] | None:
        """What the caller may do.

        Refuses with UNAUTHENTICATED (no token), PERMISSION_DENIED (another one) or RESOURCE_EXHAUSTED.
        """
        granted = self.grants
        if self._token is not None:
            granted = self._authenticate(self._token, str(dict(metadata).get("authorization", "")))
        if self._quota is not None:
            self._count(self._quota, time.monotonic())
        return granted

    def _authenticate(self, expected: str, authorization: str) -> Collection[Grant] | None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused(
                grpc.StatusCode.UNAUTHENTICATED,
                "Request is missing required authentication credential. Expected an OAuth 2 access token.",
            )
        if hmac.compare_digest(token.encode(), expected.encode()):
            return self.grants
        for login in self._logins:
            if hmac.compare_digest(token.encode(), login.token.encode()):
                login.refresh()
                return login.grants
        raise Refused(grpc.StatusCode.PERMISSION_DENIED, "Permission denied on the resource (or it may not exist).")

    def _count(self, quota: int, now: float) -> None:
        with self._lock:
            while self._admitted and self._admitted[0] <= now - _WINDOW:
                self._admitted.popleft()
            if len(self._admitted) < quota:
                self._admitted.append(now)
                return
            wait = self._admitted[0] + _WINDOW - now if self._admitted else _WINDOW
        delay = Duration()
        delay.FromMicroseconds(round(wait * 1_000_000))
        raise Refused(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"Quota exceeded for quota metric 'Requests' and limit '{quota} requests per minute'.",
            error_details_pb2.RetryInfo(retry_delay=delay),
        )
