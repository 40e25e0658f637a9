"""The outcome of one step of one secret, and what is left."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from keyturn.core.errors import KeyturnError, unexpected
from keyturn.revocation.incidents.incident import Event, Incident, Result, SecretProgress, Step
from keyturn.revocation.proof import KEEPS_OPEN, Check, CheckAnswer, CheckSubject
from keyturn.rotation.state.context import Workspace


@dataclass
class StepResult:
    """Collects a step's results; the step is done when nothing is ``left``.

    ``changes`` are the progress's; ``again`` are earlier steps whose work was undone.
    """

    workspace: Workspace
    step: Step
    events: list[Event] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    remains: list[str] = field(default_factory=list)
    changes: dict[str, Any] = field(default_factory=dict)
    again: set[Step] = field(default_factory=set)
    checks: list[Check] = field(default_factory=list)

    def check(
        self, subject: CheckSubject, place: str, answer: CheckAnswer, words: str = "", remedy: str = "", kind: str = ""
    ) -> None:
        """Record a check; an answer that keeps the incident open is left to do."""
        self.checks.append(Check(subject, place, answer, words, remedy))
        if answer in KEEPS_OPEN:
            self.add_left(place, words, remedy, kind)

    @contextmanager
    def checking(self, subject: CheckSubject, place: str) -> Iterator[None]:
        """Record an error during a check as an unknown answer, and continue."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
            failure = error if isinstance(error, KeyturnError) else unexpected(error)
            self.check(subject, place, CheckAnswer.UNKNOWN, failure.problem, failure.hint, type(failure).__name__)

    def add_done(self, place: str, words: str) -> None:
        """Record a success."""
        self.events.append(Event(self.workspace.clock(), self.step, Result.DONE, place, words))

    def add_failure(self, place: str, error: KeyturnError) -> None:
        """Record a failure that is retried."""
        self.add_left(place, error.problem, error.hint, type(error).__name__)

    def add_left(self, place: str, problem: str, hint: str = "", kind: str = "") -> None:
        """Record a failure in words."""
        self.events.append(Event(self.workspace.clock(), self.step, Result.FAILED, place, problem, kind))
        words = f"{place}: {problem}" if place else problem
        self.left.append(f"{self.step}: {words}. {hint}".rstrip(". "))

    def add_remaining(self, place: str, words: str) -> None:
        """Record what can't be removed there."""
        self.events.append(Event(self.workspace.clock(), self.step, Result.REMAINS, place, words))
        self.remains.append(f"{place}: {words}" if place else words)

    def attempt(self, place: str, work: Callable[[], str]) -> None:
        """Do ``work``, and record the text it returns, or its error."""
        try:
            self.add_done(place, work())
        except KeyturnError as error:
            self.add_failure(place, error)

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Record an error at one place, and continue."""
        try:
            yield
        except KeyturnError as error:
            self.add_failure(place, error)
        except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
            self.add_failure(place, unexpected(error))

    def onto(self, progress: SecretProgress) -> SecretProgress:
        """Return the progress with these results instead of this step's earlier ones.

        If another run has done the step, only events are added, each once.
        """
        before = events_since_replacement(progress.events)
        events = (*progress.events, *(event for event in self.events if not is_repeated(event, before)))
        if progress.has_done(self.step):
            return progress.having(events=events)
        others = tuple(words for words in progress.left if not words.startswith(f"{self.step}: "))
        finished = set(progress.done) if self.left else {*progress.done, self.step}
        remains = tuple(dict.fromkeys((*progress.remains, *self.remains)))
        return progress.having(
            **self.changes,
            events=events,
            left=tuple(sorted((*others, *dict.fromkeys(self.left)), key=step_of)),
            remains=remains,
            checks=tuple(self.checks) or progress.checks,
            done=tuple(step for step in Step if step in finished - self.again),
        )


def step_of(words: str) -> int:
    """The step's position, from the text of something left."""
    name = words.partition(":")[0]
    return list(Step).index(Step(name)) if name in set(Step) else -1


def events_since_replacement(events: Sequence[Event]) -> Sequence[Event]:
    """The events from the newest replacement on, or all without one."""
    made = [at for at, event in enumerate(events) if (event.step, event.result) == (Step.REPLACE, Result.DONE)]
    return events[made[-1] :] if made else events


def is_repeated(event: Event, events: Sequence[Event]) -> bool:
    """Whether the same event is there already."""
    told_now = (event.step, event.place, event.result, event.said)
    return any(told_now == (earlier.step, earlier.place, earlier.result, earlier.said) for earlier in events)


StepFunction = Callable[[Workspace, Incident, SecretProgress, StepResult], None]
"""One step of one secret, on its progress so far; it may raise a KeyturnError."""
