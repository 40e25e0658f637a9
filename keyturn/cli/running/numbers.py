"""The workspace's metrics for `keyturn serve`, collected per area as `keyturn status` does."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

from keyturn.client.metrics import Samples
from keyturn.core import errors
from keyturn.core.plan import Action
from keyturn.core.ports.restored import read_mark
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.signed_notes import signatures_of
from keyturn.serving.numbers.board import Look, Numbers
from keyturn.serving.numbers.displayed import Area
from keyturn.serving.numbers.ledger import LedgerTally

if TYPE_CHECKING:
    from keyturn.cli.secrets.copies import CopyStatus
    from keyturn.cli.secrets.secret_status import SecretStatus
    from keyturn.core.plan import Item
    from keyturn.ledger.ports import StoredLedger
    from keyturn.rotation.state.context import Workspace

MOST_GROUPS: Final = 200
"""The most owners and classifications with metrics of their own; the rest are grouped."""
OTHERS: Final = "(others)"
MOST_PATHS: Final = 2_000
"""The most secrets with metrics per path; with more, there are none per path."""

STATES: Final = {
    Action.IN_SYNC: "in sync",
    Action.DRIFTED: "drifted",
    Action.CONFLICT: "conflict",
    Action.AHEAD: "conflict",
    Action.BLOCKED: "blocked",
}
"""The metric's state for each action of the plan; every other one is behind."""
LOOKED_AT: Final = frozenset(kind.__name__ for kind in (errors.Ahead, errors.Invalid, errors.Missing, errors.NotFound))
"""Errors of copies that were read but can't be written; any other error means the copy was not read."""


def looks_of(latest: "Callable[[], Workspace]", *, per_secret: bool = False) -> Mapping[Area, Look]:
    tally = LedgerTally()
    looks: Mapping[Area, Callable[[Workspace], Numbers]] = {
        Area.SECRETS: lambda workspace: secret_numbers(workspace, per_secret=per_secret),
        Area.COPIES: copy_numbers,
        Area.LEDGER: lambda workspace: tally.read_on(cast("StoredLedger", workspace.ledger)),
        Area.SIGNATURES: signature_numbers,
        Area.INCIDENTS: incident_numbers,
        Area.ACCESS: access_numbers,
        Area.REVIEWS: review_numbers,
        Area.KEYS: key_numbers,
        Area.AUTHORITIES: authority_numbers,
        Area.PARTS: part_numbers,
        Area.HUB: hub_numbers,
    }
    return {area: lambda look=look: look(latest()) for area, look in looks.items()}  # type: ignore[misc]


def samples_alone(**samples: Samples) -> Numbers:
    return Numbers(samples, {})


def secret_numbers(workspace: "Workspace", *, per_secret: bool = False) -> Numbers:
    from keyturn.cli.secrets.copies import CatalogueCopies
    from keyturn.cli.secrets.secret_status import secret_statuses
    from keyturn.cli.secrets.status import login_counts

    statuses, _ = secret_statuses(workspace, lambda _: CatalogueCopies())
    groups = grouped(workspace, statuses)
    silent = sum(bool(hearing.silence) for status in statuses for hearing in status.consumers)
    samples: dict[str, Samples] = {
        "secrets": count_in(groups, lambda status: True),
        "secrets_due": count_in(groups, lambda status: status.reason is not None),
        "secrets_late": count_in(groups, is_late),
        "secrets_unknown": count_in(groups, lambda status: bool(status.error)),
        "secrets_missing": count_in(groups, lambda status: bool(status.missing)),
        "secrets_ended": count_in(groups, lambda status: bool(status.ended_by)),
        "secret_age_ratio": most_in(groups, lambda status: share_of(workspace, status), max),
        "secret_earliest_end_seconds": most_in(groups, ends_in, min),
        "secrets_by_login": {(result,): count for result, count in login_counts(statuses).items()},
        "consumers_silent": {(): silent},
    }
    if per_secret and len(statuses) <= MOST_PATHS:
        samples |= of_each(workspace, statuses)
    return Numbers(samples, {})


def of_each(workspace: "Workspace", statuses: "Sequence[SecretStatus]") -> dict[str, Samples]:
    readable = [status for status in statuses if not status.error]
    return {
        "secret_age_seconds": by_path(readable, secret_age),
        "secret_max_age_seconds": by_path(readable, lambda status: limit_of(workspace, status)),
        "secret_late": by_path(readable, lambda status: float(is_late(status))),
        "secret_end_seconds": by_path(readable, ends_in),
    }


def by_path(statuses: "Sequence[SecretStatus]", number: "Callable[[SecretStatus], float | None]") -> Samples:
    numbers = {(status.path,): number(status) for status in statuses}
    return {path: value for path, value in numbers.items() if value is not None}


Groups = Mapping[tuple[str, str], "list[SecretStatus]"]


def grouped(workspace: "Workspace", statuses: "Sequence[SecretStatus]") -> Groups:
    groups: dict[tuple[str, str], list[SecretStatus]] = defaultdict(list)
    for status in statuses:
        declared = workspace.catalogue.secret(status.path)
        groups[declared.owner, str(declared.classification)].append(status)
    if len(groups) <= MOST_GROUPS:
        return groups
    bounded: dict[tuple[str, str], list[SecretStatus]] = defaultdict(list)
    largest = sorted(groups, key=lambda group: (-len(groups[group]), group))
    for place, group in enumerate(largest):
        bounded[group if place < MOST_GROUPS else (OTHERS, OTHERS)] += groups[group]
    return bounded


def count_in(groups: Groups, holds: "Callable[[SecretStatus], bool]") -> Samples:
    return {group: sum(map(holds, statuses)) for group, statuses in groups.items()}


def most_in(
    groups: Groups, number: "Callable[[SecretStatus], float | None]", choose: Callable[[Iterable[float]], float]
) -> Samples:
    numbers = {
        group: [value for each in listed if (value := number(each)) is not None] for group, listed in groups.items()
    }
    return {group: choose(values) for group, values in numbers.items() if values}


def is_late(status: "SecretStatus") -> bool:
    return status.outlook is not None and status.outlook.alarm


def secret_age(status: "SecretStatus") -> float | None:
    """Return the age in seconds; None without a version."""
    return (status.now - status.rotated_at).total_seconds() if status.rotated_at else None


def limit_of(workspace: "Workspace", status: "SecretStatus") -> float | None:
    """Return the maximum age in seconds; None if there is none."""
    limit = workspace.catalogue.secret(status.path).rotation.schedule.maximum_age
    return limit.total_seconds() if limit else None


def share_of(workspace: "Workspace", status: "SecretStatus") -> float | None:
    """Return the age as a share of the maximum."""
    age, limit = secret_age(status), limit_of(workspace, status)
    return age / limit if age is not None and limit else None


def ends_in(status: "SecretStatus") -> float | None:
    """Return the seconds until CURRENT expires; None if it does not."""
    return (status.expires_at - status.now).total_seconds() if status.expires_at else None


def copy_numbers(workspace: "Workspace") -> Numbers:
    """Collect metrics of every copy, wanted or left over. Raises errors that hide all of them."""
    from keyturn.cli.secrets.copies import look_at_copies

    copies = look_at_copies(workspace)
    listed = [copy for places in copies.of.values() for copy in places]
    now, states = workspace.clock(), Counter((copy.item.store, copy_state(copy)) for copy in listed)
    failing: dict[tuple[str, ...], float] = {}
    for copy in listed:
        if copy.since:
            seconds = (now - copy.since).total_seconds()
            failing[copy.item.store,] = max(seconds, failing.get((copy.item.store,), 0.0))
    numbers = samples_alone(copies=dict(states.items()), copies_failing_seconds=failing)
    # If copies were not read, an empty list does not mean that none is lost.
    if copies.lost is None or (not copies.lost and any(is_unseen(copy.item) for copy in listed)):
        return numbers
    return Numbers({**numbers.samples, "secrets_behind": {(): len(copies.lost)}}, {})


def copy_state(copy: "CopyStatus") -> str:
    return "unknown" if is_unseen(copy.item) else STATES.get(copy.item.action, "behind")


def is_unseen(item: "Item") -> bool:
    return item.action is Action.NOT_COMPARED or (item.action is Action.BLOCKED and item.kind not in LOOKED_AT)


def signature_numbers(workspace: "Workspace") -> Numbers:
    from keyturn.ledger.checkpoints import read_checkpoint

    ledger = cast("StoredLedger", workspace.ledger)
    note, size, now = ledger.newest(), ledger.size(), workspace.clock()
    checkpoint = read_checkpoint(note) if note else None
    covered = checkpoint.size if checkpoint else 0
    first = next(iter(ledger.leaves(covered + 1, covered + 1)), None) if size > covered else None
    waiting = (now - parse_leaf(first[1]).entry.time).total_seconds() if first else 0.0
    samples: dict[str, Samples] = {
        "ledger_unsigned_entries": {(): max(0, size - covered)},
        "ledger_unsigned_seconds": {(): max(0.0, waiting)},
    }
    if checkpoint and checkpoint.time:
        samples["ledger_checkpoint_age_seconds"] = {(): (now - checkpoint.time).total_seconds()}
    if checkpoint:
        others = {name for name, _, _ in signatures_of(note) if name != checkpoint.origin}
        samples["ledger_checkpoint_witnesses"] = {(): len(others)}
    return Numbers(samples, {})


def incident_numbers(workspace: "Workspace") -> Numbers:
    from keyturn.revocation.incidents.store import list_open

    now, listed = workspace.clock(), list_open(workspace)
    oldest = max(((now - incident.opened_at).total_seconds() for incident in listed), default=0.0)
    return samples_alone(
        incidents_open={(): len(listed)}, incident_oldest_seconds={(): oldest}, **objective_samples(workspace)
    )


def objective_samples(workspace: "Workspace") -> dict[str, Samples]:
    """Collect how many objectives of revocations are met, missed, overdue or unknown; nothing without any."""
    paths = [path for path, secret in workspace.catalogue.secrets.items() if secret.dead_within]
    if not paths:
        return {}
    from keyturn.revocation.objectives.measured import STATES, objective_statuses

    statuses = objective_statuses(workspace, paths)
    counts = Counter(status.state for status in statuses)
    last = [status.last.refused for status in statuses if status.last and status.last.refused is not None]
    return {
        "revocation_objectives": {(state,): counts[state] for state in STATES},
        "revocation_dead_seconds": {(): max(last)} if last else {},
    }


def access_numbers(workspace: "Workspace") -> Numbers:
    """Collect metrics of grants and waiting requests. Raises Invalid for a malformed entry."""
    if not workspace.catalogue.access_policies:
        return samples_alone()
    from keyturn.grants.requests import is_open, list_requests
    from keyturn.rotation.state.grant_store import GrantStage, list_grants

    grants, malformed = list_grants(workspace)
    requests, wrong = list_requests(workspace)
    for problem in (*malformed, *wrong):
        raise problem
    granted = {grant.request for grant in grants}
    stages = Counter(str(grant.stage) for grant in grants)
    open_stages = (GrantStage.ISSUING, GrantStage.ACTIVE, GrantStage.ENDING)
    waiting = sum(request.id not in granted and is_open(workspace, request) for request in requests)
    return samples_alone(
        grants={(str(stage),): stages[str(stage)] for stage in open_stages}, grants_waiting={(): waiting}
    )


def review_numbers(workspace: "Workspace") -> Numbers:
    from keyturn.grants.reviews import list_broken_access
    from keyturn.rotation.state.break_glass import list_broken

    broken = [*list_broken(workspace), *list_broken_access(workspace)]
    return samples_alone(unreviewed={(): sum(not glass.reviewed_by for glass in broken)})


def key_numbers(workspace: "Workspace") -> Numbers:
    from keyturn.cli.keys.commands import keys_of
    from keyturn.cli.keys.own_keys import is_late as key_is_late
    from keyturn.cli.keys.own_keys import own_keys_of

    now, own, managed = workspace.hub_now(), own_keys_of(workspace), keys_of(workspace)
    fingerprints = workspace.fingerprint_keys
    return samples_alone(
        own_keys=counted(str(key.state) for key in own),
        own_keys_late={(): sum(key_is_late(key, now) for key in own)},
        fingerprint_key_age_seconds={(): (now - fingerprints.used_since).total_seconds()},
        managed_keys=counted(str(key.standing) for key in managed),
        managed_keys_due={(): sum(key.due(now) for key in managed)},
    )


def counted(names: Iterable[str]) -> Samples:
    return {(name,): count for name, count in Counter(names).items()}


def authority_numbers(workspace: "Workspace") -> Numbers:
    from keyturn.cli.setup.pki import authorities_of

    now, listed = workspace.hub_now(), authorities_of(workspace)
    return samples_alone(
        authority_end_seconds={(a.name,): (a.issuer.ends_at - now).total_seconds() for a in listed if a.issuer},
        authority_alarm={(a.name,): float(bool(a.alarm)) for a in listed},
    )


def part_numbers(workspace: "Workspace") -> Numbers:
    from keyturn.serving.statuses import part_statuses

    listed = part_statuses(workspace)
    return samples_alone(
        part_up={(part.part,): float(part.running) for part in listed if part.running is not None},
        part_problem={(part.part,): float(bool(part.problem)) for part in listed},
    )


def hub_numbers(workspace: "Workspace") -> Numbers:
    """Collect the last daily check, if the catalogue sets up the hub, and whether a restored hub needs `recover`."""
    mark = read_mark(workspace.hub)
    restored: dict[str, Samples] = {"hub_to_recover": {(): float(bool(mark and mark.to_do))}}
    if not workspace.catalogue.hub:
        return Numbers(restored, {})
    from keyturn.cli.secrets.overview import HubStatus
    from keyturn.rights.hub_check import last_check

    status = HubStatus(workspace.hub_now(), last_check(workspace))
    return Numbers({**restored, "hub_setup_sound": {(): float(not status.problem)}}, {})
