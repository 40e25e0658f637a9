"""Reports requests and misused placeholders: to the access trail, and as lines of a log."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keyturn.agent.proxy.gateway import Misuse, Passage

if TYPE_CHECKING:
    from keyturn.client.posts import AccessPosts


@dataclass(frozen=True)
class PassageTrail:
    """Reports to whichever of the two there is. A line or a post has names and numbers, and no value or body."""

    posts: "AccessPosts | None" = None
    note: Callable[[str], object] | None = None

    def report(self, event: Passage | Misuse) -> None:
        if isinstance(event, Misuse):
            for decoy in event.decoys if self.posts else ():
                self._post(decoy, None, event.caller, f"placeholder at {event.place}", denied=True)
            return
        outcome = f"{event.route} {event.method} {event.status} {event.code}".strip()
        about = f"{outcome}, {event.sent} bytes sent, {event.returned} returned"
        self._post(event.secret, event.version, event.caller, about, denied=bool(event.code))
        if self.note:
            self.note(f"{event.caller} used {event.secret}, version {event.version or '?'}: {about}")

    def _post(self, path: str, version: int | None, caller: str, about: str, *, denied: bool) -> None:
        if self.posts:
            self.posts.note(path, version, denied=denied, login=caller, agent=about)
