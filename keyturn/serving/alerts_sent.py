"""Which alerts were told by which reaction: kept in the hub, so that nobody is told twice whoever goes on.

What stands there are facts and no claims: whoever has told something adds it, whatever others write meanwhile. So a
process that was frozen and comes back with an alert looks here first, and finds that it was told.
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
"""Where it is kept in Keyturn's own mount."""

REMEMBERED: Final = 1_000
"""Alerts of each reaction that are kept, the newest: after a start those of a few minutes may come again."""

Told = dict[str, list[Key]]
"""By the reaction's name, the newest last."""


class ToldMemory:
    """What was told, in the hub. Serves many threads."""

    def __init__(self, hub: StatePort) -> None:
        self._hub = hub

    def load(self, reaction: str) -> set[Key]:
        """What this reaction has told. Raises what keeps the hub from telling."""
        return set(self._read()[0].get(reaction, ()))

    def add(self, reaction: str, keys: Iterable[Key]) -> None:
        """That it has told these, too. Raises Contended, and what keeps the hub from answering."""
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
    """What an entry holds; nothing where somebody else has written it."""
    try:
        return {
            str(reaction): [(str(name), str(stage), int(count)) for name, stage, count in keys]
            for reaction, keys in data["told"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


class TellOnce:
    """A reaction that does nothing for what was done before, by this process or by another.

    That an alert is over is told where it was told before: what had begun before anybody watched is nobody's business.
    ``recorded`` gives what the reaction itself has a record of. While the hub does not answer, it goes by what this
    process knows: to be told twice is better than never.
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
        """Raises what the reaction raises, and what keeps the hub from keeping that it was told."""
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
    """Those that were not told earlier, and whose beginning was, or is among them."""
    begun = {name for name, _, _ in earlier} | {alert.id for alert in alerts if alert.stage is not Stage.COMPLETE}
    return [
        alert
        for alert in alerts
        if key_of(alert) not in earlier and (alert.stage is not Stage.COMPLETE or alert.id in begun)
    ]
