"""The common part of the emulators: requests recognised by the recipe's settings, and answers that follow them."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from keyturn.core.text import templates
from local.emulators.recipes.logins import new_token
from local.emulators.recipes.matching import Captured, Received, Shape, satisfy
from local.emulators.recipes.server import Answer, Service, base_of

ADMIN: Final = "admin."
Act = Callable[[Captured], Answer]
Requests = Iterator[tuple[str, Shape, Act]]


@dataclass
class RecipeService(Service):
    """Plays ``rotation``, a strategy's settings with all parameters filled in, at the address of ``target``.

    ``admin`` are the fields of the admin credential. ``differences`` are the recipe's ``emulator``: how this service
    differs from the usual one; each mechanism names its own. With ``lifetime``, credentials expire after that time.
    """

    rotation: Mapping[str, Any]
    target: Mapping[str, Any]
    admin: Mapping[str, str]
    differences: Mapping[str, Any] = field(default_factory=dict)
    received: list[tuple[str, Received]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.login = new_token(self.target)
        self._known = {**self.constants, **self.login, **{ADMIN + name: value for name, value in self.admin.items()}}
        self._base = base_of(self.target["url"])
        self._requests = list(self.requests())

    # --- for a mechanism ---

    def requests(self) -> Requests:
        """Yield each request of the mechanism with its name and what it does, the most special first."""
        raise NotImplementedError

    @property
    def constants(self) -> Mapping[str, str]:
        constants: Mapping[str, str] = self.rotation.get("constants", {})
        return constants

    def shape(
        self, settings: Mapping[str, Any], method: str, *, as_admin: bool = True, at_test_url: bool = False
    ) -> Shape:
        headers = {**(self.target.get("headers", {}) if as_admin else {}), **settings.get("headers", {})}
        test_url = self.target.get("test_url") if at_test_url else None
        url = settings.get("url", test_url)
        base = base_of(url) if url else self._base
        return Shape({**settings, "headers": headers}, method, base, self._known)

    def success(self, settings: Mapping[str, Any], document: Any = None, status: int = 200) -> Answer:
        """The answer that a request expects."""
        expected = settings.get("expect", ())
        statuses = [item for item in expected if isinstance(item, int)]
        conditions = [item for item in expected if isinstance(item, dict)]
        document = satisfy({} if document is None else document, conditions)
        chosen = statuses[0] if statuses else status
        return Answer(chosen, None if chosen == 204 else document)

    def refusal(self, patterns: Any, usual: int, error: str) -> Answer:
        """The first of the answers that the recipe describes, or the usual one."""
        pattern = (patterns[0] if isinstance(patterns, list) else patterns) or {"status": [usual]}
        status = pattern.get("status", [200])
        body = satisfy({}, pattern.get("when", ())) or {"error": error}
        return Answer(status[0] if isinstance(status, list) else status, body)

    # --- for its tests ---

    def issue(self) -> dict[str, str]:
        """Create a credential as a person does; the fields of a secret that holds it."""
        raise NotImplementedError

    def works(self, fields: Mapping[str, str]) -> bool:
        """Whether the service accepts this credential."""
        raise NotImplementedError

    def living(self, path: str) -> list[Mapping[str, str]]:
        """The credentials of the secret at ``path`` that work, those included that no one knows."""
        raise NotImplementedError

    def lives_after(self, time: timedelta, fields: Mapping[str, str]) -> bool:
        """Whether this credential, if nothing ends it, still works after that time."""
        return True

    def reset(self) -> None:
        """Forget every credential."""
        raise NotImplementedError

    # --- requests ---

    def answer(self, received: Received) -> Answer:
        with self._lock:
            for name, shape, act in self._requests:
                if (values := shape.match(received)) is not None:
                    self.received.append((name, received))
                    return act(values)
            self.received.append(("unknown", received))
            if any(self._without_admin(shape).match(received) is not None for _, shape, _ in self._requests):
                return Answer(401, {"error": "the admin credential is not valid"})
            return Answer(404, {"error": "no request of the recipe looks like this"})

    def _without_admin(self, shape: Shape) -> Shape:
        known = {name: value for name, value in shape.known.items() if not name.startswith(ADMIN)}
        return Shape(shape.settings, shape.method, shape.base, known)


def filled(text: str, *values: Mapping[str, str]) -> str:
    """The text with each name replaced by the first value that is known; names without any stay empty."""
    return templates.fill(text, lambda name: next((each[name] for each in values if name in each), ""))
