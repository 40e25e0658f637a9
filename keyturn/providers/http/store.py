"""A store that a recipe describes: its requests, where its answers hold names and values, and where marks are kept.

Marks are written with the value in one request where the service allows that. Otherwise they are in a second entry. A
first write makes that one before the value, without a seal, so that a crash leaves a copy known as Keyturn's; every
other write replaces it after the value. In between, the copy is not intact. Where the service shows nothing that
changes with the value, every write takes the seal off first.

A service without compare-and-set keeps the later of two writes: Keyturn looks directly before it writes, and reads back
what is served. One whose version is a time in seconds shows no second write within that second.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from keyturn.core.errors import (
    Conflict,
    Invalid,
    NotFound,
    Unavailable,
    UnsupportedOperation,
)
from keyturn.core.fingerprint import vouches
from keyturn.core.ports.stores import NO_DETAILS, Details, OwnershipTags, RemoteSecret, Unsupported
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.answers import reads_answers
from keyturn.providers.http.marks import Note, seal_of
from keyturn.providers.http.store_calls import (
    ABSENT,
    CONFLICT,
    WRITTEN,
    Copy,
    StoreCalls,
    StoredEntry,
    at_marks,
    patterns,
)
from keyturn.providers.side_by_side import read_side_by_side
from keyturn.providers.store_refusals import StoreLimits, only_written_whole
from keyturn.settings.store_requests import (
    KEY,
    MARKS_KEY,
    StoreDeleteSettings,
    StoreRequests,
    WriteSettings,
    plain_name,
)

THREADS: Final = 16
FEW: Final = 10
"""As many values are read one by one rather than by a list of all."""
NEXT_SECOND: Final = 1.1
"""Seconds until a version that is a time in seconds has changed."""
ONCE_MORE: Final = "Run it again: it continues from what is there now"


@reads_answers()
class HttpStore:
    """A ``Store``. ``settings`` are those of :class:`keyturn.settings.store_requests.StoreRequests`.

    ``hub_login`` reads the login at ``admin`` in the hub, for each request.
    """

    def __init__(self, name: str, *, hub_login: Callable[[], SecretFields] | None = None, **settings: Any) -> None:
        self.name = name
        self._settings = requests = StoreRequests.model_construct(**settings)
        self._limits = StoreLimits(requests.name_limits, name)
        self._calls = StoreCalls(name, requests, hub_login)
        self._unsealed = requests.marks.sealed_by == "nothing"
        lacking = {Unsupported.READ: requests.write_only, Unsupported.CHANGES: self._unsealed}
        self.unsupported = frozenset(each for each, lacks in lacking.items() if lacks)
        sent = set(map(plain_name, requests.create.names))
        self._together = not self._calls.apart or "marks" in sent
        self._by_id = requests.read is not None and "id" in requests.read.names
        self._by_key = requests.read is not None and not self._by_id and requests.marks.kept != "name"
        self._seen: dict[str, Copy] = {}

    # --- the port ---

    def describe(self, remote: str) -> RemoteSecret | None:
        self._check_name(remote, "find")
        return self._described(remote, self._find(remote, "find"))

    def list_managed(self) -> Iterator[RemoteSecret]:
        return (copy for copy in self.list_all() if copy.marks)

    def list_all(self) -> Iterator[RemoteSecret]:
        for remote, copy in self._listed("list").items():
            if (described := self._described(remote, copy)) is not None:
                yield described

    def write(
        self,
        remote: str,
        value: Sensitive,
        marks: OwnershipTags,
        current: RemoteSecret | None,
        *,
        details: Details = NO_DETAILS,
    ) -> RemoteSecret:
        self._check_name(remote, "write")
        self._limits.check(remote, value)
        if current == RemoteSecret(remote, current.version_id if current else "", marks):
            return current
        copy = self._unchanged(remote, current)
        seal = WRITTEN if self._unsealed else seal_of(value.reveal())
        note = Note(marks, self._note_of(copy).revision + 1, seal)
        self._insist_on_room(remote, replace(note, seal="0" * 64) if not self._together else note)
        if self._together:
            copy = self._write_together(remote, value, note, copy)
        else:
            copy = self._write_apart(remote, value, note, copy, current)
        self._seen[remote] = copy
        written = self._described(remote, copy)
        if written is None or written.marks != marks or not written.intact:
            raise self._not_kept(remote)
        return written

    def relabel(self, remote: str, marks: OwnershipTags, details: Details, current: RemoteSecret) -> RemoteSecret:
        raise only_written_whole(self._calls.named(remote))

    def read(self, remote: str) -> Sensitive:
        self._check_name(remote, "read")
        self._insist_on_values(remote)
        copy = self._find(remote, "read") if self._by_id else Copy()
        if not self._by_key and not self._by_id:
            values = self._values("read", {remote})
        elif self._by_id and copy.main is None:
            values = {}
        else:
            answer = self._calls.read_answer(self._calls.fields(remote, copy), "read", remote)
            values = {} if answer is None else {remote: self._calls.value(answer)}
        if remote not in values:
            raise NotFound("read", self._calls.named(remote), "there is no such entry", "Push it again")
        if (value := values[remote]) is None:
            problem = "the service shows no value of it"
            raise Invalid(
                "read", self._calls.named(remote), problem, "See whether it is hidden there; else write it again"
            )
        return value

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        self._insist_on_values("*")
        if (self._by_key or self._by_id) and (len(remotes) <= FEW or not self._settings.list.shows_values):
            return read_side_by_side(self.read, remotes, THREADS)
        values = self._values("read", set(remotes))
        return {remote: value for remote, value in values.items() if value is not None}

    def delete(self, remote: str) -> None:
        self._check_name(remote, "delete")
        copy = self._find(remote, "delete")
        if copy.main is not None:
            self._delete(remote, copy.main, copy)
        if copy.main is None or MARKS_KEY not in map(plain_name, self._settings.delete.names):
            for entry in copy.beside:
                self._delete(remote, entry, copy)
        self._seen.pop(remote, None)

    def old_versions(self, remote: str) -> dict[str, Sensitive]:
        if self._remains(remote, "read old versions of"):
            problem = f"Keyturn can't read what the service keeps: {self._settings.history}"
            raise UnsupportedOperation("read old versions of", self._calls.named(remote), problem, "Look there by hand")
        return {}

    def purge_old_versions(self, remote: str) -> tuple[str, ...]:
        return self._remains(remote, "forget old versions of")

    def purge(self, remote: str) -> tuple[str, ...]:
        remains = self._remains(remote, "purge", old=False)
        self.delete(remote)
        return remains

    def close(self) -> None:
        self._calls.close()

    # --- looking ---

    def _find(self, remote: str, doing: str) -> Copy:
        if not self._by_key:
            copy = self._listed(doing, remote).get(remote, Copy())
        else:
            fields = self._calls.fields(remote)
            main = self._calls.entry(self._calls.read_answer(fields, doing, remote))
            if main is None:
                self._calls.insist_on_place(doing, remote)
            noting = (
                self._calls.entry(self._calls.read_answer(at_marks(fields), doing, remote))
                if self._calls.apart
                else None
            )
            copy = Copy(main, (noting,) if noting else ())
        self._seen[remote] = copy
        return copy

    def _listed(self, doing: str, only: str = "") -> dict[str, Copy]:
        copies: dict[str, Copy] = {}
        for answer in self._calls.answers(doing):
            if (entry := self._calls.entry(answer)) is None:
                continue
            remote, is_note = self._calls.remote_of(entry.key)
            copy = copies.setdefault(remote, Copy()) if remote else Copy()
            if is_note:
                copies[remote] = replace(copy, beside=(*copy.beside, entry))
            elif copy.main is not None and copy.main.id != entry.id:
                hint = "Remove one of them there, or give the store other parameters"
                raise Invalid(doing, self._calls.named(remote), "the service has two entries of this name", hint)
            elif remote:
                copies[remote] = replace(copy, main=entry)
        if only:
            copies = {remote: copy for remote, copy in copies.items() if remote == only}
        if not self._settings.list.shows_values:
            copies = self._read_each(copies, doing)
        self._seen.update(copies)
        return copies

    def _read_each(self, copies: Mapping[str, Copy], doing: str) -> dict[str, Copy]:
        """The copies whose list shows neither values nor marks, each read by itself."""
        read_main = not self._calls.apart or self._settings.marks.sealed_by == "value"

        def read(remote: str) -> Copy:
            copy = copies[remote]
            fields = self._calls.fields(remote, copy)
            main = self._calls.entry(self._calls.read_answer(fields, doing, remote)) if read_main else copy.main
            beside = copy.beside and self._calls.entry(self._calls.read_answer(at_marks(fields), doing, remote))
            return Copy(main, (beside,) if beside else ())

        with ThreadPoolExecutor(THREADS) as pool:
            return dict(zip(copies, pool.map(read, copies), strict=True))

    def _values(self, doing: str, remotes: set[str]) -> dict[str, Sensitive | None]:
        values = {}
        for answer in self._calls.answers(doing):
            remote, is_note = self._calls.remote_of(self._calls.key_in(answer))
            if remote in remotes and not is_note:
                values[remote] = self._calls.value(answer)
        return values

    def _described(self, remote: str, copy: Copy) -> RemoteSecret | None:
        if copy.main is None:
            return None
        note = self._note_of(copy)
        intact = note.marks is None or note.seal == copy.main.seal
        version = copy.main.version or (f"{note.revision}{'' if intact else ' changed'}" if note.marks else "unmarked")
        return RemoteSecret(remote, version, note.marks, intact)

    def _note_of(self, copy: Copy) -> Note:
        entry = copy.noting if self._calls.apart else copy.main
        return entry.note if entry else Note()

    # --- writing ---

    def _unchanged(self, remote: str, current: RemoteSecret | None) -> Copy:
        """What the service has, if it is still ``current``. Raises Conflict."""
        last = self._seen.get(remote)
        if last is not None and self._described(remote, last) == current:
            return last
        copy = self._find(remote, "write")
        if self._described(remote, copy) != current:
            raise Conflict("write", self._calls.named(remote), "it has changed since it was looked at", ONCE_MORE)
        return copy

    def _write_together(self, remote: str, value: Sensitive, note: Note, copy: Copy) -> Copy:
        fields = self._calls.fields(remote, copy, value=value, marks=note.to_text())
        self._put(self._settings.create, self._settings.update, fields, remote, there=copy.main is not None)
        if (
            self._settings.entry.version
            or self._settings.entry.id
            or self._settings.marks.kept == "name"
            or self._unsealed
        ):
            return self._find(remote, "write")
        entry = StoredEntry(fields[KEY].reveal(), seal=note.seal, text="" if self._calls.apart else note.to_text())
        return Copy(entry, (StoredEntry(fields[MARKS_KEY].reveal(), text=note.to_text()),) if self._calls.apart else ())

    def _write_apart(self, remote: str, value: Sensitive, note: Note, copy: Copy, current: RemoteSecret | None) -> Copy:
        marks, held = note.marks, current.marks if current and current.intact else None
        if copy.main is None or not (held and marks and vouches(held.fingerprint, marks.fingerprint)):
            if copy.main is None or self._unsealed:
                copy = self._put_note(remote, replace(note, seal=""), copy)
            copy = self._put_value(remote, value, copy)
        seal = copy.main.seal if copy.main else ""
        return self._put_note(remote, replace(note, seal=seal), copy)

    def _put_value(self, remote: str, value: Sensitive, copy: Copy) -> Copy:
        """Write the value, and once more where the version is a time that has not moved on."""
        for pause in (0, NEXT_SECOND):
            time.sleep(pause)
            fields = self._calls.fields(remote, copy, value=value)
            self._put(self._settings.create, self._settings.update, fields, remote, there=copy.main is not None)
            before, copy = copy.main.seal if copy.main else None, self._find(remote, "write")
            if copy.main is not None and self._is_written(copy.main.seal, value, before):
                return copy
        raise self._not_kept(remote)

    def _is_written(self, seal: str, value: Sensitive, before: str | None) -> bool:
        by_value = self._settings.marks.sealed_by == "value"
        return self._unsealed or (seal == seal_of(value.reveal()) if by_value else seal != before)

    def _put_note(self, remote: str, note: Note, copy: Copy) -> Copy:
        text, settings, old = note.to_text(), self._settings, copy.noting
        in_name = settings.marks.kept == "name"
        fields = at_marks(self._calls.fields(remote, copy, value=Sensitive(text), marks=text))
        create, update = settings.marks.create or settings.create, settings.marks.update or settings.update
        self._put(create, update, fields, remote, there=old is not None and not in_name)
        if in_name:
            for entry in copy.beside:
                self._delete(remote, entry, copy)
            return self._find(remote, "write")
        entry = StoredEntry(fields[KEY].reveal(), old.id if old else "", text=text)
        if settings.entry.id is not None and not entry.id:
            return self._find(remote, "write")
        return replace(copy, beside=(entry,))

    def _put(
        self, create: WriteSettings, update: WriteSettings | None, fields: SecretFields, remote: str, *, there: bool
    ) -> None:
        request = update if there and update is not None else create
        conflict = patterns(request.conflict, CONFLICT)
        method = "PUT" if request is update else "POST"
        answer = self._calls.ask(request, method, fields, "write", remote, conflict, request.numbers)
        if any(pattern.matches(answer) for pattern in conflict):
            raise Conflict("write", self._calls.named(remote), "another writer came first", ONCE_MORE)

    def _delete(self, remote: str, entry: StoredEntry, copy: Copy) -> None:
        request: StoreDeleteSettings = self._settings.delete
        fields = self._calls.fields(remote, copy).merged({KEY: entry.key, "id": entry.id, "version": entry.version})
        gone, conflict = patterns(request.gone, ABSENT), patterns(request.conflict, CONFLICT)
        answer = self._calls.ask(request, "DELETE", fields, "delete", remote, (*gone, *conflict), request.numbers)
        if any(pattern.matches(answer) for pattern in gone):
            self._calls.insist_on_place("delete", remote)
        elif any(pattern.matches(answer) for pattern in conflict):
            raise Conflict("delete", self._calls.named(remote), "another writer came first", ONCE_MORE)

    # --- requests ---

    def _check_name(self, remote: str, doing: str) -> None:
        self._limits.check_name(remote, doing)
        if self._calls.is_note(remote):
            problem = "entries of such names hold the marks of others"
            raise Invalid(doing, self._calls.named(remote), problem, "Choose another remote name in the catalogue")

    def _insist_on_room(self, remote: str, note: Note) -> None:
        size, most = len(note.to_text().encode()), self._settings.marks.most_bytes
        if self._settings.marks.kept == "name":
            size = len(self._calls.fields(remote, marks=note.to_text())[MARKS_KEY])
        if size > most:
            problem = f"its marks need {size} bytes, and the service keeps {most}"
            raise Invalid("write", self._calls.named(remote), problem, "Shorten the secret's path. Nothing was written")

    def _insist_on_values(self, remote: str) -> None:
        if self._settings.write_only:
            problem, hint = "the service never returns a value", "Compare by the marks: they are as written"
            raise UnsupportedOperation("read", self._calls.named(remote), problem, hint)

    def _remains(self, remote: str, doing: str, *, old: bool = True) -> tuple[str, ...]:
        self._check_name(remote, doing)
        if not self._settings.history or (copy := self._find(remote, doing)).main is None:
            return ()
        return (self._settings.history,) if not old or self._note_of(copy).revision != 1 else ()

    def _not_kept(self, remote: str) -> Unavailable:
        problem = "it answers that it has written the value, and serves another one"
        return Unavailable("write", self._calls.named(remote), problem, f"{ONCE_MORE}. See who else writes it")
