"""The content of the stores: secrets with digests of their texts, and unreadable places."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from keyturn.core.errors import KeyturnError, Throttled, TransientError, unexpected
from keyturn.core.fingerprint import payload
from keyturn.core.ports.stores import RemoteSecret, Store, Unsupported
from keyturn.core.sensitive import Sensitive
from keyturn.inventory.hub_inventory import Say, Unread
from keyturn.inventory.values import Digests, Held, Strength, strength_of
from keyturn.rotation.state.context import side_by_side
from keyturn.sync.fields_of_text import parse_fields
from keyturn.sync.pace import Pace

T = TypeVar("T")

MOST_NAMES: Final = 20_000
"""Maximum number of secrets that are read from one store."""
BATCH: Final = 50
"""Secrets between two lines of progress. Adapters choose the size of a call."""
ATTEMPTS: Final = 6
"""Maximum number of tries of a throttled call."""
FAILURES: Final = 3
"""Consecutive failed batches after which a store is skipped."""


@dataclass(frozen=True)
class StoredSecret:
    """A secret of a store without its value.

    ``held`` are the members of a JSON object, or None for any other text. ``canonical`` means that the text is what
    Keyturn writes for that object. ``trimmed`` is the digest without surrounding white space. ``source`` and
    ``catalogue`` are the path and the catalogue in the marks of a copy that Keyturn wrote.
    """

    store: str
    name: str
    text: str
    trimmed: str
    strength: Strength
    held: Held | None = None
    canonical: bool = True
    source: str = ""
    catalogue: str = ""

    @property
    def label(self) -> str:
        return f"{self.store}:{self.name}"


@dataclass(frozen=True)
class StoreInventory:
    """The content of a store; ``names_alone`` belong to a store that never returns values."""

    store: str
    secrets: tuple[StoredSecret, ...] = ()
    names_alone: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()


def take_store_inventories(
    stores: Mapping[str, Store | KeyturnError], digests: Digests, say: Say
) -> list[StoreInventory]:
    """Return the content of every store, read concurrently. Failures are part of the result."""

    def look(name: str) -> StoreInventory:
        store = stores[name]
        try:
            if isinstance(store, KeyturnError):
                raise store
            return take_store_inventory(name, store, digests, say)
        except KeyturnError as error:
            return StoreInventory(name, unread=(Unread(name, f"it could not be listed: {error.problem}"),))
        except Exception as error:  # noqa: BLE001  its text could hold a value
            return StoreInventory(name, unread=(Unread(name, unexpected(error).problem),))

    return side_by_side(look, sorted(stores))


def take_store_inventory(
    name: str, store: Store, digests: Digests, say: Say, pace: Pace | None = None
) -> StoreInventory:
    """Return the content of one store, at its pace. Raises where it can't be listed."""
    pace = pace or Pace(None)
    listed = paced(pace, lambda: list(islice(store.list_all(), MOST_NAMES + 1)))
    unread = list[Unread]()
    if len(listed) > MOST_NAMES:
        unread.append(Unread(name, f"it has more than {MOST_NAMES:,} secrets, and the others were not looked at"))
    copies = sorted(listed[:MOST_NAMES], key=lambda copy: copy.name)
    say(f"{name} has {len(copies)} secrets")
    if Unsupported.READ in store.unsupported:
        return StoreInventory(name, names_alone=tuple(copy.name for copy in copies), unread=tuple(unread))
    secrets, failures = list[StoredSecret](), 0
    for begin in range(0, len(copies), BATCH):
        batch = copies[begin : begin + BATCH]
        if failures >= FAILURES:
            unread += [Unread(f"{name}:{copy.name}", "the store stopped answering before") for copy in batch]
            continue
        read, refused, answered = _read_batch(name, store, batch, digests, pace)
        secrets += read
        unread += refused
        failures = 0 if answered else failures + 1
        if len(copies) > BATCH:
            say(f"{name}: {min(begin + BATCH, len(copies))} of {len(copies)} looked at")
    return StoreInventory(name, tuple(secrets), unread=tuple(unread))


def paced(pace: Pace, call: Callable[[], T]) -> T:
    """Return the result of a call, tried again while throttled. Raises the last refusal."""
    for _ in range(ATTEMPTS - 1):
        with pace.turn():
            try:
                answer = call()
            except Throttled as error:
                pace.throttled(error.retry_after)
            else:
                pace.succeeded()
                return answer
    with pace.turn():
        return call()


def _read_batch(
    name: str, store: Store, batch: Sequence[RemoteSecret], digests: Digests, pace: Pace
) -> tuple[list[StoredSecret], list[Unread], bool]:
    try:
        texts = paced(pace, lambda: store.read_many([copy.name for copy in batch]))
    except TransientError as error:
        return [], [Unread(f"{name}:{copy.name}", f"it could not be read: {error.problem}") for copy in batch], False
    except KeyturnError:
        return *_read_singly(name, store, batch, digests, pace), True
    read = [stored(name, copy, text, digests) for copy in batch if (text := texts.get(copy.name)) is not None]
    gone = [Unread(f"{name}:{copy.name}", NO_VALUE) for copy in batch if copy.name not in texts]
    return read, gone, True


NO_VALUE: Final = "it has no value that can be read: it is disabled, binary, deleted or empty"


def _read_singly(
    name: str, store: Store, batch: Sequence[RemoteSecret], digests: Digests, pace: Pace
) -> tuple[list[StoredSecret], list[Unread]]:
    read, unread = list[StoredSecret](), list[Unread]()
    for copy in batch:
        try:
            text = paced(pace, partial(store.read, copy.name))
            read.append(stored(name, copy, text, digests))
        except KeyturnError as error:
            unread.append(Unread(f"{name}:{copy.name}", f"it could not be read: {error.problem}"))
    return read, unread


def stored(store: str, copy: RemoteSecret, text: Sensitive, digests: Digests) -> StoredSecret:
    fields, field = parse_fields(text)
    held = None if field else digests.held(fields)
    canonical = bool(field) or payload(fields) == text
    trimmed = digests.of_text(Sensitive(text.reveal().strip()))
    marks = copy.marks
    return StoredSecret(
        store,
        copy.name,
        digests.of_text(text),
        trimmed,
        strength_of(text) if held is None else held.strength,
        held,
        canonical,
        marks.source if marks else "",
        marks.catalogue if marks else "",
    )
