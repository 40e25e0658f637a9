"""Applies changes of its secrets to a program, by polling and notices."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Final

from keyturn.client.client import SecretClient
from keyturn.core.errors import Denied, KeyturnError, NotFound, TransientError, Unavailable, unexpected
from keyturn.core.notifications.notices import Notice
from keyturn.programs.rendering import Declaration, Rendering

QUIET: Final = 0.3
"""Seconds that a change waits for others."""
PATIENCE: Final = 30.0
"""Seconds that a change may take after the grace period."""


class Follower:
    """Renders ``declaration`` again and passes it to ``submit``, whose future ends once the program has it.

    Each secret is read again every ``poll`` seconds, 0 for never. ``unfinished``: the last change is to be tried again.
    One change may take ``longest`` seconds. With ``stop_revoked``, the program ends where a notice, or two checks in a
    row, show a secret that is gone without a replacement.
    """

    def __init__(
        self,
        client: SecretClient,
        declaration: Declaration,
        rendering: Rendering,
        submit: Callable[[Rendering | KeyturnError], "Future[None]"],
        unfinished: Callable[[], bool],
        tell: Callable[[str], object],
        poll: float,
        longest: float,
        *,
        stop_revoked: bool = False,
    ) -> None:
        self._client = client
        self._declaration = declaration
        self._rendering = rendering
        self._submit = submit
        self._unfinished = unfinished
        self._tell = tell
        self._poll = poll
        self._longest = longest
        self._stop_revoked = stop_revoked
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._changed = threading.Event()
        self._trouble = ""
        self._absent: set[str] = set()

    def begin(self) -> None:
        for path in self._rendering.versions:
            self._client.watch(path, lambda secret: self._changed.set())
        threading.Thread(target=self._run, name="keyturn-follow", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._changed.set()

    def told(self, notice: Notice) -> None:
        """Take a notice, and return once the program has the promised version, never had the secret, or has ended.

        Raises the errors of reading, and Unavailable where the program did not receive the change.
        """
        self._client.told(notice)
        if notice.secret_path not in self._rendering.versions:
            return
        if self._stop_revoked and self._client.in_force(notice) is None:
            self._end(notice.secret_path, "it was revoked, and nothing has taken its place")
        else:
            self.look()

    def look(self) -> None:
        """Give the program the current secrets. Raises the errors of reading and applying."""
        with self._lock:
            self._changed.clear()
            rendering = self._declaration.render(self._client)
            before = self._rendering
            same = (rendering.environment, rendering.outputs) == (before.environment, before.outputs)
            if not same or self._unfinished():
                self._hand_over(rendering)
            self._rendering = rendering

    def _hand_over(self, rendering: Rendering | KeyturnError) -> None:
        try:
            self._submit(rendering).result(self._longest)
        except TimeoutError:
            raise Unavailable("give", "a change", f"it took longer than {self._longest:.0f} seconds") from None

    def _end(self, path: str, problem: str) -> None:
        self._hand_over(Denied("use", path, problem, "Let it be rotated, and start again"))

    def _run(self) -> None:
        while not self._stopped.is_set():
            woken = self._changed.wait(self._poll or None)
            if self._stopped.wait(QUIET if woken else 0):
                return
            try:
                error = None if woken else self._read_again()
                self.look()
            except KeyturnError as failure:
                error = failure
            except Exception as failure:  # noqa: BLE001 - its text may hold a value, and this thread must not end
                error = unexpected(failure)
            self._say(error)

    def _read_again(self) -> KeyturnError | None:
        error, absent = None, dict[str, NotFound]()
        for path in self._rendering.versions:
            try:
                self._client.refresh(path)
            except TransientError as failure:
                error = error or failure
            except NotFound as failure:
                absent[path] = failure
        self._insist_on_presence(absent)
        return error

    def _insist_on_presence(self, absent: Mapping[str, NotFound]) -> None:
        """Raise the first error. A secret absent twice ends the program."""
        gone = [path for path in absent if path in self._absent]
        self._absent = set(absent)
        if gone and self._stop_revoked:
            self._end(gone[0], "it was revoked or deleted, and nothing has taken its place")
        for failure in absent.values():
            raise failure

    def _say(self, error: KeyturnError | None) -> None:
        trouble = str(error) if error else ""
        if trouble and trouble != self._trouble:
            self._tell(f"{trouble}; the program continues with the value it has")
        elif self._trouble and not trouble:
            self._tell("the secrets can be read again")
        self._trouble = trouble
