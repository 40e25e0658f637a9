"""A plan: the present and wanted state of each copy, and the action."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

from keyturn.catalogue.destinations import Destination, FieldPattern, Update
from keyturn.catalogue.operator.policy import VARIABLE as POLICY_VARIABLE
from keyturn.core.errors import Denied, KeyturnError, NotFound, unexpected
from keyturn.core.fingerprint import vouches
from keyturn.core.lineage import KnownVersion
from keyturn.core.mounts import DEFAULT
from keyturn.core.plan import WRITES, Action, HubListing, Item, Plan
from keyturn.core.ports.hub import TOKEN, HubSecret, SecretInfo, Survey
from keyturn.core.ports.restored import RestoredMark
from keyturn.core.ports.stores import OwnershipTags, RemoteSecret, Unsupported
from keyturn.core.rotation_record import Record
from keyturn.core.text.path_patterns import apart, covers
from keyturn.core.text.suggest import advice
from keyturn.rotation.copies.added_fields import KEEPS, Grown, keeps
from keyturn.rotation.copies.labels import UNKNOWN_KEY, asks, digest_of, outlived_mark, outlives_copy, wrong_beside
from keyturn.rotation.copies.lineage_check import describe_ahead, ledger_versions, remedy
from keyturn.rotation.copies.previous_version import left_out, marked_version, with_previous
from keyturn.rotation.copies.push import (
    CopyState,
    drifted,
    grown_copy,
    marked,
    ours,
    refusal_of,
    refusal_of_whole,
    stripped,
    text_of,
    theirs,
)
from keyturn.rotation.copies.store_status import left_stores, tombstones
from keyturn.rotation.declared import find_missing_fields
from keyturn.rotation.repair.missing_current import describe_missing, describe_none
from keyturn.rotation.repair.suspect_versions import doubt_of
from keyturn.rotation.state.agreements import REMAINS, agreement_refusal
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.record_store import load_record
from keyturn.settings.stores import Deletion
from keyturn.sync import observe
from keyturn.sync.fields_of_text import parse_fields
from keyturn.sync.lag import behind_words, lost_versions
from keyturn.sync.observe import Holdings
from keyturn.sync.orphans import deletion, kept, left_over, made_here
from keyturn.sync.spread import SpreadPlaces, noted_place, spread_by_fields, unspread_item
from keyturn.sync.wanted import Wanted, item_of, uncompared_item, unknown_item, wants

AT_ONCE: Final = 16
SHOWN: Final = 5
"""Copies that one remark names."""


FIRST_LOOKS: Final = 50
"""Secrets whose fields are compared. `keyturn doctor` reads all."""


def plan(workspace: Workspace, patterns: Sequence[str] = (), *, deep: bool = False, unseen: bool = False) -> Plan:
    """Plan the work for the secrets that match ``patterns``, or for all. Nothing is written.

    Raises NotFound for a pattern without a match. ``deep`` reads each copy separately. ``unseen`` is for plans applied
    at once: values of new copies are not read, so they have no fingerprint yet.
    """
    paths, asked_at = select_paths(workspace, patterns), workspace.hub_now()
    with observe.begun_listings(workspace, workspace.catalogue.stores if paths is None else ()) as listings:
        secrets = observe.hub_secrets(workspace, paths)
        chosen = paths if paths is not None else known(workspace, secrets)
        declared = {path: workspace.catalogue.destinations(path) for path in chosen}
        spread = spread_by_fields(workspace, declared, secrets)
        wanted = list(wants(workspace, spread.places))
        by_store: dict[str, observe.Placements] = defaultdict(list, {store: [] for store in listings})
        for want in wanted:
            by_store[want.place.store].append((want.path, want.place))
        listed = paths is None or len(wanted) > observe.FEW
        holdings = observe.stores(workspace, by_store, listings, listed=listed, deep=deep)
    # Secrets without copies are included: nothing is pushed for them, but applications still read them.
    compared = {want.path for want in wanted} | (set(chosen) if paths is None else set())
    ledger = ledger_versions(workspace, compared)
    lost = lost_versions(workspace, compared, secrets, holdings, ledger.of)
    items = [unknown_item(want, 0, error) for want in wanted if (error := secrets.error(want.path))]
    readable = [want for want in wanted if not secrets.error(want.path)]
    stopped, rest = (
        [want for want in readable if want.path in lost],
        [want for want in readable if want.path not in lost],
    )
    items += [behind(want, secrets[want.path], holdings[want.place.store], lost[want.path]) for want in stopped]
    items += decided(workspace, rest, secrets, holdings, unseen=unseen, deep=deep)
    items += unspread(workspace, spread, holdings)
    if paths is None:
        left = (want for store in sorted(holdings) for want in left_over(workspace, store, holdings[store], wanted))
        # Unreadable is not undeclared.
        items += [it for it in left if not (secrets.error(it.path) or spread.may_own(it.path, it.name))]
    remains = [
        f"{store}:{name} of {path}"
        for store in (sorted(holdings) if paths is None else ())
        for path, name in kept(workspace, store, holdings[store], wanted)
        if not (secrets.error(path) or spread.may_own(path, name))
    ]
    mark, unseen_mark = restore_of(workspace)
    if mark:
        items = [held_back(mark, item, secrets.get(item.path)) for item in items]
    ordered = tuple(sorted(items, key=lambda item: (item.path, item.label)))
    behind_remarks = (behind_words(lost.keys()),) if lost and paths is None else ()
    remarks = (
        *unseen_mark,
        *behind_remarks,
        *unread_remarks(secrets),
        *kept_remarks(remains),
        *(unlisted_remarks(workspace, secrets) if paths is None else ()),
        *remarked(workspace, ledger.error, whole=paths is None),
    )
    fields = field_remarks(workspace, secrets, chosen) if not unseen and workspace.fingerprint_keys.readable else ()
    listing = HubListing(asked_at, secrets)
    lost_secrets = None if ledger.error and not lost else tuple(sorted(lost))
    return Plan(workspace.clock(), tuple(patterns), ordered, deep, (*remarks, *fields), listing, lost_secrets)


def field_remarks(workspace: Workspace, secrets: Survey, paths: Sequence[str]) -> Iterator[str]:
    """Remarks on declared fields that a few unrotated secrets lack."""
    declared = [path for path in paths if path in workspace.catalogue.secrets and path in secrets]
    new = [path for path in declared if secrets[path].served and TOKEN not in secrets[path].custom]
    for path, words in find_missing_fields(workspace, new[:FIRST_LOOKS]).items():
        yield f"{path}: {words}. Its rotation is refused until the entry is corrected"


def restore_of(workspace: Workspace) -> tuple[RestoredMark | None, tuple[str, ...]]:
    """The open mark of a restored hub, and its remarks."""
    try:
        mark = workspace.open_restore()
    except KeyturnError as error:
        return None, (f"nothing is written, since it could not be checked whether the hub was restored: {error}",)
    return mark, (mark.to_do,) if mark else ()


def held_back(mark: RestoredMark, item: Item, info: SecretInfo | None) -> Item:
    """The item in a restored hub: no possibly revoked version is pushed, nothing is deleted."""
    if item.action is Action.DELETE:
        why = (
            f"the hub was restored from {mark.source}: what was declared or written since is not in it. Nothing is"
            " deleted until `keyturn repair recover` has gone through"
        )
        return replace(item, action=Action.BLOCKED, why=why, kind="Ahead", due="")
    doubted = doubt_of(mark, info) if info and item.action in WRITES else None
    if doubted is None:
        return item
    why = f"{describe_ahead(item.path, item.version, doubted)}. {remedy(item.path, doubted)}"
    return replace(item, action=Action.AHEAD, why=why, kind="Ahead", fingerprint="", beside="")


def unread_remarks(secrets: Survey) -> Iterator[str]:
    """Remarks on secrets in unreadable mounts of the hub."""
    for mount, error in secrets.unread.items():
        yield (
            f"nothing is done about the secrets of the mount {mount or DEFAULT}, nor about copies of them that only"
            f" patterns push: {error}"
        )


def kept_remarks(copies: Sequence[str]) -> Iterator[str]:
    """A remark on undeclared copies that no new version reaches."""
    if copies:
        more = f" and {len(copies) - SHOWN} more (see `keyturn scan`)" if len(copies) > SHOWN else ""
        yield (
            f"NOT DECLARED any more, and still there: {', '.join(copies[:SHOWN])}{more}. No new version reaches "
            "them, and their readers are cut off when the credential in them ends. Declare them again, or "
            "delete them there"
        )


def unlisted_remarks(workspace: Workspace, secrets: Mapping[str, SecretInfo]) -> Iterator[str]:
    """A remark on secrets that only a sync's pattern names."""
    if unlisted := sorted(filter(workspace.catalogue.is_unlisted, secrets)):
        more = f" and {len(unlisted) - SHOWN} more" if len(unlisted) > SHOWN else ""
        yield (
            f"NOT COPIED, because they match a sync and are not declared: {', '.join(unlisted[:SHOWN])}{more}. Declare"
            f" them, or ask the operator to list them under `undeclared` in the file that {POLICY_VARIABLE} names"
        )


def remarked(workspace: Workspace, error: KeyturnError | None, *, whole: bool) -> Iterator[str]:
    """Further remarks for people."""
    if error:
        yield f"nothing could be compared with the ledger, which would show that the hub lost versions: {error}"
    try:
        yield from (store.told for store in (left_stores(workspace) if whole else ()))
    except KeyturnError as error:
        yield f"could not check whether a store has left the catalogue with copies in it: {error}"


def behind(want: Wanted, info: SecretInfo, holdings: Holdings, newer: KnownVersion) -> Item:
    """The item for a copy whose newest version the hub has lost: nothing is written."""
    why = f"{describe_ahead(want.path, info.version, newer)}. {remedy(want.path, newer)}"
    return replace(item_of(want, Action.AHEAD, info.version, holdings.of(want.path, want.place), why), kind="Ahead")


def known(workspace: Workspace, secrets: Mapping[str, SecretInfo]) -> list[str]:
    """The catalogue's secrets, and those that only syncs copy."""
    catalogue = workspace.catalogue
    others = (path for path in secrets if path not in catalogue.secrets)
    return sorted({*catalogue.secrets, *(path for path in others if catalogue.destinations(path))})


def select_paths(workspace: Workspace, patterns: Sequence[str]) -> list[str] | None:
    """The matching secrets, or None for all. Raises NotFound."""
    if not patterns:
        return None
    plain = [pattern for pattern in patterns if "*" not in pattern]
    paths = set(plain)
    if len(plain) < len(patterns):
        secrets = observe.hub_secrets(workspace, None)
        everything = known(workspace, secrets)
        for pattern in set(patterns) - paths:
            fitting = {path for path in everything if covers(pattern, path, workspace.catalogue.mounts)}
            if not fitting and (error := secrets.unread.get(apart(pattern)[0])):
                raise error
            if not fitting:
                raise NotFound("plan", pattern, "no secret fits it", advice(pattern, everything, "See the catalogue."))
            paths |= fitting
    for path in plain:
        if not workspace.catalogue.destinations(path):
            workspace.secret(path)  # raises for an undeclared one
    return sorted(paths)


def unspread(workspace: Workspace, spread: SpreadPlaces, holdings: Mapping[str, Holdings]) -> Iterator[Item]:
    """The items of unexpanded patterns."""
    for path, error in spread.unknown.items():
        for pattern in spread.patterns[path]:
            if isinstance(error, Denied) and not workspace.fingerprint_keys.readable:
                yield uncompared_item(Wanted(path, pattern.place), 0, None)
            else:
                yield unspread_item(path, pattern, error)
    for path in spread.absent:
        for pattern in spread.patterns[path]:
            held = holdings[pattern.store].copies.values() if pattern.store in holdings else ()
            copies = [copy for copy in held if copy.marks and copy.marks.source == path and pattern.owns(copy.name)]
            yield from (without_source(workspace, Wanted(path, noted_place(pattern, c.name)), c) for c in copies)
            if not copies:
                yield without_source(workspace, Wanted(path, pattern.place), None)


def decided(
    workspace: Workspace,
    wanted: Sequence[Wanted],
    secrets: Mapping[str, SecretInfo],
    holdings: Mapping[str, Holdings],
    *,
    unseen: bool,
    deep: bool,
) -> list[Item]:
    """An item for each copy. Values are read only if marks don't decide, or if ``deep``."""
    items: list[Item] = []
    unsure: dict[str, list[Wanted]] = defaultdict(list)
    beside, readable = versions_beside(workspace, wanted, secrets), workspace.fingerprint_keys.readable
    for want in wanted:
        info, before = secrets.get(want.path), beside.get(want.path, 0)
        item = by_marks(workspace, want, info, holdings[want.place.store], before, deep=deep)
        copy = holdings[want.place.store].of(want.path, want.place)
        if item is None and (unseen or not readable) and copy is None:
            item = item_of(want, Action.CREATE, secrets[want.path].version, None)
        elif item is None and not readable:
            item = uncompared_item(want, secrets[want.path].version, copy)
        if item is None:
            unsure[want.path].append(want)
        else:
            items.append(item)
    looked = side_by_side(lambda same: by_value(workspace, same, holdings), unsure.values(), AT_ONCE)
    return [*items, *chain.from_iterable(looked)]


def versions_beside(
    workspace: Workspace, wanted: Sequence[Wanted], secrets: Mapping[str, SecretInfo]
) -> dict[str, int | KeyturnError | None]:
    """The previous version to serve with CURRENT, for secrets whose copies include it.

    0 for none, None if values have to decide, or the error.
    """

    def version(path: str) -> int | KeyturnError | None:
        try:
            return marked_version(workspace, secrets[path])
        except KeyturnError as error:
            return error

    paths = sorted({want.path for want in wanted if want.path in secrets and want.place.shape.tells_previous})
    return dict(zip(paths, side_by_side(version, paths, AT_ONCE), strict=True))


def by_marks(
    workspace: Workspace,
    want: Wanted,
    info: SecretInfo | None,
    holdings: Holdings,
    before: int | KeyturnError | None = 0,
    *,
    deep: bool,
) -> Item | None:
    """The item that names, versions and marks decide, or None if the value is required.

    ``before`` is the previous version to serve, if any.
    """
    path, place = want.path, want.place
    version = info.version if info and info.served else 0
    copy = holdings.of(path, place)
    if want.rival:
        return item_of(want, Action.CONFLICT, version, copy, f"{want.rival} is pushed to the same place")
    if error := holdings.failure(path, place):
        return unknown_item(want, version, error)
    if refusal := holdings.limits.refuses_name(place.name):
        return replace(item_of(want, Action.BLOCKED, version, copy, refusal), kind="Invalid")
    if not version or info is None:
        return without_source(workspace, want, copy)
    if refusal := workspace.catalogue.forbids(path, place.store):
        return replace(item_of(want, Action.BLOCKED, version, copy, refusal), kind="Invalid")
    try:
        disagreement = agreement_refusal(workspace, path, place.store, place.name)
    except KeyturnError as error:
        return unknown_item(want, version, error)
    if disagreement:
        return withheld(workspace, want, version, copy, disagreement.why)
    if isinstance(before, KeyturnError) and place.shape.tells_previous:
        return unknown_item(want, version, before)
    if copy and copy.marks and copy.marks.source == path and copy.intact and owned(workspace, copy):
        held = copy.marks
        # A removed mark is restored. A deep plan compares fingerprints and trusts no version number.
        keys = workspace.fingerprint_keys
        lasting = not (keys.refuses(held.fingerprint) or keys.outlived(held.fingerprint))
        tells = isinstance(before, int) or not place.shape.tells_previous
        same_shape = tells and held.shape == place.shape.marked(before if isinstance(before, int) else 0)
        named = same_shape and made_of(held, info) and held.fingerprint and not copy.outdated and lasting
        if named and not deep:
            return in_step(workspace, want, info, copy, holdings)
        if keys.refuses(held.fingerprint):
            return None
        if place.update is Update.CREATE_ONLY:
            return item_of(want, Action.IN_SYNC, version, copy, "create-only: it keeps what it has")
        if not deep and keeps(place, copy, version, info.newest.created_at if info.newest else None):
            return item_of(want, Action.IN_SYNC, version, copy, KEEPS)
    return None


def withheld(workspace: Workspace, want: Wanted, version: int, copy: RemoteSecret | None, why: str) -> Item:
    """The item without both organisations' consent: an existing copy is deleted."""
    if copy and copy.marks and copy.marks.source == want.path and copy.intact and owned(workspace, copy):
        return item_of(want, Action.DELETE, version, copy, why)
    return replace(item_of(want, Action.BLOCKED, version, copy, why + REMAINS if copy else why), kind="Denied")


def in_step(
    workspace: Workspace,
    want: Wanted,
    wanted: HubSecret | SecretInfo,
    copy: RemoteSecret,
    holdings: Holdings,
    digest: str = "",
) -> Item:
    """The item for a copy with the right value, perhaps with outdated details or mark."""
    place, version = want.place, wanted.version
    if holdings.untold and copy.details is None and asks(workspace, place, copy):
        return unknown_item(want, version, holdings.untold)
    try:
        wrong = wrong_beside(workspace, place, copy, wanted)
    except KeyturnError as error:  # a malformed time in the secret's metadata
        return unknown_item(want, version, error)
    why = wrong or outlived_mark(workspace, copy)
    if not why:
        return item_of(want, Action.IN_SYNC, version, copy)
    if wrong and (refusal := outlives_copy(workspace, place, wanted)):
        return replace(item_of(want, Action.BLOCKED, version, copy, refusal), kind="Invalid")
    held = copy.marks.fingerprint if copy.marks else ""
    item = item_of(want, Action.UPDATE, version, copy, why)
    return replace(item, fingerprint=digest or held, beside=digest_of(workspace, place, wanted))


def owned(workspace: Workspace, copy: RemoteSecret) -> bool:
    """Whether this catalogue made the copy, including every wanted key."""
    return copy.marks is not None and ours(workspace, copy.marks) and not theirs(copy)


def made_of(held: OwnershipTags, info: SecretInfo) -> bool:
    """Whether marks name the newest version, by number and creation time."""
    newest = info.newest
    same = held.created_at is None or newest is None or held.created_at == newest.created_at
    return held.version == info.version and same


def by_value(workspace: Workspace, same: Sequence[Wanted], holdings: Mapping[str, Holdings]) -> list[Item]:
    """The items for copies of one secret, reading CURRENT once."""
    try:
        secret = workspace.hub.read(same[0].path)
        secret = secret and with_previous(workspace, secret, [want.place for want in same])
    except KeyturnError as error:
        return [unknown_item(want, 0, error) for want in same]
    return [judged(workspace, want, secret, holdings[want.place.store]) for want in same]


def judged(workspace: Workspace, want: Wanted, secret: HubSecret | None, holdings: Holdings) -> Item:
    """The item for one copy, with any error."""
    copy = holdings.of(want.path, want.place)
    try:
        return compared(workspace, want, secret, copy, holdings) if secret else without_source(workspace, want, copy)
    except KeyturnError as error:
        return unknown_item(want, secret.version if secret else 0, error)
    except Exception as error:  # noqa: BLE001  its text could hold a value, and it stops no other copy
        return unknown_item(want, secret.version if secret else 0, unexpected(error))


def compared(
    workspace: Workspace, want: Wanted, secret: HubSecret, copy: RemoteSecret | None, holdings: Holdings
) -> Item:
    """The item for one copy, decided by marks and CURRENT."""
    place, text = want.place, text_of(secret, want.place)
    marks = marked(workspace, secret, place, text)
    more = grown_copy(workspace, place, copy, text, marks)
    text = more.text if more else text
    if refusal := refusal_of(workspace, place, text) or refusal_of_whole(workspace, want.path, place, text):
        return replace(item_of(want, Action.BLOCKED, secret.version, copy, refusal), kind="Invalid")
    if more and copy:
        return addition(workspace, want, secret, copy, more)
    action, why, hands_off = decide_action(workspace, want, copy, marks.fingerprint)
    if action is Action.IN_SYNC and copy:
        return in_step(workspace, want, secret, copy, holdings, marks.fingerprint)
    why = why or left_out(workspace, secret, place)
    if action is not Action.CONFLICT and not hands_off and (refusal := outlives_copy(workspace, place, secret)):
        return replace(item_of(want, Action.BLOCKED, secret.version, copy, refusal), kind="Invalid")
    wanted = "" if action in (Action.IN_SYNC, Action.CONFLICT) else marks.fingerprint
    item = replace(item_of(want, action, secret.version, copy, why), fingerprint=wanted, hands_off=hands_off)
    return replace(item, beside=digest_of(workspace, place, secret)) if wanted else item


def addition(workspace: Workspace, want: Wanted, secret: HubSecret, copy: RemoteSecret, more: Grown) -> Item:
    """The item for a copy that keeps its fields, perhaps with fields or marks to add."""
    if copy.marks and copy.marks.shape == more.marks.shape and not (more.added or copy.outdated):
        return item_of(want, Action.IN_SYNC, secret.version, copy, KEEPS)
    item = item_of(want, Action.UPDATE, secret.version, copy, more.why)
    return replace(item, fingerprint=more.marks.fingerprint, beside=digest_of(workspace, want.place, secret))


def decide_action(
    workspace: Workspace, want: Wanted, copy: RemoteSecret | None, digest: str
) -> tuple[Action, str, bool]:
    """The action, the reason, and whether hands off is wanted."""
    place = want.place
    hands_off = drifted(place) is CopyState.DRIFTED
    if copy is None:
        return Action.CREATE, f"the key {', '.join(place.keys)} of others' secret" if place.merge else "", False
    if keys := theirs(copy):
        why = f"someone else added the key {', '.join(keys)} there"
        return (Action.ADOPT, why, False) if place.adopt else unadopted(workspace, want, copy, digest, why)
    if copy.marks is None:
        return unmarked(workspace, want, digest, hands_off)
    if (source := copy.marks.source) != want.path:
        adopts = place.adopt and not pushed_to(workspace, place, source)
        return (Action.ADOPT if adopts else Action.CONFLICT), f"it is the copy of {source}", False
    if not ours(workspace, copy.marks):
        why = f"the catalogue {copy.marks.catalogue} has made it"
        return (Action.ADOPT if place.adopt else Action.CONFLICT), why, False
    if not copy.intact:
        return Action.DRIFTED, "someone else changed, disabled or deleted it", hands_off
    if workspace.fingerprint_keys.refuses(copy.marks.fingerprint):
        return Action.DRIFTED, UNKNOWN_KEY, hands_off
    if vouches(copy.marks.fingerprint, digest) and not copy.outdated:
        return Action.IN_SYNC, "", False
    return Action.UPDATE, "it was written for another reader" if copy.outdated else "", False


def pushed_to(workspace: Workspace, place: Destination, path: str) -> bool:
    """Whether the secret at ``path`` is still pushed there: two adopters would alternate."""
    store = workspace.catalogue.store(place.store)
    there = (store.system, store.limits.same(place.name))
    places = workspace.catalogue.destinations(path)
    # A pattern of fields counts if it could own the name.
    fitting = [other for other in places if not isinstance(other, FieldPattern) or other.owns(place.name)]
    names = [place.name if isinstance(other, FieldPattern) else other.name for other in fitting]
    named = zip((workspace.catalogue.store(other.store) for other in fitting), names, strict=True)
    if there not in [(other.system, other.limits.same(name)) for other, name in named]:
        return False
    info = workspace.hub.describe(path)
    return bool(info and info.versions and info.versions[-1].readable)


def unadopted(
    workspace: Workspace, want: Wanted, copy: RemoteSecret, digest: str, why: str
) -> tuple[Action, str, bool]:
    """The action for another owner's keys at this merged destination."""
    if copy.marks is None and stripped(workspace, want.path, want.place, digest):
        return Action.DRIFTED, "the note of whose its keys are is gone", drifted(want.place) is CopyState.DRIFTED
    return Action.CONFLICT, f"{why}: say `adopt: true` to take it over, or name the key otherwise", False


def unmarked(workspace: Workspace, want: Wanted, digest: str, hands_off: bool) -> tuple[Action, str, bool]:
    """The action for a secret without marks."""
    if want.place.adopt:
        return Action.ADOPT, f"Keyturn has not made it{held_by_others(workspace, want, digest)}", False
    if stripped(workspace, want.path, want.place, digest):
        return Action.DRIFTED, "its marks are gone", hands_off
    return Action.CONFLICT, "Keyturn has not made it: say `adopt: true` to take it over, or choose another name", False


def held_by_others(workspace: Workspace, want: Wanted, digest: str) -> str:
    """What adopting a copy would overwrite, as a clause. Reads its value."""
    store = workspace.open_copy(want.path, want.place)
    if Unsupported.READ in store.unsupported:
        return ", and its contents can't be read"
    try:
        text = store.read(want.place.name)
    except KeyturnError:
        return ", and what it holds could not be read"
    if vouches(digest, workspace.fingerprint_of(want.path, text)):
        return "; it holds the same value"
    fields, field = parse_fields(text)
    if not field and vouches(digest, workspace.fingerprint(want.path, fields)):
        return "; it holds the same JSON object in another spelling"
    return "; it holds another value, which would be overwritten"


def without_source(workspace: Workspace, want: Wanted, copy: RemoteSecret | None) -> Item:
    """The item where the hub has no version: nothing to push, perhaps a copy to delete.

    The copies of an unreadable rotated secret are kept: they may be all that works.
    """
    record, gone = Record(), ""
    if want.path in workspace.catalogue.secrets:
        try:
            info, record = workspace.hub.describe(want.path), load_record(workspace, want.path)
        except KeyturnError as error:
            return unknown_item(want, 0, error)
        gone = describe_missing(info, record) or lost_with_hub(workspace, info, record, want.path, copy)
    if gone:
        return replace(item_of(want, Action.BLOCKED, 0, copy, f"{gone}; its copies are left alone"), kind="Missing")
    if copy is None or copy.marks is None or copy.marks.source != want.path:
        why = ". ".join(describe_none(want.path, record))
        return replace(item_of(want, Action.BLOCKED, 0, copy, why), kind="NotFound")
    settings = workspace.catalogue.store(want.place.store)
    if copy.marks.adopted:
        return item_of(want, Action.IN_SYNC, 0, copy, "the hub has it no more; it was adopted, so it is let go")
    if (want.place.deletion or settings.deletion) is Deletion.DELETE and made_here(workspace, copy.marks):
        return deletion(workspace, want, copy, tombstones(workspace, want.place.store), "the hub has it no more")
    return item_of(want, Action.IN_SYNC, 0, copy, "the hub has it no more; the copy is kept")


def lost_with_hub(
    workspace: Workspace, info: SecretInfo | None, record: Record, path: str, copy: RemoteSecret | None
) -> str:
    """Explain that the hub has lost the secret of this catalogue's copy."""
    if info or record.version or copy is None or copy.marks is None or copy.marks.source != path:
        return ""
    if not made_here(workspace, copy.marks):
        return ""
    return (
        f"this copy is of version {copy.marks.version}, and the hub has neither a version nor a record of it:"
        " `keyturn repair rehydrate` brings back what a hub has lost"
    )
