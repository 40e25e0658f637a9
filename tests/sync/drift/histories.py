"""Histories of one copy: runs that are killed, hands that change it, keys and tags that are replaced, and rotations.

A process is killed by letting the call that it makes next fail, and every later one: what a finally block would do
is not done either. Whatever has happened, two more runs leave the copy in sync, or a conflict that says why.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import pytest
from hypothesis import strategies as st
from urllib3.connectionpool import HTTPConnectionPool

from keyturn.core.plan import Action
from keyturn.core.ports.stores import Detail
from keyturn.core.text.details import SHOWN
from keyturn.keys.refingerprint import turn_fingerprint_key
from keyturn.providers.gcp.store import GcpSecretManager
from keyturn.rotation.copies.push import CopyState
from tests.support.turning import later
from tests.sync.drift.site import STORE, Look, RealSite

CALLS: Final = ((HTTPConnectionPool, "urlopen"), (GcpSecretManager, "_call"))
"""Where requests leave the process: all SDKs but Google's go through urllib3."""
FILE_CALLS: Final = ("ftruncate", "write", "fsync", "rename", "unlink")
MOST_CALLS: Final = 16
"""More than a run with one copy makes, its requests to the hub included."""
TAGS: Final[tuple[dict[str, str], ...]] = ({"team": "web", "cost": "1"}, {"team": "shop"}, {})
WRITTEN: Final = frozenset({str(CopyState.CREATED), str(CopyState.UPDATED), str(CopyState.LABELLED)})

Step = tuple[Any, ...]


class Killed(BaseException):
    """The process is gone."""


@contextmanager
def killed_after(calls: int) -> Iterator[None]:
    """Let so many calls through; the process is gone before the next one."""
    left = count(calls, -1)

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if next(left) <= 0:
                raise Killed
            return real(*given, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (*CALLS, *((os, name) for name in FILE_CALLS)):
            patch.setattr(owner, name, dying(getattr(owner, name)))
        with suppress(Killed):
            yield


def steps(acts: Sequence[Callable[[Any, str], object]]) -> st.SearchStrategy[list[Step]]:
    """What happens to a copy, in any order; ``acts`` are what hands can do to one in this store."""
    calls = st.integers(0, MOST_CALLS)
    one = st.one_of(
        st.tuples(st.just("rotate")),
        st.tuples(st.just("apply")),
        st.tuples(st.just("rotate_and_die"), calls),
        st.tuples(st.just("apply_and_die"), calls),
        st.tuples(st.just("act"), st.sampled_from(acts)),
        st.tuples(st.just("act_and_apply"), st.sampled_from(acts)),
        st.tuples(st.just("replace_key")),
        st.tuples(st.just("replace_key_and_die"), calls),
        st.tuples(st.just("retag"), st.sampled_from(TAGS)),
    )
    return st.lists(one, min_size=2, max_size=7)


@dataclass
class History:
    """One secret, its copy in the store, and who else has their hands on that."""

    site: RealSite
    hands: Any
    name: str
    versions: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        """Written to the hub once, and pushed."""
        self.rotate()

    @property
    def path(self) -> str:
        """Of the secret in the hub."""
        return f"{self.site.folder}/{self.name}"

    @property
    def remote(self) -> str:
        """Of the copy."""
        return self.site.remote(self.path)

    def take(self, step: Step) -> None:
        """Let one thing happen."""
        getattr(self, step[0])(*step[1:])

    def write(self) -> dict[str, str]:
        """A newer version in the hub."""
        self.current = {"x": f"value-{next(self.versions)}"}
        self.site.write(self.name, **self.current)
        return self.current

    def rotate(self) -> None:
        """A newer version, and its push."""
        self.write()
        self.apply()

    def rotate_and_die(self, calls: int) -> None:
        """The same, but the process is killed after so many calls of the push."""
        self.write()
        self.apply_and_die(calls)

    def apply(self) -> None:
        """A whole run. What it reports as written is in sync, whichever way one looks."""
        for result in self.site.run(self.path, deep=True):
            if result.state in WRITTEN:
                items = {look: self.site.item(self.path, look) for look in Look}
                assert {item.action for item in items.values()} == {Action.IN_SYNC}, (result, items)

    def apply_and_die(self, calls: int) -> None:
        """A run that is killed after so many calls."""
        with killed_after(calls):
            self.site.run(self.path, deep=True)

    def act(self, do: Callable[[Any, str], object]) -> None:
        """Hands at a copy that is served and ours."""
        copy = self.site.store.describe(self.remote)
        if copy and copy.marks and self.hands.served(self.remote) is not None:
            do(self.hands, self.remote)

    def act_and_apply(self, do: Callable[[Any, str], object]) -> None:
        """The same, and a run that finds it."""
        self.act(do)
        self.apply()

    def replace_key(self) -> None:
        """The next step of replacing the key of fingerprints."""
        workspace = self.site.workspace
        turn_fingerprint_key(workspace, later(workspace), begin=True)

    def replace_key_and_die(self, calls: int) -> None:
        """The same, but the process is killed after so many calls."""
        with killed_after(calls):
            self.replace_key()

    def retag(self, tags: dict[str, str]) -> None:
        """The catalogue asks for other tags beside the copy, where the store shows any."""
        if Detail.TAGS in SHOWN.get(self.site.catalogue.store(STORE).kind, ()):
            self.site.sync["tags"] = tags

    def end(self) -> Action:
        """Two runs, and what a plan says then: CURRENT is served, or the plan says why not."""
        self.apply()
        self.apply()
        item = self.site.item(self.path)
        assert item.action is Action.IN_SYNC or (item.action is Action.CONFLICT and item.why), item
        if item.action is Action.IN_SYNC:
            # Keys of others, which a store with ``merge`` leaves alone, may be there too.
            assert self.hands.served(self.remote).items() >= self.current.items()
        return item.action
