"""Revokes secrets after suspicious reads, where a rule asks for that: one incident for each secret.

Others control a log's contents. So its text is never a pattern, a secret must be in the catalogue, and the workspace's
limit applies.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from datetime import timedelta
from hashlib import sha256
from typing import Final, Protocol

from keyturn.access_log.detection.alerts import Alert, Response
from keyturn.access_log.detection.policy import React
from keyturn.access_log.readers import is_own
from keyturn.core.actor import Acting, acting
from keyturn.core.errors import KeyturnError, TransientError
from keyturn.core.notifications.channel import Announcement
from keyturn.core.notifications.notices import message_id
from keyturn.core.ports.hub import Right
from keyturn.core.ports.ledger import Outcome
from keyturn.core.text.plain_text import inert
from keyturn.revocation import preview
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.incident import Incident, Mode
from keyturn.revocation.run import begin, rights_needed
from keyturn.revocation.selector import Selection
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.journal import entry, note_down

REMEMBERED: Final = 10_000
"""Finished responses that are remembered."""

OLDEST: Final = timedelta(hours=24)
"""Older reads are left to a person: the reader already had enough time."""

TOGETHER: Final = 8
"""Credentials that are ended in parallel."""

AT_ONCE: Final = 4
"""Incidents finished in parallel; the others wait, with their credentials ended."""

NAME_LIMIT: Final = 120

Key = tuple[str, str, React]
"""An alert's id, a secret, and the reaction."""


class Conductor(Protocol):
    """The work of an incident after its credential has ended."""

    def see_through(self, workspace: Workspace, incident: Incident) -> None:
        """Replace, push, notify and prove. Raises what stops it; the incident stays open."""

    def hand_over(self, incident: str, path: str, reason: str) -> bool:
        """Pass the revocation to another login; False without one."""


class RevocationReaction:
    """Opens an incident for each secret that a rule revokes, or reports what one would do.

    ``workspace`` has a login that may revoke. Reads by ``own``, Keyturn's principals, end nothing. ``tell`` notifies
    people without waiting; ``say`` reports locally.
    """

    name = "revocation"
    burst = 1
    pace = 0.0
    patience = 120.0
    pause = 5.0

    def __init__(
        self,
        workspace: Callable[[], Workspace],
        own: Callable[[], Collection[str]],
        conductor: Conductor,
        tell: Callable[[Announcement], None],
        say: Callable[[str], None],
    ) -> None:
        self._workspace = workspace
        self._own = own
        self._conductor = conductor
        self._announce = tell
        self._say = say
        self._done: OrderedDict[Key, None] = OrderedDict()
        self._rooms = threading.BoundedSemaphore(AT_ONCE)

    def react(self, alerts: Sequence[Alert]) -> None:
        """End all credentials before any other work. Raises TransientError for a retry."""
        responses = {
            response_key(alert, response): (alert, response) for alert in alerts for response in alert.responses
        }
        errors = side_by_side(self._attempt, responses.values(), TOGETHER)
        if error := next(filter(None, errors), None):
            raise error

    def _attempt(self, wanted: tuple[Alert, Response]) -> TransientError | None:
        """Respond once, and return an error that a retry may fix."""
        alert, response = wanted
        key = response_key(alert, response)
        if key in self._done:
            return None
        try:
            self._respond(alert, response)
        except TransientError as error:
            return error
        self._done[key] = None
        if len(self._done) > REMEMBERED:
            self._done.popitem(last=False)
        return None

    def _respond(self, alert: Alert, response: Response) -> None:
        """Revoke, rehearse or leave it. Raises TransientError."""
        workspace = self._workspace()
        with acting_for(alert):
            try:
                if why := self._why_not(workspace, alert, response):
                    return self._leave(workspace, alert, response, why)
                if response.react is React.DRY_RUN:
                    return self._rehearse(workspace, alert, response)
                return self._revoke(workspace, alert, response)
            except TransientError:
                raise
            except KeyturnError as error:
                return self._leave(workspace, alert, response, error.text)

    def _why_not(self, workspace: Workspace, alert: Alert, response: Response) -> str:
        """The reason to leave it to a person, else empty."""
        reasons = (
            (alert.storm, "it is one of many at once"),
            (is_own(alert.system, alert.principal, self._own()), "it is Keyturn's own login that has read it"),
            (response.path not in workspace.catalogue.secrets, "it is no secret of the catalogue"),
            (workspace.clock() - response.at > OLDEST, f"it was read {response.at:%Y-%m-%d %H:%M} UTC, long ago"),
        )
        return next((why for applies, why in reasons if applies), "")

    def _revoke(self, workspace: Workspace, alert: Alert, response: Response) -> None:
        path, name, reason = response.path, incident_id(alert, response), reason_of(alert, response)
        if lacking_rights(workspace, path, name):
            if not self._conductor.hand_over(name, path, reason):
                self._leave(workspace, alert, response, "this login may not revoke, and no worker is there that may")
            return
        existing = incident_store.find_incident(workspace, name)
        if existing and existing.closed_at:
            return
        opened = existing or begin(
            workspace,
            Selection((path,)),
            incident=name,
            reason=reason,
            mode=Mode.REPLACE,
            selector=path,
            triggered_at=workspace.clock(),
        )
        run = copy_context().run
        threading.Thread(target=run, args=(self._see_through, workspace, opened), name=name, daemon=True).start()

    def _see_through(self, workspace: Workspace, incident: Incident) -> None:
        """Finish the incident; an error leaves it open for a later run."""
        with self._rooms:
            try:
                self._conductor.see_through(workspace, incident)
            except KeyturnError as error:
                self._say(f"{incident.id} stays open: {error}")
            except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
                self._say(f"{incident.id} stays open: {type(error).__name__}")

    def _leave(self, workspace: Workspace, alert: Alert, response: Response, why: str) -> None:
        """Record and report that nothing was ended, or that there was no dry run."""
        path, name = inert(response.path, NAME_LIMIT), incident_id(alert, response)
        if response.react is React.DRY_RUN:
            self._say(f"no dry run of {path}: {why}")
            return self._tell(alert, response, f"Keyturn: no dry run of {path}", [f"Nothing is known of it: {why}"])
        self._say(f"NOT REVOKED {path}: {why}")
        note_down(workspace, [entry(workspace, "revoke", Outcome.DENIED, response.path, note=f"{name}: {why}")])
        return self._tell(alert, response, f"Keyturn: NOT revoked: {path}", [f"Nothing was ended: {why}"])

    def _rehearse(self, workspace: Workspace, alert: Alert, response: Response) -> None:
        """Record and report what a revocation would do."""
        path, name = response.path, incident_id(alert, response)
        lines = [*would_do(workspace, path, name)]
        note_down(workspace, [entry(workspace, "would revoke", Outcome.DONE, path, note=f"{name}: {'; '.join(lines)}")])
        self._tell(alert, response, f"Keyturn: would revoke {path} (dry run)", lines)

    def _tell(self, alert: Alert, response: Response, subject: str, lines: Sequence[str]) -> None:
        name = message_id(f"alerts/{alert.id}/{response.path}", 1, str(response.react))
        self._announce(Announcement(name, subject, "\n".join((*lines, reason_of(alert, response)))))


def response_key(alert: Alert, response: Response) -> Key:
    """The key of a response that happens once."""
    return alert.id, response.path, response.react


@contextmanager
def acting_for(alert: Alert) -> Iterator[None]:
    """Attribute the actions inside to the alert, not to the login."""
    current = acting.get()
    run = current.run if current else f"process {os.getpid()}"
    token = acting.set(Acting(run, f"alert {alert.id}", by_others=True))
    try:
        yield
    finally:
        acting.reset(token)


def incident_id(alert: Alert, response: Response) -> str:
    """The incident's name, the same for every delivery of the alert."""
    return f"ALERT-{alert.id[:16]}-{sha256(response.path.encode()).hexdigest()[:8]}"


def reason_of(alert: Alert, response: Response) -> str:
    """The reason for the report and the ledger."""
    principal = inert(alert.principal, NAME_LIMIT)
    return f"alert {alert.id}: read by {principal} at {response.at:%Y-%m-%d %H:%M:%S} UTC, rule {response.rule}"


def would_do(workspace: Workspace, path: str, name: str) -> Iterator[str]:
    """Yield what a revocation would do, one line each. Raises TransientError."""
    secret = preview.preview_secret(workspace, path, Mode.REPLACE)
    yield f"It would end: {', '.join(secret.names) or f'what {secret.strategy} has made'} (version {secret.version})"
    yield f"Copies: {', '.join(secret.destinations) or 'none'}; consumers: {', '.join(secret.consumers) or 'none'}"
    yield from (f"In use: {use}" for use in secret.uses)
    yield from (f"Note: {warning}" for warning in secret.warnings)
    if lacking := lacking_rights(workspace, path, name):
        yield f"This login may not do it: it lacks {lacking[0].capability} on {lacking[0].path}"


def lacking_rights(workspace: Workspace, path: str, name: str) -> list[Right]:
    """The rights that this login lacks."""
    return workspace.hub.missing_capabilities(list(rights_needed(workspace, (path,), name)))
