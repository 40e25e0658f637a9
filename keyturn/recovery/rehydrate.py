"""Refills an empty hub from the copies in the stores.

It writes only secrets without a version in the hub. It never takes a refused, revoked or changed value. After an
interrupted run, the next one continues.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from keyturn.core.errors import Conflict, KeyturnError, unexpected
from keyturn.core.fingerprint import vouches
from keyturn.core.fingerprint_keys import FingerprintKeys
from keyturn.core.ports.hub import EXPIRES_AT, OVERTAKEN, ROTATED_AT, TOKEN, SecretInfo
from keyturn.core.ports.strategies import EXPIRES_AT as EXPIRY_FIELD
from keyturn.core.sensitive import SecretFields
from keyturn.ledger.cuts import Revoked
from keyturn.recovery.rehydrate_copies import (
    AT_ONCE,
    Found,
    HeldCopy,
    SeenCopy,
    Spot,
    Standing,
    fields_alike,
    find_copies,
    greatest_number,
    held_copies,
    same_text,
)
from keyturn.rotation.copies.lineage_check import ledger_versions
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.journal import entry_mark, record_action, written_together
from keyturn.sync.observe import hub_secrets

AT_A_TIME: Final = 100
"""Secrets whose values are in memory together."""

MOST_TRIED: Final = 5
"""The most values of one secret that are tried by a login."""


class Rehydration(StrEnum):
    """The result for one secret."""

    THERE = "there"
    """The hub has it, and it stays as it is."""
    SETTLED = "settled"
    """In the hub from an interrupted run; the missing record of lost versions is written now."""
    READY = "ready"
    """It would be written."""
    WRITTEN = "written"
    UNTESTED = "untested"
    """It is unknown whether the value is in force. ``untested`` takes it."""
    REFUSED = "refused"
    """The target refuses the value, or it was revoked. A new credential is needed."""
    DISAGREE = "disagree"
    """Copies of one version differ, and it is unknown which is right."""
    NOTHING = "nothing"
    """No copy can restore it."""
    UNKNOWN = "unknown"
    """The hub or the stores could not be read."""
    FAILED = "failed"


DONE: Final = frozenset({Rehydration.THERE, Rehydration.SETTLED, Rehydration.READY, Rehydration.WRITTEN})
"""The results that need no action by a person."""


@dataclass(frozen=True)
class Rehydrated:
    """The result for one secret, without values.

    ``source`` is the copy taken, ``held`` the version in its marks. ``login`` is None where unknown. ``proven``: its
    fingerprint matches its marks. ``agree`` are other copies of the same value. ``equal``: the written value was read
    back unchanged.
    """

    path: str
    verdict: Rehydration
    why: str = ""
    source: str = ""
    held: int = 0
    proven: bool = False
    whole: bool = True
    login: bool | None = None
    agree: tuple[str, ...] = ()
    copies: tuple[SeenCopy, ...] = ()
    version: int = 0
    fingerprint: str = ""
    equal: bool = False


@dataclass(frozen=True)
class Candidate:
    """One value of a secret, and its copies. ``whole``: no field can be missing."""

    sources: tuple[HeldCopy, ...]
    fields: SecretFields = field(repr=False)
    whole: bool

    @property
    def first(self) -> SeenCopy:
        """The copy that names its version."""
        return self.sources[0].seen

    @property
    def order(self) -> tuple[tuple[float, int], bool, int]:
        """The sort key: the newest is the greatest, then whole values, then the most copies."""
        return self.first.order, self.whole, len(self.sources)

    @property
    def lasting(self) -> bool:
        """Whether one of its copies is updated with each version."""
        return any(copy.lasting for copy in self.sources)


@dataclass(frozen=True)
class Plan:
    """The result for each secret, and everything found."""

    secrets: tuple[Rehydrated, ...]
    found: Found = field(repr=False)

    @property
    def matching(self) -> int:
        """The number of copies with a matching fingerprint."""
        return sum(copy.standing is Standing.PROVEN for secret in self.secrets for copy in secret.copies)

    @property
    def changed(self) -> int:
        """The number of copies with another fingerprint."""
        return sum(copy.standing is Standing.CHANGED for secret in self.secrets for copy in secret.copies)


Report = Callable[[Rehydrated], None]


@dataclass(frozen=True)
class LedgerWords:
    """A secret's newest version and last revocation. ``unread`` is why the ledger could not be read."""

    newest: int = 0
    revoked: Revoked | None = None
    unread: str = ""


def rehydrate(
    workspace: Workspace,
    keys: FingerprintKeys | None,
    revoked: Mapping[str, Revoked] | KeyturnError,
    *,
    apply: bool = False,
    untested: bool = False,
    report: Report = lambda _: None,
) -> Plan:
    """Return the result for each secret of an empty hub; with ``apply``, write the secrets.

    Without ``keys`` nothing is proven. ``revoked`` comes from :func:`keyturn.ledger.cuts.revoked_secrets`.
    ``untested`` takes values not known to be in force. Raises what prevents reading the hub; other errors are in the
    results.
    """
    copies = find_copies(workspace)
    infos = hub_secrets(workspace, None)
    outside = ledger_versions(workspace, copies.spots.keys())
    unread = next((error.problem for error in (revoked, outside.error) if isinstance(error, KeyturnError)), "")
    cuts = {} if isinstance(revoked, KeyturnError) else revoked
    done: list[Rehydrated] = []
    with written_together(workspace):
        for batch in batches(copies.spots):
            try:
                held = held_copies(workspace, batch, keys)
            except Exception as error:  # noqa: BLE001  its text could hold a value
                done += (Rehydrated(path, Rehydration.FAILED, str(unexpected(error))) for path in batch)
                continue

            def fill(path: str, held: Mapping[str, Sequence[SeenCopy | HeldCopy]] = held) -> Rehydrated:
                newest = outside.of[path].version if path in outside.of else 0
                words = LedgerWords(newest, cuts.get(path), unread)
                shown = tuple(held[path])
                if error := infos.error(path):
                    return Rehydrated(path, Rehydration.UNKNOWN, str(error), copies=without_values(shown))
                info = infos.get(path)
                there = info if info and info.versions else None
                return fill_secret(workspace, path, shown, words, there, apply=apply, untested=untested)

            for result in side_by_side(fill, list(batch), AT_ONCE):
                done.append(result)
                report(result)
    return Plan(tuple(done), copies)


def batches(spots: Mapping[str, Sequence[Spot]]) -> Iterator[dict[str, Sequence[Spot]]]:
    """All secrets, AT_A_TIME per batch."""
    paths = iter(sorted(spots))
    while some := list(islice(paths, AT_A_TIME)):
        yield {path: spots[path] for path in some}


def without_values(copies: Sequence[SeenCopy | HeldCopy]) -> tuple[SeenCopy, ...]:
    """The copies without their values."""
    return tuple(copy.seen if isinstance(copy, HeldCopy) else copy for copy in copies)


def fill_secret(
    workspace: Workspace,
    path: str,
    copies: Sequence[SeenCopy | HeldCopy],
    words: LedgerWords,
    there: SecretInfo | None,
    *,
    apply: bool,
    untested: bool,
) -> Rehydrated:
    """The result for one secret; an error is part of it."""
    shown = without_values(copies)
    try:
        candidates = candidates_of(copies)
        if there is not None:
            return left_alone(workspace, there, candidates, shown, words.newest, apply=apply)
        chosen = choose_candidate(workspace, path, candidates, shown, words, untested=untested)
        if chosen.verdict is not Rehydration.READY or not apply:
            return chosen
        candidate = next(candidate for candidate in candidates if candidate.first.place == chosen.source)
        return write(workspace, chosen, candidate, max(words.newest, greatest_number(shown)))
    except KeyturnError as error:
        return Rehydrated(path, Rehydration.FAILED, error.text, copies=shown)
    except Exception as error:  # noqa: BLE001  its text could hold a value, and it stops no other secret
        return Rehydrated(path, Rehydration.FAILED, str(unexpected(error)), copies=shown)


def candidates_of(copies: Sequence[SeenCopy | HeldCopy]) -> list[Candidate]:
    """The distinct values that the copies yield, newest first."""
    held = [copy for copy in copies if isinstance(copy, HeldCopy) and copy.parts is not None]
    made: list[Candidate] = []
    for copy in sorted((copy for copy in held if copy.whole), key=lambda copy: copy.seen.place):
        fields = SecretFields(dict(copy.parts or {}))
        for index, other in enumerate(made):
            if other.first.order == copy.seen.order and fields_alike(other.fields, fields):
                made[index] = Candidate((*other.sources, copy), other.fields, whole=True)
                break
        else:
            made.append(Candidate((copy,), fields, whole=True))
    made += assembled([copy for copy in held if not copy.whole], {candidate.first.order for candidate in made})
    return sorted(made, key=lambda candidate: candidate.order, reverse=True)


def assembled(parts: Sequence[HeldCopy], whole: set[tuple[float, int]]) -> Iterator[Candidate]:
    """The values assembled from parts of a version without a whole copy.

    It skips versions whose parts disagree.
    """
    by_version: dict[tuple[float, int], list[HeldCopy]] = {}
    for copy in sorted(parts, key=lambda copy: (copy.destination.shape.field == "", copy.seen.place), reverse=True):
        by_version.setdefault(copy.seen.order, []).append(copy)
    for order, several in by_version.items():
        fields: dict[str, Any] = {}
        for copy in several:
            fields = {**(copy.parts or {}), **fields}
        if order not in whole and all(same_text(copy.destination, copy.text, SecretFields(fields)) for copy in several):
            yield Candidate(tuple(several), SecretFields(fields), whole=False)


def choose_candidate(
    workspace: Workspace,
    path: str,
    candidates: Sequence[Candidate],
    shown: tuple[SeenCopy, ...],
    words: LedgerWords,
    *,
    untested: bool,
) -> Rehydrated:
    """The value that is taken, or why none is."""
    if not candidates:
        return without_candidate(path, shown)
    refused: list[str] = []
    for candidate in candidates[:MOST_TRIED]:
        if words.revoked and words.revoked.covers(candidate.first.version):
            leaked = f"what {candidate.first.place} holds of version {candidate.first.version} was revoked"
            refused.append(f"{leaked} ({words.revoked.incident})")
            continue
        if needs := lacking(workspace, path, candidate):
            refused.append(f"{candidate.first.place} lacks {needs}")
            continue
        login, why = tried(workspace, path, candidate.fields)
        if login is False:
            refused.append(f"what {candidate.first.place} holds of version {candidate.first.version} is refused")
            continue
        rivals = rivals_of(candidate, candidates)
        chosen = Rehydrated(
            path,
            Rehydration.READY,
            "; ".join(refused),
            candidate.first.place,
            candidate.first.version,
            candidate.first.standing is Standing.PROVEN,
            candidate.whole,
            login,
            agreeing(candidate, shown, candidates),
            shown,
        )
        if login:
            return chosen
        if rivals and not chosen.proven:
            rivalry = f"of version {chosen.held} they hold different values: {', '.join([chosen.source, *rivals])}"
            return altered(chosen, Rehydration.DISAGREE, rivalry)
        doubts = doubts_of(chosen, candidate, candidates, shown, words, why)
        return chosen if untested or not doubts else altered(chosen, Rehydration.UNTESTED, doubts)
    dead = any("is refused" in word or "was revoked" in word for word in refused)
    verdict = Rehydration.REFUSED if dead else Rehydration.NOTHING
    return Rehydrated(path, verdict, "; ".join(refused), copies=shown)


def altered(chosen: Rehydrated, verdict: Rehydration, why: str) -> Rehydrated:
    """The same with another verdict, keeping the earlier ``why``."""
    words = "; ".join(filter(None, (chosen.why, why)))
    return Rehydrated(**{**vars(chosen), "verdict": verdict, "why": words})


def without_candidate(path: str, shown: tuple[SeenCopy, ...]) -> Rehydrated:
    """The result for a secret without a usable or readable copy."""
    words = "; ".join(f"{copy.place}: {copy.why or 'it is made by a template'}" for copy in shown)
    unseen = any(copy.standing is Standing.UNSEEN for copy in shown)
    verdict = Rehydration.UNKNOWN if unseen else Rehydration.NOTHING
    return Rehydrated(path, verdict, words or "no store has a copy of it", copies=shown)


def lacking(workspace: Workspace, path: str, candidate: Candidate) -> str:
    """The credential fields that an assembled value lacks."""
    if candidate.whole or path not in workspace.catalogue.secrets:
        return ""
    fields = workspace.open_strategy(path).credential_fields
    return ", ".join(sorted(set(fields) - set(candidate.fields)))


def tried(workspace: Workspace, path: str, fields: SecretFields) -> tuple[bool | None, str]:
    """Whether the target accepts this value; None, with the reason, where unknown."""
    if path not in workspace.catalogue.secrets:
        return None, "the catalogue does not say what it is for"
    try:
        lives = workspace.open_strategy(path).accepts(fields)
    except KeyturnError as error:
        return None, f"its target could not be asked: {error.text}"
    return lives, "" if lives is not None else "no login can test it"


def rivals_of(candidate: Candidate, candidates: Sequence[Candidate]) -> list[str]:
    """The places that hold another value of the same version."""
    alike = (other for other in candidates if other is not candidate and other.first.order == candidate.first.order)
    return [other.first.place for other in alike if not fields_alike(other.fields, candidate.fields)]


def agreeing(candidate: Candidate, shown: Sequence[SeenCopy], candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """The other copies of the value: its own, and proven ones of the same version."""
    own = {copy.seen.place for copy in candidate.sources}
    proven = {
        copy.place
        for copy in shown
        if copy.standing is Standing.PROVEN and candidate.first.standing is Standing.PROVEN
        if copy.order == candidate.first.order
    }
    others = {other.first.place for other in candidates if other is not candidate}
    return tuple(sorted((own | (proven - others)) - {candidate.first.place}))


def doubts_of(
    chosen: Rehydrated,
    candidate: Candidate,
    candidates: Sequence[Candidate],
    shown: Sequence[SeenCopy],
    words: LedgerWords,
    untried: str,
) -> str:
    """Why an untested value may not be in force; empty for no doubt."""
    doubts = []
    if not chosen.proven:
        doubts.append(f"not proven, since the key of the fingerprints is missing, and {untried}")
    if not candidate.whole:
        doubts.append("it is made of single fields, and it is unknown whether there were more")
    if not candidate.lasting:
        doubts.append("its copy keeps the first value that it was given")
    if candidate is not candidates[0]:
        doubts.append("a newer value was refused")
    if words.unread:
        doubts.append(f"the ledger, which may have a later version or a revocation, was not read: {words.unread}")
    if words.newest > candidate.first.version:
        doubts.append(
            f"the ledger knows version {words.newest}, and the copies are of version {candidate.first.version}"
        )
    newer = [copy.place for copy in shown if copy.order > candidate.first.order and copy.standing is Standing.CHANGED]
    if newer:
        doubts.append(f"{', '.join(newer)} bore a newer version, and was changed since")
    if unseen := [copy.place for copy in shown if copy.standing is Standing.UNSEEN]:
        doubts.append(f"{', '.join(unseen)} could not be looked at, and may be newer")
    return "; ".join(doubts)


def write(workspace: Workspace, chosen: Rehydrated, candidate: Candidate, lost: int) -> Rehydrated:
    """Write the secret to the hub, record the lost versions, and read it back."""
    proof = "proven by its fingerprint" if chosen.proven else "not proven"
    login = {True: "it logs in", False: "", None: "not tried by a login"}[chosen.login]
    note = f"it was version {chosen.held}, {proof}, {login}"
    with record_action(workspace, "rehydrate", chosen.path, place=chosen.source, note=note) as doing:
        try:
            version = workspace.hub.write(chosen.path, candidate.fields, cas=0)
        except Conflict:
            problem, hint = (
                "it was written in the meantime",
                "Nothing was overwritten. Look again: keyturn repair rehydrate",
            )
            raise Conflict("rehydrate", chosen.path, problem, hint) from None
        settle(workspace, chosen.path, version, candidate, lost)
        doing.version, doing.fingerprint = version, workspace.fingerprint(chosen.path, candidate.fields)
        stored = workspace.hub.read(chosen.path)
        equal = stored is not None and vouches(doing.fingerprint, workspace.fingerprint(chosen.path, stored.fields))
    changes = {"verdict": Rehydration.WRITTEN, "version": version, "fingerprint": doing.fingerprint, "equal": equal}
    return Rehydrated(**{**vars(chosen), **changes})


def settle(workspace: Workspace, path: str, version: int, candidate: Candidate, lost: int) -> None:
    """Write the value's age, expiry and last lost version to the secret's metadata.

    The age is that of the copied version, by the hub's clock.
    """
    plain = candidate.fields.reveal()
    made = plain.get("rotated_at") or isoformat(candidate.first.created_at)
    newest: dict[str, str | None] = {ROTATED_AT: made if isinstance(made, str) else None, TOKEN: str(uuid.uuid4())}
    if isinstance(end := plain.get(EXPIRY_FIELD), str):
        newest[EXPIRES_AT] = end
    if lost > version:
        newest[OVERTAKEN] = str(lost)
    custom = {name: text for name, text in newest.items() if text is not None}
    workspace.hub.patch_metadata(path, {**custom, **entry_mark({}, version)})


def isoformat(moment: datetime | None) -> str | None:
    """A time as metadata holds it."""
    return moment.isoformat() if moment else None


def left_alone(
    workspace: Workspace,
    there: SecretInfo,
    candidates: Sequence[Candidate],
    shown: tuple[SeenCopy, ...],
    newest: int,
    *,
    apply: bool,
) -> Rehydrated:
    """The result for a secret in the hub, after writing metadata that an interrupted run left out."""
    lost = max(newest, greatest_number(shown))
    if lost <= max(there.version, there.overtaken):
        return Rehydrated(there.path, Rehydration.THERE, copies=shown, version=there.version)
    current = workspace.hub.read(there.path) if there.served else None
    same = next(
        (candidate for candidate in candidates if current and fields_alike(candidate.fields, current.fields)), None
    )
    if same is None or same is not candidates[0]:
        why = f"the hub is at version {there.version}, and {lost} is known: keyturn repair recover {there.path}"
        return Rehydrated(there.path, Rehydration.THERE, why, copies=shown, version=there.version)
    if apply:
        settle(workspace, there.path, there.version, same, lost)
    chosen = Rehydrated(there.path, Rehydration.SETTLED, "", same.first.place, same.first.version, copies=shown)
    return Rehydrated(**{**vars(chosen), "version": there.version, "equal": True})
