"""Compares the ledger with the hub: versions without entries, and entries without versions.

Unreadable parts never count as correct. Only fingerprints of CURRENT are compared.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.fingerprint import is_noted
from keyturn.core.issued_tokens import IssuedToken
from keyturn.core.ports.hub import HubSecret, SecretInfo, SecretsPort, VersionInfo, entries_by_version
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.core.sensitive import SecretFields
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.ports import LedgerSource
from keyturn.ledger.verify import Problem

RENAME: Final = "rename"
WRITES: Final = ("promote", "recover", "rehydrate", "revert", "import", RENAME)
"""The actions whose entries record a version they wrote."""
INCIDENT: Final = "open incident"
"""The action that opens a revocation and writes new CURRENTs. It names no secret."""
ENDS: Final = ("forget", "let go", "cut", "revoke")
"""The prefixes of actions that may remove a secret or version."""

ASKING: Final = ("install", "give access")
"""The actions whose notes end with the requesting token's accessor."""
TOKEN: Final = re.compile(r"(?:^|, )token (\S+)$")
SETTLED: Final = timedelta(minutes=1)
"""Younger versions are not compared, since a write may be running."""
AT_ONCE: Final = 8


@dataclass(frozen=True)
class HubComparison:
    """The number of compared secrets, the problems, and why some were not read."""

    secrets: int
    problems: tuple[Problem, ...]
    unseen: tuple[str, ...]


@dataclass
class _Told:
    """A secret's entries by version, and the last that may have removed it.

    ``carried`` is the last version that a rename copied.
    """

    by_version: dict[int, tuple[int, Entry]] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)
    ended: int = 0
    carried: int = 0


@dataclass(frozen=True)
class _Secret:
    """What the hub shows of one secret; ``error`` where it shows nothing."""

    info: SecretInfo | None = None
    current: HubSecret | None = None
    error: str = ""


@dataclass(frozen=True)
class HubToCompare:
    """The hub, and which secrets, fingerprints and ledgers to compare.

    People write ``by_hand`` secrets themselves. ``incidents`` are the entries that open revocations, ``opened`` the
    hub's revocations with their start.
    """

    hub: SecretsPort
    paths: Collection[str]
    fingerprint: Callable[[str, SecretFields], str]
    ledgers: Collection[str]
    now: datetime
    by_hand: Collection[str] = ()
    incidents: Collection[int] = ()
    opened: Mapping[str, datetime] = field(default_factory=dict)
    tokens: Collection[IssuedToken] = ()
    """The live tokens with which Keyturn requests leases and credentials of grants."""


def compare_with_hub(source: LedgerSource, there: HubToCompare) -> HubComparison:
    """Compare every secret with its entries. Raises what the ledger raises."""
    shown = _looked_at(there)
    histories, began, revocations, askers = _told(source)
    there = replace(there, incidents=histories.pop("", _Told()).begun)
    paths = sorted({*there.paths, *histories})
    shown |= _looked_at(there, [path for path in paths if path not in shown])
    problems = [
        problem
        for path in paths
        if not shown[path].error
        for problem in _problems(path, shown[path], histories.get(path, _Told()), began, there)
    ]
    problems += _unknown_incidents(there, revocations, began)
    problems += _unknown_tokens(there, askers, began)
    unseen = tuple(f"{path}: {shown[path].error}" for path in paths if shown[path].error)
    return HubComparison(len(paths), tuple(problems), unseen)


def _looked_at(there: HubToCompare, paths: Collection[str] | None = None) -> dict[str, _Secret]:
    listed = sorted(there.paths if paths is None else paths)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(listed, pool.map(lambda path: _look(there.hub, path), listed), strict=True))


def _look(hub: SecretsPort, path: str) -> _Secret:
    try:
        info = hub.describe(path)
        return _Secret(info, hub.read(path) if info and info.served else None)
    except KeyturnError as error:
        return _Secret(error=error.problem)


def _unknown_incidents(there: HubToCompare, recorded: Collection[str], began: datetime | None) -> list[Problem]:
    """The revocations since the first entry that no entry records."""
    since = [name for name, at in there.opened.items() if began and began < at <= there.now - SETTLED]
    return [
        Problem(f"the incident {name} of {there.opened[name]:%Y-%m-%d %H:%M:%S} UTC is in the hub, and in no entry")
        for name in sorted(set(since).difference(recorded))
    ]


def _unknown_tokens(there: HubToCompare, recorded: Collection[str], began: datetime | None) -> Iterator[Problem]:
    """The tokens since the first entry that no entry names, as after use outside Keyturn."""
    for token in there.tokens:
        if began and began < token.issued_at <= there.now - SETTLED and token.accessor not in recorded:
            made = f"the token with the lease {token.lease_id}, made {token.issued_at:%Y-%m-%d %H:%M:%S} UTC"
            hint = "See docs/stolen-access.md, Tokens that nothing records"
            yield Problem(f"{made}, is in the hub, and no entry names it", hint=hint)


def _told(source: LedgerSource) -> tuple[dict[str, _Told], datetime | None, set[str], set[str]]:
    """The entries by secret, the first time, and the revocations and tokens."""
    histories: dict[str, _Told] = defaultdict(_Told)
    revocations: set[str] = set()
    askers: set[str] = set()
    began: datetime | None = None
    for sequence, leaf in source.leaves():
        try:
            entry = parse_leaf(leaf).entry
        except Invalid:
            continue  # the verifier reports it
        began = began or entry.time
        if entry.action == INCIDENT and entry.outcome is not Outcome.DENIED:
            revocations.add(entry.note.partition(":")[0])
        if entry.action in ASKING and (named := TOKEN.search(entry.note)):
            askers.add(named[1])
        if entry.outcome is Outcome.BEGUN and (entry.secret or entry.action == INCIDENT):
            histories[entry.secret].begun.add(sequence)
        if not entry.secret:
            continue
        if entry.action in WRITES and entry.outcome is Outcome.DONE and entry.version:
            histories[entry.secret].by_version[entry.version] = (sequence, entry)
        if entry.action == RENAME and entry.outcome is Outcome.DONE:
            histories[entry.secret].carried = max(histories[entry.secret].carried, entry.version)
        if entry.action.startswith(ENDS):
            histories[entry.secret].ended = sequence
    return histories, began, revocations, askers


def _problems(
    path: str, secret: _Secret, history: _Told, began: datetime | None, there: HubToCompare
) -> Iterator[Problem]:
    info = secret.info
    versions = info.versions if info else ()
    if began and path not in there.by_hand:
        untold = [version for version in versions if began < version.created_at <= there.now - SETTLED]
        yield from _untold(path, info, untold, history, there)
    yield from _gone(path, info, history, there)
    if secret.current:
        yield from _differing(path, secret.current, history, there)


def _untold(
    path: str, info: SecretInfo | None, versions: Collection[VersionInfo], history: _Told, there: HubToCompare
) -> Iterator[Problem]:
    """The hub's versions without an entry. Naming the announcing entry counts."""
    named = entries_by_version(info.custom) if info else {}
    for version in versions:
        if version.version in history.by_version or version.version <= history.carried:
            continue
        ledger, number = named.get(version.version, ("", 0))
        if ledger in there.ledgers and (number in history.begun or number in there.incidents):
            continue
        made = f"version {version.version} of {path}, made {version.created_at:%Y-%m-%d %H:%M:%S} UTC"
        if ledger and ledger not in there.ledgers:
            yield Problem(f"{made}, was done under another ledger, {ledger}")
        else:
            yield Problem(f"{made}, is in the hub, and no entry records it")


def _gone(path: str, info: SecretInfo | None, history: _Told, there: HubToCompare) -> Iterator[Problem]:
    """The newest recorded version, where the hub no longer has it."""
    newest = max(history.by_version, default=0)
    sequence, entry = history.by_version.get(newest, (0, None))
    if entry is None or entry.time > there.now - SETTLED or newest <= (info.overtaken if info else 0):
        return
    if info is None or info.version < newest:
        newest_there = f"the hub's newest is {info.version}" if info and info.version else "the hub has none of it"
        if info or history.ended < sequence:
            problem = f"entry {sequence} records version {newest} of {path}, and {newest_there}"
            yield Problem(f"{problem}: an older state was put back, or it was deleted", sequence, sequence)
    elif history.ended < sequence and (
        gone := [each for each in info.versions if each.version == newest and not each.readable]
    ):
        yield Problem(
            f"version {newest} of {path} is {gone[0].state} in the hub, and no entry records that", sequence, sequence
        )


def _differing(path: str, current: HubSecret, history: _Told, there: HubToCompare) -> Iterator[Problem]:
    """CURRENT, where its value differs from the recorded fingerprint."""
    sequence, entry = history.by_version.get(current.version, (0, None))
    if entry and entry.fingerprint and not is_noted([entry.fingerprint], there.fingerprint(path, current.fields)):
        problem = f"version {current.version} of {path} holds another value than entry {sequence} records"
        yield Problem(problem, sequence, sequence)
