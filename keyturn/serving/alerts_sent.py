"""The alerts that each reaction has sent, stored in the hub so that another process does not send them again.

Entries are facts, not claims: a reaction adds an alert after sending it, whatever other processes write. A process that
was frozen looks here before it sends an old alert.
"""

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from keyturn.access_log.detection.alerts import Alert, Stage
from keyturn.access_log.reactions.port import Reaction
from keyturn.access_log.reactions.reactions import Key, key_of
from keyturn.core.compare_and_set import VersionedEntry, change_entry, jittered
from keyturn.core.errors import KeyturnError
from keyturn.core.ports.hub import StatePort

TOLD: Final = "serve/told"
"""The path of the entry in Keyturn's mount."""

REMEMBERED: Final = 1_000
"""Newest alerts kept per reaction; a restart may repeat those of a few minutes."""

Told = dict[str, list[Key]]
"""The sent alerts by reaction, newest last."""


class ToldMemory:
    """The memory of sent alerts, in the hub. Thread-safe."""

    def __init__(self, hub: StatePort) -> None:
        self._hub = hub

    def load(self, reaction: str) -> set[Key]:
        """Return the alerts that this reaction has sent. Raises the hub's errors."""
        return set(self._read()[0].get(reaction, ()))

    def add(self, reaction: str, keys: Iterable[Key]) -> None:
        """Add alerts that this reaction has sent. Raises Contended, and the hub's errors."""
        listed = list(keys)

        def change(before: tuple[Told, int]) -> Told | None:
            earlier = before[0].get(reaction, [])
            fresh = [key for key in listed if key not in earlier]
            return {**before[0], reaction: [*earlier, *fresh][-REMEMBERED:]} if fresh else None

        def write(before: tuple[Told, int], after: Told) -> int:
            return self._hub.write_state(TOLD, {"told": after}, cas=before[1])

        change_entry(VersionedEntry(TOLD, self._read, write), change, jittered(time.sleep, random.random))

    def _read(self) -> tuple[Told, int]:
        state = self._hub.read_state(TOLD)
        return (_told_in(state.data), state.version) if state else ({}, 0)


def _told_in(data: Mapping[str, Any]) -> Told:
    """Return the content of an entry; nothing where it is not Keyturn's."""
    try:
        return {
            str(reaction): [(str(name), str(stage), int(count)) for name, stage, count in keys]
            for reaction, keys in data["told"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


class TellOnce:
    """A reaction that skips alerts that this or another process has already sent.

    The end of an alert is sent only where its start was sent. ``recorded`` returns the reaction's own record. While the
    hub does not answer, only the memory of this process counts: a repeated alert is better than a missing one.
    """

    def __init__(
        self,
        reaction: Reaction,
        memory: ToldMemory,
        recorded: Callable[[], Iterable[Key]] = tuple,
        count: Callable[[int], None] = lambda alerts: None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self.name, self.burst, self.pace = reaction.name, reaction.burst, reaction.pace
        self.patience, self.pause = reaction.patience, reaction.pause
        self._reaction = reaction
        self._memory = memory
        self._recorded = recorded
        self._count = count
        self._failed = failed
        self._own: OrderedDict[Key, None] | None = None

    def react(self, alerts: Sequence[Alert]) -> None:
        """Send the new alerts. Raises the errors of the reaction and of the hub."""
        own = self._loaded()
        fresh = untold(alerts, own.keys() | self._elsewhere())
        if fresh:
            self._react(fresh)
            self._count(len(fresh))
        for alert in fresh:
            own[key_of(alert)] = None
        while len(own) > REMEMBERED:
            own.popitem(last=False)
        self._memory.add(self.name, [key_of(alert) for alert in alerts if key_of(alert) in own])

    def _react(self, alerts: Sequence[Alert]) -> None:
        try:
            self._reaction.react(alerts)
        except BaseException:
            self._failed()
            raise

    def _loaded(self) -> "OrderedDict[Key, None]":
        if self._own is None:
            self._own = OrderedDict.fromkeys(self._recorded())
        return self._own

    def _elsewhere(self) -> set[Key]:
        try:
            return self._memory.load(self.name)
        except KeyturnError:
            return set()


def untold(alerts: Sequence[Alert], earlier: set[Key]) -> list[Alert]:
    """Return the unsent alerts whose start was sent, or is among them."""
    begun = {name for name, _, _ in earlier} | {alert.id for alert in alerts if alert.stage is not Stage.COMPLETE}
    return [
        alert
        for alert in alerts
        if key_of(alert) not in earlier and (alert.stage is not Stage.COMPLETE or alert.id in begun)
    ]
