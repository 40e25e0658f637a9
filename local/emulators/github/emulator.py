"""The API as one function from request to answer."""

import hmac
import threading
import time
from dataclasses import dataclass
from typing import Final

from local.emulators.github import secret_calls, variable_calls
from local.emulators.github.messages import Answer, Refusal, Request
from local.emulators.github.state import Scope, State

NOT_FOUND: Final = "Not Found"
KNOWN: Final = {
    ("secrets", False): {"GET"},
    ("secrets", True): {"GET", "PUT", "DELETE"},
    ("variables", False): {"GET", "POST"},
    ("variables", True): {"GET", "PATCH", "DELETE"},
}
"""Which methods the lists take, and which their entries."""


@dataclass(frozen=True)
class Conduct:
    """How the emulator differs from an open one: its rate limits, and what the token may not do."""

    hourly_requests: int | None = None
    writes_per_minute: int | None = None
    denied: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Place:
    """What a path leads to; ``name`` is None for the whole list."""

    repository: str
    environment: str | None
    kind: str
    name: str | None

    @property
    def area(self) -> str:
        """The permission of a fine-grained token that covers it."""
        return "environments" if self.environment else self.kind


class Window:
    """Counts what happens in each stretch of so many seconds."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.ends = 0.0
        self.count = 0

    def add(self) -> int:
        """How many there were in this stretch, with this one."""
        if time.time() >= self.ends:
            self.ends, self.count = time.time() + self.seconds, 0
        self.count += 1
        return self.count


class Emulator:
    """Everything that ``state`` holds, for whoever has ``token``."""

    def __init__(self, state: State, token: str, conduct: Conduct) -> None:
        self._state = state
        self._token = token
        self._conduct = conduct
        self._lock = threading.Lock()
        self._requests, self._writes = Window(3600), Window(60)

    def close(self) -> None:
        """Nothing is held: what was answered is on disk."""

    def answer(self, request: Request) -> Answer:
        """The answer to any call; refusals are answers too."""
        try:
            self._admit(request)
            place = _place(request.parts)
            self._allow(request, place)
            with self._state.reading() if request.method == "GET" else self._state.changing():
                return _call(self._scope(place), request, place)
        except Refusal as refusal:
            return refusal.answer

    def _admit(self, request: Request) -> None:
        if not hmac.compare_digest(request.token.encode(), self._token.encode()):
            raise Refusal(401, "Bad credentials")
        with self._lock:
            self._pace(request)

    def _pace(self, request: Request) -> None:
        most = self._conduct.hourly_requests
        if most is not None and self._requests.add() > most:
            headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(self._requests.ends) + 1)}
            raise Refusal(403, "API rate limit exceeded for user.", headers)
        most = self._conduct.writes_per_minute
        if most is not None and request.method != "GET" and self._writes.add() > most:
            left = str(int(self._writes.ends - time.time()) + 1)
            raise Refusal(403, "You have exceeded a secondary rate limit.", {"retry-after": left})

    def _allow(self, request: Request, place: Place) -> None:
        access = "read" if request.method == "GET" else "write"
        if f"{place.area}:{access}" in self._conduct.denied:
            raise Refusal(403, "Resource not accessible by personal access token")

    def _scope(self, place: Place) -> Scope:
        scope = self._state.scope(place.repository, place.environment)
        if scope is None:
            raise Refusal(404, NOT_FOUND)
        return scope


def _place(parts: tuple[str, ...]) -> Place:
    match parts:
        case ("repos", owner, name, "actions", ("secrets" | "variables") as kind, *rest) if len(rest) < 2:
            return Place(f"{owner}/{name}", None, kind, rest[0] if rest else None)
        case ("repos", owner, name, "environments", inside, ("secrets" | "variables") as kind, *rest) if len(rest) < 2:
            return Place(f"{owner}/{name}", inside, kind, rest[0] if rest else None)
    raise Refusal(404, NOT_FOUND)


def _call(scope: Scope, request: Request, place: Place) -> Answer:
    if request.method not in KNOWN[place.kind, place.name is not None]:
        raise Refusal(404, NOT_FOUND)
    if place.kind == "secrets":
        return secret_calls.answer(scope, request, place.name)
    return variable_calls.answer(scope, request, place.name, environment=place.environment is not None)
