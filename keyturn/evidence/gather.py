"""Gather the facts of a report once. An unreadable part is reported, and stops no other."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

from keyturn.catalogue.models import Secret
from keyturn.core.errors import Denied, KeyturnError, NotFound
from keyturn.core.plan import Action, Plan
from keyturn.core.ports.hub import EXPIRES_AT
from keyturn.core.rotation_record import Record
from keyturn.core.schedule.due import Trigger, alarm, due_at
from keyturn.core.text.suggest import advice
from keyturn.evidence import accesses
from keyturn.evidence.facts import (
    AccessExtract,
    CopyFact,
    ExceptionFact,
    Facts,
    FreezeFact,
    KeyFact,
    LedgerExtract,
    Part,
    Period,
    SecretFact,
    Unmanaged,
)
from keyturn.evidence.key_periods import BY_STRATEGY
from keyturn.evidence.ledger_extract import extract_ledger
from keyturn.grants.reviews import list_broken_access
from keyturn.keys.own_keys import own_keys
from keyturn.ledger.ports import StoredLedger
from keyturn.rotation.decide import facts as rotation_facts
from keyturn.rotation.decide import look_up
from keyturn.rotation.grace import by_this_clock, grace_over
from keyturn.rotation.repair.missing_current import describe_missing
from keyturn.rotation.state.break_glass import list_broken
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.journal import actor_of
from keyturn.rotation.state.login_checks import Checks, current_check, load_checks
from keyturn.rotation.state.quiet_period import Listing, list_secrets
from keyturn.sync.plan import plan
from keyturn.sync.scan import scan_stores

T = TypeVar("T")

SIDE_BY_SIDE: Final = 8

LATE: Final = timedelta(days=1)
"""The tolerance for an overdue step of an own key, or for ending an old credential."""

HOLDER: Final = "holder"
"""The label for the holder of a person's secret."""
PERSON: Final = "person"

GOOD: Final = frozenset({Action.IN_SYNC})
UNSEEN: Final = frozenset({Action.BLOCKED, Action.NOT_COMPARED})


@dataclass(frozen=True)
class Question:
    """The question of a report: a period, and an owner. An empty owner means all."""

    period: Period
    owner: str = ""


@dataclass
class _Looks:
    unseen: dict[Part, str] = field(default_factory=dict)

    def at(self, part: Part, look: Callable[[], T], otherwise: T) -> T:
        """Return the result of ``look``. Where it fails, note the reason and return ``otherwise``."""
        try:
            return look()
        except KeyturnError as error:
            denied = part is Part.POLICIES and isinstance(error, Denied)
            self.unseen[part] = f"{error.problem}. Use the auditor's login (keyturn-auditor)" if denied else str(error)
            return otherwise


def gather_facts(
    workspace: Workspace, question: Question, ledger: StoredLedger, logs: Sequence[accesses.Log] = ()
) -> Facts:
    """Return all facts for the checks; ``logs`` show the reads.

    Raises NotFound for an unknown owner, and an error where no secret could be read.
    """
    declared = chosen_secrets(workspace, question.owner)
    paths, looks, now = frozenset(declared), _Looks(), workspace.clock()
    secrets = secret_facts(workspace, declared)
    wanted = paths if question.owner else None
    extract = looks.at(
        Part.LEDGER,
        lambda: extract_ledger(ledger, workspace.hub, workspace.verify_signature, question.period, wanted),
        LedgerExtract(),
    )
    everybody = not question.owner
    return Facts(
        period=question.period,
        looked_at=now,
        looked_by=actor_of(workspace),
        owner=question.owner,
        catalogue_id=workspace.catalogue.id,
        catalogue=workspace.catalogue.digest,
        ledger=extract,
        secrets=secrets,
        copies=looks.at(Part.COPIES, lambda: copy_facts(workspace, plan(workspace), paths), ()),
        unmanaged=looks.at(Part.STORES, lambda: unmanaged_facts(workspace, looks), ()) if everybody else (),
        accesses=looks.at(Part.ACCESSES, lambda: _accesses(workspace, question, declared, logs, looks), _NOBODY),
        keys=looks.at(Part.KEYS, lambda: key_facts(workspace), ()) if everybody else (),
        exceptions=exception_facts(workspace, declared),
        freezes=freeze_facts(workspace, paths),
        glass=looks.at(Part.GLASS, lambda: (*list_broken(workspace), *list_broken_access(workspace)), ())
        if everybody
        else (),
        second_person=tuple(wants_second_person(workspace)),
        unseen={part: looks.unseen[part] for part in Part if part in looks.unseen},
    )


_NOBODY: Final = AccessExtract()


def chosen_secrets(workspace: Workspace, owner: str) -> dict[str, Secret]:
    """Return the secrets of one owner, or all. Raises NotFound for an owner without secrets."""
    everything = {path: workspace.catalogue.secrets[path] for path in sorted(workspace.catalogue.secrets)}
    if not owner:
        return everything
    chosen = {path: secret for path, secret in everything.items() if secret.owner == owner}
    if not chosen:
        owners = {secret.owner for secret in everything.values()}
        raise NotFound("find", f"owner {owner}", "no secret is theirs", advice(owner, owners, "Nothing is declared."))
    return chosen


def _accesses(
    workspace: Workspace,
    question: Question,
    declared: Mapping[str, Secret],
    logs: Sequence[accesses.Log],
    looks: _Looks,
) -> AccessExtract:
    nobody: Mapping[str, tuple[str, ...]] = {}
    able = looks.at(Part.POLICIES, lambda: accesses.able_by_policy(workspace, declared), nobody)
    return accesses.extract_accesses(workspace, question.period, declared, logs, able)


# --- the secrets


def secret_facts(workspace: Workspace, declared: Mapping[str, Secret]) -> tuple[SecretFact, ...]:
    """Return each secret's facts, without reading values. Raises the first error where all lookups failed."""
    with list_secrets(workspace, len(declared)) as listing:
        looks_of = side_by_side(lambda path: _attempt(workspace, path, listing), declared, SIDE_BY_SIDE)
    errors = [fact for fact in looks_of if isinstance(fact, KeyturnError)]
    if errors and len(errors) == len(looks_of):
        raise errors[0]
    checks = load_checks(workspace, list(declared))
    return tuple(
        SecretFact(**declared_facts(secret), error=str(fact))
        if isinstance(fact, KeyturnError)
        else SecretFact(**declared_facts(secret), **fact, **login_facts(workspace, checks, secret.path, fact))
        for secret, fact in zip(declared.values(), looks_of, strict=True)
    )


def declared_facts(secret: Secret) -> dict[str, Any]:
    rotation = secret.rotation
    schedule = rotation.schedule
    return {
        "path": secret.path,
        "owner": secret.owner,
        "classification": str(secret.classification),
        "strategy": rotation.strategy,
        "by_hand": schedule.by_hand,
        "person": secret.labels.get(HOLDER) == PERSON,
        "limit": schedule.maximum_age,
        "interval": rotation.longest,
        "dead_within": secret.dead_within,
        "stores": tuple(sorted({place.store for place in secret.destinations})),
        "consumers": tuple(sorted(secret.consumers)),
        "key": BY_STRATEGY.get(rotation.strategy),
        "certificate": certificate_facts(rotation),
    }


def certificate_facts(rotation: Any) -> Mapping[str, str] | None:
    kind = str(getattr(rotation, "key", "") or "")
    if rotation.strategy != "certificate":
        return {"key": kind} if kind else None
    return {
        "key": kind,
        "common_name": rotation.common_name,
        "names": ", ".join(sorted(rotation.names.all)),
        "issuer": f"{rotation.mount}/{rotation.role}",
    }


def _attempt(workspace: Workspace, path: str, listing: Listing | None) -> dict[str, Any] | KeyturnError:
    try:
        stands = look_up(workspace, path, listing)
        state = rotation_facts(workspace, path, Trigger.SCHEDULE, stands)
        late = alarm(state)
        return {
            "version": stands.version,
            "rotated_at": state.rotated_at,
            "due_at": due_at(state),
            "expires_at": stands.info.marked(EXPIRES_AT) if stands.info else None,
            "late": late.message if late else "",
            "missing": describe_missing(stands.info, stands.record),
            "ended_by": stands.record.frozen,
            "retiring_since": retiring_since(workspace, path, stands.record),
        }
    except KeyturnError as error:
        return error


def retiring_since(workspace: Workspace, path: str, record: Record) -> Any:
    """Return when a live old credential's grace period ended; None where there is none, or not yet."""
    rotation = record.retiring
    if rotation is None:
        return None
    over = grace_over(workspace, path, rotation)
    begun = by_this_clock(workspace, over) if over else rotation.promoted_at
    return begun if begun and begun <= workspace.clock() else None


def login_facts(workspace: Workspace, checks: Checks, path: str, fact: Mapping[str, Any]) -> dict[str, Any]:
    check = current_check(checks, path, fact["version"])
    if check is None:
        return {}
    alarming = check.alarm(workspace.clock())
    return {"login": str(check.result), "login_at": check.tried_at, "login_alarm": alarming}


# --- copies, stores, keys


def copy_facts(workspace: Workspace, planned: Plan, paths: frozenset[str]) -> tuple[CopyFact, ...]:
    kinds = {name: settings.kind for name, settings in workspace.catalogue.stores.items()}
    made = (
        CopyFact(
            item.path,
            item.store,
            kinds.get(item.store, ""),
            item.name,
            str(item.action),
            "" if item.action in GOOD | UNSEEN else item.why or str(item.action),
            item.why or str(item.action) if item.action in UNSEEN else "",
        )
        for item in planned.items
        if item.path in paths
    )
    return tuple(sorted(made, key=lambda copy: (copy.secret, copy.store, copy.name)))


def unmanaged_facts(workspace: Workspace, looks: _Looks) -> tuple[Unmanaged, ...]:
    """Return the unmanaged secrets. Places that can't be listed are noted as unseen."""
    scan = scan_stores(workspace)
    unread = [f"{store.store}: {store.error}" for store in scan.stores if store.error]
    unread += [f"the hub: {scan.hub.error}"] if scan.hub and scan.hub.error else []
    if unread:
        looks.unseen[Part.STORES] = "; ".join(unread)
    made = [Unmanaged(store.store, name, "unmanaged") for store in scan.stores for name in store.unmanaged]
    made += [
        Unmanaged(store.store, copy.name, f"a copy of {copy.source} that nothing declares")
        for store in scan.stores
        for copy in store.undeclared
    ]
    made += [Unmanaged("hub", path, "no entry declares it") for path in (scan.hub.unmanaged if scan.hub else ())]
    return tuple(sorted(made, key=lambda unmanaged: (unmanaged.place, unmanaged.name)))


def key_facts(workspace: Workspace) -> tuple[KeyFact, ...]:
    """Return Keyturn's own keys, as far as this login may read them."""
    now = workspace.hub_now()
    return tuple(
        KeyFact(
            key.name,
            key.what,
            str(key.state),
            key.since,
            key.due_at,
            key.blocked,
            key.due_at is not None and key.due_at + LATE <= now,
        )
        for key in sorted(own_keys(workspace), key=lambda key: key.name)
    )


# --- exceptions, freezes and reviews


def exception_facts(workspace: Workspace, declared: Mapping[str, Secret]) -> tuple[ExceptionFact, ...]:
    made = (
        ExceptionFact(
            name,
            tuple(sorted(settings.checks)),
            tuple(path for path, secret in declared.items() if settings.covers(path, secret.about)),
            settings.owner,
            settings.ends,
            settings.reason,
        )
        for name, settings in sorted(workspace.catalogue.exceptions.items())
    )
    return tuple(exception for exception in made if exception.secrets)


def freeze_facts(workspace: Workspace, paths: Iterable[str]) -> tuple[FreezeFact, ...]:
    covered = list(paths)
    made = (
        (settings.policy(name), sum(settings.covers(path) for path in covered))
        for name, settings in sorted(workspace.catalogue.freezes.items())
    )
    return tuple(
        FreezeFact(freeze.name, freeze.begins, freeze.ends, freeze.reason, held) for freeze, held in made if held
    )


def wants_second_person(workspace: Workspace) -> Iterable[str]:
    approvals = workspace.approvals
    if approvals.incidents_over is not None:
        yield f"incidents over more than {approvals.incidents_over} secrets"
    if approvals.revoke_only:
        yield "ending credentials without a replacement"
    if approvals.give_up:
        yield "giving an incident up"
    if approvals.end_previous:
        yield "ending an old credential that is in use"
