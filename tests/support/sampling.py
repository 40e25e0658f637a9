"""Which cases of a long table one run tries: a seed made from the commit decides, so that commits together try all.

``KEYTURN_TESTS_SEED`` sets the seed, as to repeat a run; ``KEYTURN_TESTS=deep`` tries every case of every table.

A test that knows its cases while it runs asks for a :func:`sample`. Where each case is a test of its own, they carry
``@pytest.mark.sampled(one_in, each=(...))``, and a sample is tried of those that have the same ``each`` parameters.
A file of expensive tests marks itself: ``sampled(one_in, of="file")`` makes its tests of one kind the cases of a table,
so at least one test of every kind is drawn. A test's kind is its class and its parameter ``kind`` or ``store``, such as
a kind of credential; ``kinds="name"`` names another parameter. With ``of="files"`` all files that are marked so are one
table, and each is tried whole or not at all. A file that is named on the command line runs whole.
A test that needs the hub and has no mark is sampled with its file, one in :data:`WITH_HUB` of each kind.
"""

import os
import subprocess
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

T = TypeVar("T")

SEED_VARIABLE: Final = "KEYTURN_TESTS_SEED"
DEEP_VARIABLE: Final = "KEYTURN_TESTS"
FILES: Final = "files"
HUB: Final = "openbao"
"""The fixture of tests that need the hub. They take most of a run's time."""
WITH_HUB: Final = pytest.mark.sampled(5, of="file").mark
"""How those are sampled that have no mark of their own."""
KINDS: Final = ("kind", "store")
"""The parameters that say which kind of credential, or which store, a test is about."""
DRAWN: Final = pytest.StashKey[Mapping[str, int]]()
"""How many tests of each file and kind this run has drawn, where files are sampled by kind."""
ROOT: Final = Path(__file__).parents[2]
DIGITS: Final = 8
"""So many hexadecimal digits of a commit are its seed."""


def sample(label: str, cases: Sequence[T], one_in: int, at_least: int = 1) -> list[T]:
    """Every ``one_in``-th of the cases in their order, the first of them by the seed and the ``label``; never none.

    Any ``one_in`` seeds in a row choose each case exactly once, and by the seed of a commit each has a chance of one
    in ``one_in``. Of a short table it is every case that leaves ``at_least`` so many; a deep run takes them all.
    """
    stride = 1 if deep() else max(1, min(one_in, len(cases) // at_least))
    return list(cases[(seed() + number_of(label)) % stride :: stride])


Tables = Mapping[tuple[Any, ...], Mapping[str, list[pytest.Item]]]


def left_out(items: Iterable[pytest.Item], named: Collection[str] = ()) -> list[pytest.Item]:
    """The tests marked as sampled that this run does not try; ``named`` are files that run whole."""
    return [item for (one_in, *_), cases in tables(items, named).items() for item in over(cases, one_in)]


def tables(items: Iterable[pytest.Item], named: Collection[str] = ()) -> Tables:
    """The cases of each table, by what identifies the table, which begins with its ``one_in``."""
    found: defaultdict[tuple[Any, ...], defaultdict[str, list[pytest.Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        mark = item.get_closest_marker("sampled") or (WITH_HUB if HUB in getattr(item, "fixturenames", ()) else None)
        if mark and not (mark.kwargs.get("of") and file_of(item) in named):
            case = file_of(item) if mark.kwargs.get("of") == FILES else item.nodeid
            found[(mark.args[0], *table_of(item, mark.kwargs))][case].append(item)
    return found


def over(cases: Mapping[str, list[pytest.Item]], one_in: int) -> list[pytest.Item]:
    """Of one table the tests whose case is not drawn."""
    tried = {*sample(next(iter(cases)), [*cases], one_in)}
    return [item for case, items in cases.items() if case not in tried for item in items]


def table_of(item: Any, options: Mapping[str, Any]) -> tuple[object, ...]:
    """What the cases of one table share: a mark on files, the file and the kind, or the function and its ``each``."""
    match options.get("of"):
        case "files":
            return ()
        case "file":
            return (file_of(item), kind_of(item, options.get("kinds")))
    each: Sequence[str] = options.get("each", ())
    return item.parent.nodeid, item.originalname, *(id(item.callspec.params[name]) for name in each)


def drawn(items: Iterable[pytest.Item], over: Collection[pytest.Item], named: Collection[str] = ()) -> dict[str, int]:
    """How many tests of each file and kind are left when those ``over`` are out."""
    counts: dict[str, int] = {}
    for (_, *table), cases in tables(items, named).items():
        if len(table) == 2 and isinstance(table[1], str):
            counts[": ".join(table)] = sum(item not in over for case in cases.values() for item in case)
    return counts


def kind_of(item: Any, parameter: str | None = None) -> str:
    """The test's class and the kind of credential or the store that it is about; empty where it names neither."""
    parameters = (getattr(item, "callspec", None) and item.callspec.params) or {}
    names = [parameter] if parameter else KINDS
    kinds = [str(getattr(parameters[name], "__name__", parameters[name])) for name in names if name in parameters]
    return " ".join([*([item.cls.__name__] if item.cls else []), *kinds])


def file_of(item: pytest.Item) -> str:
    """The test's file, as its name begins."""
    return item.nodeid.partition("::")[0]


def examples(few: int, many: int) -> int:
    """How many examples of a property are drawn: ``few``, and ``many`` in a deep run."""
    return many if deep() else few


def deep() -> bool:
    """Whether every case is to be tried."""
    return os.environ.get(DEEP_VARIABLE) == "deep"


def seed() -> int:
    """What the samples of this run depend on. Raises ValueError where the variable holds no number."""
    given = os.environ.get(SEED_VARIABLE)
    return int(given) if given else seed_of(ROOT)


@cache
def seed_of(directory: Path) -> int:
    """A number made from the commit that is checked out there; without one, that of the day."""
    asked = ["git", "-C", str(directory), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        commit = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return datetime.now(UTC).toordinal()
    return int(commit[:DIGITS], 16)


def keep_seed() -> None:
    """Hand the seed to every process that this one starts: a commit made meanwhile changes nothing."""
    os.environ[SEED_VARIABLE] = str(seed())


def description() -> str:
    """What a run tries, and how to try the same again, or everything."""
    if deep():
        return "tables of cases: every case"
    return f"tables of cases: samples by {SEED_VARIABLE}={seed()} (set it to try the same again; make test-deep: all)"


def number_of(label: str) -> int:
    """A number that is the same in every process, unlike ``hash``."""
    return int.from_bytes(sha256(label.encode()).digest()[:8])
