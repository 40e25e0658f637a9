"""Some keys of a secret that others own, as a store's copy. All other keys stay as they are.

The secret's tags contain a note for each hub secret with keys in it: the keys and their fingerprint. So only changes
to these keys are drift.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from keyturn.core.errors import Conflict, Locked, NotFound, NotOwned, UnsupportedOperation
from keyturn.core.fingerprint import payload, vouches
from keyturn.core.ports.merged_keys import Change, Note, Shared, Shares, members_of, note_names, notes_in
from keyturn.core.ports.stores import NO_DETAILS, Details, OwnershipTags, RemoteSecret, Store, Unsupported
from keyturn.core.sensitive import SecretFields, Sensitive

ROUNDS: Final = 5
"""How often a write retries because another writer was faster."""

NOTHING: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True)
class SeenPart(RemoteSecret):
    """A part, with the wanted keys that another owner put there: ``theirs``."""

    theirs: tuple[str, ...] = field(default=(), kw_only=True, compare=False)


class Parts:
    """A ``Store`` whose copies are the ``keys`` of ``source`` in secrets that others own.

    ``whole`` is the store that contains them. ``fingerprint_of`` makes the fingerprints in the marks.
    """

    unsupported: frozenset[Unsupported] = frozenset()

    def __init__(
        self,
        whole: Store,
        shares: Shares,
        source: str,
        keys: Collection[str],
        fingerprint_of: Callable[[str, Sensitive], str],
    ) -> None:
        self.name = whole.name
        self._whole = whole
        self._shares = shares
        self._source = source
        self._keys = frozenset(keys)
        self._fingerprint_of = fingerprint_of

    def describe(self, remote: str) -> SeenPart | None:
        """The part by its note; without a note, the keys that others wrote; None where there is nothing of it.

        Where the keys are noted for another secret, they are that secret's copy.
        """
        shared = self._look(remote)
        if shared is None:
            return None
        notes = notes_in(shared.tags)
        theirs = self._theirs(shared, notes)
        if note := notes.get(self._source):
            return self._copy(shared, note, theirs)
        if other := self._other(notes):
            return self._copy(shared, other, theirs)
        return SeenPart(remote, shared.version_id, None, theirs=theirs) if theirs else None

    def list_managed(self) -> Iterator[RemoteSecret]:
        """The part in each secret that has a note for this source; values are not read."""
        for remote, tags in self._shares.listed():
            if note := notes_in(tags).get(self._source):
                yield RemoteSecret(remote, "", note.marks)

    def list_all(self) -> Iterator[RemoteSecret]:
        """The same as :meth:`list_managed`: nothing else belongs to this secret."""
        return self.list_managed()

    def write(
        self,
        remote: str,
        value: Sensitive,
        marks: OwnershipTags,
        copy: RemoteSecret | None,
        *,
        details: Details = NO_DETAILS,
    ) -> RemoteSecret:
        """Write the object's members into the secret, or create it with them; removes keys that are no longer ours.

        Ignores ``details``. Raises Conflict where another writer has added one of the keys since ``copy`` was read,
        and Invalid where keys can't be written into the secret.
        """
        ours = members_of(value)
        not_texts = frozenset(key for key, member in ours.items() if not isinstance(member, str))
        note = Note(marks, tuple(sorted(ours)), not_texts)
        first = self._look(remote)
        seen_keys, shared = self._known(first, copy), first
        for _ in range(ROUNDS):
            self._refuse_taken(remote, shared, first, ours, seen_keys)
            change = self._change(shared, ours, note)
            if shared is not None and not change and not change.tags:
                return SeenPart(remote, self._version(marks, marks.fingerprint), marks)
            with suppress(Conflict):
                self._shares.put(remote, change, shared)
                if not change.take:
                    return SeenPart(remote, self._version(marks, marks.fingerprint), marks)
            shared = self._look(remote)
        raise Locked("write", self._named(remote), "others keep writing it", "Find out who else writes the secret")

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, copy: RemoteSecret) -> RemoteSecret:
        """The labels of the secret belong to its owner. Raises UnsupportedOperation."""
        raise UnsupportedOperation("label", self._named(remote), "the secret is others' too")

    def read(self, remote: str) -> Sensitive:
        """Our members by the note, or the wanted keys where there is none, as one object."""
        shared = self._look(remote)
        note = notes_in(shared.tags).get(self._source) if shared else None
        held = self._held(shared, note) if shared else NOTHING
        if not held:
            raise NotFound("read", self._named(remote), "it has none of this secret's keys", "Push it again")
        return payload(SecretFields(held))

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        """The values of several, one after another; absent ones are left out."""
        values: dict[str, Sensitive] = {}
        for remote in remotes:
            try:
                values[remote] = self.read(remote)
            except NotFound:
                continue
        return values

    def delete(self, remote: str) -> None:
        """Remove our keys and the note, never the secret. Absent is success."""
        for _ in range(ROUNDS):
            shared = self._look(remote)
            note = notes_in(shared.tags).get(self._source) if shared else None
            if shared is None or note is None:
                return
            take = frozenset(note.keys) & shared.members.keys()
            gone = dict.fromkeys(note_names(self._source, shared.tags))
            try:
                self._shares.put(remote, Change(take=take, tags=gone), shared)
            except Conflict:
                continue
            return
        raise Locked("delete", self._named(remote), "others keep writing it", "Find out who else writes the secret")

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        """The values under our keys in old versions of the secret, by the store's version names."""
        keys = self._all_keys(remote)
        held = {version: _members(text) for version, text in self._whole.old_versions(remote).items()}
        ours = {version: {key: members[key] for key in members if key in keys} for version, members in held.items()}
        return {version: payload(SecretFields(members)) for version, members in ours.items() if members}

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        """Name each old version that holds another value of our keys; others own them too, so none is destroyed."""
        self._shares.tidy(remote)
        served = self._served(remote)
        old = [version for version, text in self.old_versions(remote).items() if text != served]
        why = "it is a version of others' secret, which Keyturn does not destroy. Have its owner do it"
        return tuple(f"version {version} still holds an older value of these keys: {why}" for version in old)

    def purge(self, remote: str) -> tuple[str, ...]:
        """Remove our keys and the note, and name the old versions that still hold them."""
        keys = self._all_keys(remote)
        self.delete(remote)
        return Parts(self._whole, self._shares, self._source, keys, self._fingerprint_of).purge_old_versions(remote)

    def close(self) -> None:
        """Does nothing: the caller owns the store."""

    def size(self, remote: str, value: Sensitive) -> int:
        """The size of the whole secret in bytes with this value in it."""
        shared, ours = self._look(remote), members_of(value)
        if shared is None:
            return len(value.reveal().encode())
        note = notes_in(shared.tags).get(self._source)
        gone = frozenset(note.keys if note else ()) - ours.keys()
        if shared.text is not None:
            return len(Change(ours, gone).text(shared.text).reveal().encode())
        remaining = {key: member for key, member in shared.members.items() if key not in gone}
        return len(payload(SecretFields({**remaining, **ours})).reveal().encode())

    def _look(self, remote: str) -> Shared | None:
        shared = self._shares.look(remote)
        if shared is not None and shared.marks is not None:
            problem = f"the whole of it is the copy of {shared.marks.source}"
            hint = "Choose another name, or leave merge out"
            raise NotOwned("merge into", self._named(remote), problem, hint)
        return shared

    def _theirs(self, shared: Shared, notes: Mapping[str, Note]) -> tuple[str, ...]:
        """The wanted keys that exist and are not ours; without a note of ours, keys noted for another secret don't
        count.
        """
        mine = notes.get(self._source)
        noted = mine.keys if mine else [key for note in notes.values() for key in note.keys]
        return tuple(sorted(self._keys & shared.members.keys() - set(noted)))

    def _other(self, notes: Mapping[str, Note]) -> Note | None:
        return next((note for note in notes.values() if self._keys.intersection(note.keys)), None)

    def _copy(self, shared: Shared, note: Note, theirs: tuple[str, ...]) -> SeenPart:
        held = payload(SecretFields(held_by(shared, note.keys, note.not_texts)))
        digest = self._fingerprint_of(note.marks.source, held)
        # A write that died has noted keys that are gone: they are their owner's again.
        left = frozenset(note.keys) - self._keys - shared.members.keys() if self._keys else ()
        intact = vouches(note.marks.fingerprint, digest) and not left
        return SeenPart(shared.name, self._version(note.marks, digest), note.marks, intact, theirs=theirs)

    def _version(self, marks: OwnershipTags, digest: str) -> str:
        """A version that changes only with our part."""
        return f"{marks.version}-{digest[:12]}"

    def _held(self, shared: Shared, note: Note | None) -> Mapping[str, Any]:
        if note is None:
            return held_by(shared, self._keys)
        return held_by(shared, note.keys, note.not_texts)

    def _all_keys(self, remote: str) -> frozenset[str]:
        shared = self._look(remote)
        note = notes_in(shared.tags).get(self._source) if shared else None
        return self._keys.union(note.keys if note else ())

    def _served(self, remote: str) -> Sensitive | None:
        try:
            return self.read(remote)
        except NotFound:
            return None

    def _known(self, shared: Shared | None, copy: RemoteSecret | None) -> frozenset[str]:
        """The keys that the caller has seen there and may overwrite."""
        theirs = copy.theirs if isinstance(copy, SeenPart) else ()
        note = notes_in(shared.tags).get(copy.marks.source) if shared and copy and copy.marks else None
        return frozenset(note.keys if note else ()).union(theirs)

    def _refuse_taken(
        self,
        remote: str,
        shared: Shared | None,
        first: Shared | None,
        ours: Mapping[str, Any],
        seen_keys: frozenset[str],
    ) -> None:
        """Raises Conflict for a key that has appeared since; a key that holds this very value counts as ours.

        Reverts our notes to those at ``first`` where a claim was noted before the service refused the write.
        """
        members = shared.members if shared else NOTHING
        new = ours.keys() & members.keys() - seen_keys
        taken = sorted(key for key in new if shared and not _same(shared, key, ours[key]))
        if shared is None or not taken:
            return
        if shared is not first:
            before = first.tags if first else {}
            names = {*note_names(self._source, shared.tags), *note_names(self._source, before)}
            self._shares.put(remote, Change(tags={name: before.get(name) for name in names}), shared)
        problem = f"someone else added the key {taken[0]} there in the meantime"
        raise Conflict("merge into", self._named(remote), problem, "Say `adopt: true` to take it over, or rename it")

    def _change(self, shared: Shared | None, ours: Mapping[str, Any], note: Note) -> Change:
        """The change that writes our members and the notes about them."""
        if shared is None:
            return Change(ours, tags=note.to_tags())
        notes = notes_in(shared.tags)
        before = notes.get(self._source)
        gone = frozenset(before.keys if before else ()) & (shared.members.keys() - ours.keys())
        put = {key: member for key, member in ours.items() if not _same(shared, key, member)}
        # Keys to remove stay noted until they are gone, so that a write that dies here leaves none unowned.
        claimed = note if self._shares.atomic else replace(note, keys=tuple(sorted({*note.keys, *gone})))
        tags: dict[str, str | None] = dict(claimed.to_tags())
        stale = [name for name in note_names(self._source, shared.tags) if name not in tags]
        for other in notes.values():
            if other.marks.source != self._source and not ours.keys().isdisjoint(other.keys):
                tags |= self._let_go(shared, other, ours)
        tags |= dict.fromkeys(stale)
        return Change(put, gone, {name: text for name, text in tags.items() if text != shared.tags.get(name)})

    def _let_go(self, shared: Shared, other: Note, ours: Mapping[str, Any]) -> Mapping[str, str | None]:
        """The note of another secret without the keys that are ours now; removed where no keys are left."""
        gone: dict[str, str | None] = dict.fromkeys(note_names(other.marks.source, shared.tags))
        if not (keys := tuple(key for key in other.keys if key not in ours)):
            return gone
        held = payload(SecretFields(held_by(shared, keys, other.not_texts)))
        digest = self._fingerprint_of(other.marks.source, held)
        remaining = Note(replace(other.marks, fingerprint=digest), keys, other.not_texts & set(keys))
        return {**gone, **remaining.to_tags()}

    def _named(self, remote: str) -> str:
        return f"{self.name}:{remote}"


def held_by(shared: Shared, keys: Collection[str], not_texts: Collection[str] = ()) -> dict[str, Any]:
    """These members of a secret; values that are not texts are decoded where the store holds texts only."""
    held = {key: shared.members[key] for key in keys if key in shared.members}
    return {key: _valued(member) if shared.texts and key in not_texts else member for key, member in held.items()}


def parts_in(shares: Shares) -> Iterator[tuple[str, Note]]:
    """Every note in a store, with the name of the secret that carries it."""
    for remote, tags in shares.listed():
        for note in notes_in(tags).values():
            yield remote, note


def _valued(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return text


def _same(shared: Shared, key: str, value: Any) -> bool:
    """Whether a key holds this very value: 1, 1.0 and true differ, except in a store that holds texts only."""
    if key not in shared.members:
        return False
    held = shared.members[key]
    if shared.texts and not isinstance(value, str):
        held = _valued(held)
    return json.dumps(held, sort_keys=True) == json.dumps(value, sort_keys=True)


def _members(text: Sensitive) -> Mapping[str, Any]:
    try:
        return members_of(text)
    except ValueError:
        return NOTHING
