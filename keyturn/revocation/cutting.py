"""Ending every credential of a secret at its target: what an intruder notices first."""

import uuid
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from keyturn.core.errors import Conflict, KeyturnError, Superseded
from keyturn.core.hub import HubSecret
from keyturn.core.record import IN_FORCE, Record, Rotation, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.core.strategies import Cut, Strategy
from keyturn.revocation.doing import Done
from keyturn.revocation.incident import Incident, Old, Progress
from keyturn.revocation.selecting import fingerprints, versions
from keyturn.revocation.state import advance
from keyturn.rotation.abandon import fence
from keyturn.rotation.attempt import Attempt
from keyturn.rotation.context import Keyturn
from keyturn.rotation.guard import moved
from keyturn.rotation.recorded import recorded
from keyturn.rotation.records import load, rewrite
from keyturn.strategies.accounts import username

CUTS: Final = uuid.UUID("3f0f6c0e-64a5-5d8e-8a0e-0c9d9a6f3b52")
"""Namespace of the tokens of cuts (RFC 9562, version 5): the same for every run of an incident."""


def token_of(incident: str, path: str) -> str:
    """The token of an incident's cut of a secret."""
    return str(uuid.uuid5(CUTS, f"{incident}\n{path}"))


def cut(keyturn: Keyturn, incident: Incident, known: Progress, done: Done) -> None:
    """End all that the secret's versions, and a candidate, let anybody do, CURRENT first.

    From here on no rotation of the secret goes on but the revocation's own. Raises what hinders it while the target
    takes CURRENT still: then the secret stays in the revocation's hands. Where only sessions could not be ended, the
    secret is free to be replaced, and they are tried again.
    """
    path, place = known.path, place_of(keyturn, known.path)
    record = seize(keyturn, incident, path)
    held = record.rotation is not None and record.rotation.token == token_of(incident.id, path)
    with recorded(keyturn, "cut", path, place=place, note=incident.id) as doing:
        ended = end_all(keyturn, path, record) if held else end_again(keyturn, incident, path, record)
        cut_at, refused = keyturn.clock(), refuses(keyturn, path)
        if held and ended.errors and not refused:
            raise ended.errors[0]
        doing.note = "; ".join((incident.id, *(error.problem for error in ended.errors)))
    for error in ended.errors:
        done.failed(place, error)
    for error in ended.overtaken:
        done.stays(place, f"sessions of the old credential can't be told from those of the new one: {error.problem}")
    outlives = (said for one in ended.cuts for said in one.outlives)
    done.changes = {"sessions": known.sessions + ended.sessions, "outlives": unique(*known.outlives, *outlives)}
    if held:
        done.changes |= {"token": token_of(incident.id, path), "old": known_values(keyturn, path, record)}
        done.changes |= {"cut_at": cut_at} | ({"refused_at": keyturn.clock()} if refused else {})
        # The values are looked for later by what is noted here, so it is noted before the secret is let go.
        advance(keyturn, incident, path, lambda one: one.having(**done.changes))
        release(keyturn, path, record)
    done.did(place, f"every credential of it is ended{f', {ended.sessions} sessions too' if ended.sessions else ''}")


def unique(*said: str) -> tuple[str, ...]:
    """Each once, in their order."""
    return tuple(dict.fromkeys(said))


def refuses(keyturn: Keyturn, path: str) -> bool:
    """Whether the target is seen to refuse what CURRENT holds; it is asked again before anything is destroyed."""
    current = keyturn.hub.read(path)
    try:
        return current is not None and keyturn.open_strategy(path).honours(current.fields) is False
    except KeyturnError:
        return False


def place_of(keyturn: Keyturn, path: str) -> str:
    """The target's name in the catalogue; empty for a secret without one."""
    return str(getattr(keyturn.secret(path).rotation, "target", ""))


# --- the record is the lock --------------------------------------------------------------------------------


def seize(keyturn: Keyturn, incident: Incident, path: str) -> Record:
    """Take the secret's record, whoever holds it: from here on every other run is refused. Taken before is success."""
    token = token_of(incident.id, path)
    while True:
        record = load(keyturn, path)
        tokens = {past.token for past in record.history} | ({record.rotation.token} if record.rotation else set())
        if token in tokens:
            return record
        try:
            return rewrite(keyturn, path, record.seized(cutting(keyturn, incident, path, record), incident.id))
        except Conflict:
            continue  # the other run's last word is part of what is ended


def cutting(keyturn: Keyturn, incident: Incident, path: str, record: Record) -> Rotation:
    """What stands in the record while credentials are ended; its number is above every earlier rotation's."""
    stood = here(keyturn, path, record.rotation)
    return Rotation(
        token=token_of(incident.id, path),
        sequence=record.version + 1,
        stage=Stage.CUTTING,
        strategy=keyturn.secret(path).rotation.strategy,
        reason="Revoked",
        holder=keyturn.holder,
        opened_at=keyturn.clock(),
        base_version=newest(keyturn, path),
        ends=stood.ends if stood and stood.stage in IN_FORCE else {},
        note=f"incident {incident.id}",
        target=keyturn.target(path),
        urgent=True,
    )


def here(keyturn: Keyturn, path: str, rotation: Rotation | None) -> Rotation | None:
    """The rotation, where the catalogue still leads to the target that it worked at."""
    return rotation if rotation and not moved(keyturn, path, rotation) else None


def newest(keyturn: Keyturn, path: str) -> int:
    """The number of the hub's newest version, 0 where there is none."""
    info = keyturn.hub.describe(path)
    return info.version if info else 0


def release(keyturn: Keyturn, path: str, record: Record) -> None:
    """Let the record say that all is ended; whatever version the hub has now is dead. Released before is success."""
    if record.rotation is None:
        return
    over = record.rotation.to(Stage.CUT, closed_at=keyturn.clock(), base_version=newest(keyturn, path))
    with suppress(Conflict):  # another run of the same incident was faster
        rewrite(keyturn, path, record.having(over))


# --- at the target -----------------------------------------------------------------------------------------


@dataclass
class Ended:
    """What became of several credentials; ``overtaken`` are those on whose account a newer one is in force by now."""

    cuts: list[Cut] = field(default_factory=list)
    errors: list[KeyturnError] = field(default_factory=list)
    overtaken: list[Superseded] = field(default_factory=list)

    @property
    def sessions(self) -> int:
        """How many were ended with them."""
        return sum(one.sessions for one in self.cuts)

    def trying(self, work: Callable[[], Cut]) -> None:
        """End one; one that can't be ended stops no other."""
        try:
            self.cuts.append(work())
        except KeyturnError as error:
            self.errors.append(error)


def end_all(keyturn: Keyturn, path: str, record: Record) -> Ended:
    """End every credential that the hub knows of, and what only the interrupted rotation knew of."""
    ended, rotation, strategy = Ended(), record.rotation, keyturn.open_strategy(path)
    if rotation is None:
        return ended
    if record.candidate:
        fence(keyturn, Attempt(path, record, keyturn.hub.read(path)))
    for fields in distinct(strategy, doomed(keyturn, path, record)):
        ended.trying(lambda fields=fields: strategy.cut(fields, rotation.sequence))  # type: ignore[misc]
    ended.trying(lambda: end_interrupted(strategy, record, rotation))
    return ended


def end_again(keyturn: Keyturn, incident: Incident, path: str, record: Record) -> Ended:
    """Once more what could not be ended wholly, such as sessions: of versions that the cut was about, not of newer."""
    ended, strategy = Ended(), keyturn.open_strategy(path)
    rotation = next(past for past in record.history if past.token == token_of(incident.id, path))
    old = (one.fields for one in versions(keyturn, path) if one.version <= rotation.base_version)
    for fields in distinct(strategy, old):
        ended.trying(lambda fields=fields: strategy.cut(fields, rotation.sequence))  # type: ignore[misc]
    ended.overtaken = [error for error in ended.errors if isinstance(error, Superseded)]
    ended.errors = [error for error in ended.errors if not isinstance(error, Superseded)]
    return ended


def end_interrupted(strategy: Strategy, record: Record, rotation: Rotation) -> Cut:
    """End what only the rotation that was interrupted knew of: the credential before it, a mint nobody saved."""
    if rotation.ends:
        strategy.revoke(rotation.ends, rotation.sequence)
    stood = next((past for past in reversed(record.history) if past.closed_at == rotation.opened_at), None)
    if stood and stood.version is None and record.candidate is None and strategy.mints_at_target:
        strategy.sweep(stood.before, ())
    return Cut()


def doomed(keyturn: Keyturn, path: str, record: Record) -> Iterator[SecretFields]:
    """What every version holds, CURRENT first, and the candidate that nobody has had yet."""
    yield from (version.fields for version in versions(keyturn, path))
    if record.candidate:
        yield record.candidate


def distinct(strategy: Strategy, found: Iterator[SecretFields]) -> Iterator[SecretFields]:
    """One of each credential as its target names it, else the newest of each account; what has no name at all, all."""
    seen: set[Hashable] = set()
    for fields in found:
        name = tuple(sorted(strategy.ends(fields).items())) or username(fields) or len(seen)
        if name not in seen:
            seen.add(name)
            yield fields


def known_values(keyturn: Keyturn, path: str, record: Record) -> tuple[Old, ...]:
    """The fingerprints of all that was ended, by which it is looked for afterwards."""
    found = [Old(version.version, fingerprints(keyturn, version)) for version in versions(keyturn, path)]
    if record.candidate:
        current = keyturn.hub.read(path)
        whole = (current.fields if current else SecretFields({})).merged(record.candidate)
        found.append(Old(0, fingerprints(keyturn, HubSecret(path, 0, whole))))
    return tuple(found)
