"""One drill: clear up after those that were killed, make the secret, revoke it, look, and remove everything."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from keyturn.catalogue import Catalogue
from keyturn.catalogue.models import Secret
from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.revocation.incidents.consent import SILENT, Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode, Result, Step
from keyturn.revocation.readable_versions import readable_versions
from keyturn.revocation.run import begin, finish
from keyturn.revocation.selector import Selection
from keyturn.rotation.copies.push import Pushed, sync_destinations
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action
from keyturn.settings.hub import HubSettings
from keyturn.wiring.registry import open_workspace
from local import environment
from local.drill import accounts
from local.drill.application import Comparing, consumer_of, listening
from local.drill.declared import CONSUMER, Places, catalogue_of, elsewhere, places
from local.drill.hub import HubOfADrill
from local.drill.intruder import Intruder
from local.drill.kept import Kept, files_of, keep, killed
from local.drill.limits import LIMITS, ONE_MACHINE
from local.drill.names import FOLDER, Names
from local.drill.proof import found
from local.drill.removal import remove
from local.drill.samples import Maker, Sample
from local.home import Stack

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What somebody wants to see revoked: ``path`` is the real secret's."""

    path: str
    mode: Mode
    reason: str
    consent: Consent = SILENT


@dataclass(frozen=True)
class Drilled:
    """What a drill has shown, in names alone.

    ``names`` are the drill's own. ``refused_at`` and ``session_ended_at`` are what the intruder has seen, who tried
    ``tried`` times; ``held`` says that there was a session. ``found`` is where a leaked value still is, ``differs``
    what would be otherwise with the real secret, ``kept`` what of the drill could not be removed.
    """

    path: str
    names: Names
    strategy: str
    standing: IncidentStatus
    refused_at: datetime | None
    session_ended_at: datetime | None
    held: bool
    tried: int
    found: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def proven(self) -> bool:
        """Whether the intruder was put out, and the leaked value is found nowhere."""
        out = self.refused_at is not None and (self.session_ended_at is not None or not self.held)
        return out and not self.found and not self.standing.open

    @property
    def seconds(self) -> dict[str, float | None]:
        """How long it took from the trigger: ``refused``, ``session``, ``application`` and ``clear``."""
        (progress,) = self.standing.secrets
        notified = [event.at for event in progress.events if (event.step, event.place) == (Step.NOTIFY, CONSUMER)]
        heard = [event for event in progress.events if event.step is Step.NOTIFY and event.result is Result.DONE]
        moments = {
            "refused": self.refused_at,
            "session": self.session_ended_at,
            "application": notified[-1] if heard and notified else None,
            "clear": progress.clear_at,
        }
        began = self.standing.incident.triggered_at
        return {name: (at - began).total_seconds() if at else None for name, at in moments.items()}


def drill(workspace: Workspace, stack: Stack, request: Asked, tell: Tell) -> Drilled:
    """Revoke a copy of the secret in the stack that ``workspace`` is opened on, and remove all of it again.

    Raises Invalid where the catalogue would carry the copy elsewhere, and what keeps the copy from being made. What is
    left of it when the process is killed, the next drill removes.
    """
    secret, names = workspace.secret(request.path), Names.new(workspace.clock())
    insist_on_place_apart(workspace.catalogue, names)
    clear_up(workspace, stack, tell)
    with record_action(workspace, "drill", request.path, note=names.incident) as doing:
        where = places(workspace.catalogue, secret, stack, names, str(files_of(stack, names)))
        record, left = keep(stack, names, where.stores, where.copies), list[str]()
        try:
            drilled = rehearsed(workspace, stack, secret, where, record.names, request, tell)
        finally:
            left = removed(workspace, stack, record, tell)
        doing.note = f"{names.incident}; {'proven' if drilled.proven else 'NOT proven'}"
    return replace(drilled, kept=tuple(left))


def insist_on_place_apart(catalogue: Catalogue, names: Names) -> None:
    """Raises Invalid where a pattern of the catalogue would push the copy to somebody's real store."""
    if places := catalogue.destinations(names.secret):
        problem = f"a sync of the catalogue pushes {names.secret} to {places[0].store}"
        raise Invalid("drill", FOLDER, problem, f"Add `without: [{FOLDER}/**]` to that sync")


# --- before and after


def clear_up(workspace: Workspace, stack: Stack, tell: Tell) -> None:
    """Remove what drills have left whose process is gone."""
    for record in killed(stack):
        tell(f"removing what {record.names.incident} has left, which did not come to its end")
        removed(workspace, stack, record, tell)


def removed(workspace: Workspace, stack: Stack, record: Kept, tell: Tell) -> list[str]:
    """Remove everything of a drill; what can't be is told, answered, and left to the next one."""
    try:
        with record_action(workspace, "remove drill", note=record.names.incident) as doing:
            left = remove(stack, record)
            doing.note = "; ".join((record.names.incident, *left))
        if not left:
            record.forget()
    finally:
        record.let_go()
    for line in left:
        tell(f"NOT REMOVED {line}; the next drill tries again")
    return left


# --- in between


def rehearsed(
    workspace: Workspace, stack: Stack, secret: Secret, where: Places, names: Names, request: Asked, tell: Tell
) -> Drilled:
    """Make the copy, let it leak, revoke it with the real engine, and look what has become of it."""
    tell(f"making a copy of {secret.path} with its own accounts, as {names.incident}")
    with ExitStack() as closing:
        hub = HubOfADrill(HubSettings.from_environment(environment.revoker(stack)), names.folder)
        closing.callback(hub.close)
        sample = Maker(stack, hub, names).sample(secret)
        consumer = consumer_of(sample, stack, hub, names.secret)
        key = f"whsec_{secrets.token_hex(24)}"
        hub.write(names.secret, sample.first, cas=0)
        hub.write_state(names.signing_key, {"key": key}, cas=0)
        url = closing.enter_context(listening(Sensitive(key), consumer.follow))
        declared, shaped = catalogue_of(stack, secret, sample.rotation, sample.first, where, url, names)
        copy = open_workspace(declared, hub, workspace.ledger)
        closing.callback(close_stores, copy)
        consumer.start()
        closing.callback(consumer.stop)
        put_in_use(copy, names.secret)
        tries = consumer.accepts if isinstance(consumer, Comparing) else partial(accounts.accepted, stack)
        drilled = revoked(copy, stack, names, sample, tries, request, tell)
    differs = (*sample.differs, *where.differs, *shaped, *elsewhere(workspace.catalogue, secret))
    limits = LIMITS[secret.rotation.strategy]
    return replace(drilled, differs=(*differs, *limits, ONE_MACHINE))


def put_in_use(copy: Workspace, path: str) -> None:
    """Let every copy be there, with an older version behind it. Raises Unavailable where that can't be done."""
    insist_on(sync_destinations(copy, path))
    outcome = rotate(copy, path, Trigger.FORCE)
    insist_on(outcome.destinations)


def insist_on(pushed: Sequence[Pushed]) -> None:
    """Raises Unavailable where a copy was not made."""
    for copy in pushed:
        if not copy.in_step:
            problem = copy.error or f"it is {copy.state}"
            raise Unavailable("make", f"{copy.store}:{copy.name}", problem, "See the services with `keyturn status`")


def revoked(
    copy: Workspace,
    stack: Stack,
    names: Names,
    sample: Sample,
    tries: Callable[[SecretFields], bool | None],
    request: Asked,
    tell: Tell,
) -> Drilled:
    """The revocation itself, while somebody tries what has leaked and holds a session open."""
    path = names.secret
    leaked = tuple(readable_versions(copy, path))
    newest = leaked[0].fields
    with ExitStack() as closing:
        session = None
        if sample.logs_in:
            connection = accounts.logged_in(stack, newest)
            closing.callback(connection.close)
            session = partial(accounts.answers, connection)
        with Intruder(partial(tries, newest), session) as intruder:
            tell(f"revoking it: an intruder tries the leaked credential{' and holds a session' if session else ''}")
            opened = begin(
                copy,
                Selection((path,)),
                incident=names.incident,
                reason=request.reason or f"a drill of {request.path}",
                mode=request.mode,
                selector=path,
                triggered_at=copy.clock(),
                consent=request.consent,
            )
            standing = finish(copy, opened.id)
    (progress,) = standing.secrets
    return Drilled(
        path=request.path,
        names=names,
        strategy=sample.strategy,
        standing=standing,
        refused_at=intruder.refused_at,
        session_ended_at=intruder.ended_at,
        held=session is not None,
        tried=intruder.tried,
        found=tuple(found(copy, progress, leaked, tries)),
    )


def close_stores(copy: Workspace) -> None:
    """Let go of every store of the drill."""
    for store in copy.catalogue.stores:
        copy.open_store(store).close()
