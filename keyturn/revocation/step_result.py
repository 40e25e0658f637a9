"""What one step of one secret has done, and what is left of it."""

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
    """Fills up while a step is at work; ``changes`` are those of the progress. Nothing ``left`` ends the step.

    ``again`` are earlier steps whose work somebody has undone since.
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
        """Note the answer of one check; what keeps the incident open is left to be done too."""
        self.checks.append(Check(subject, place, answer, words, remedy))
        if answer in KEEPS_OPEN:
            self.add_left(place, words, remedy, kind)

    @contextmanager
    def checking(self, subject: CheckSubject, place: str) -> Iterator[None]:
        """What goes wrong while something is checked makes its answer unknown, and stops no other check."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
            failure = error if isinstance(error, KeyturnError) else unexpected(error)
            self.check(subject, place, CheckAnswer.UNKNOWN, failure.problem, failure.hint, type(failure).__name__)

    def add_done(self, place: str, words: str) -> None:
        """Something that went well."""
        self.events.append(Event(self.workspace.clock(), self.step, Result.DONE, place, words))

    def add_failure(self, place: str, error: KeyturnError) -> None:
        """Something that is tried again."""
        self.add_left(place, error.problem, error.hint, type(error).__name__)

    def add_left(self, place: str, problem: str, hint: str = "", kind: str = "") -> None:
        """The same, told in words."""
        self.events.append(Event(self.workspace.clock(), self.step, Result.FAILED, place, problem, kind))
        words = f"{place}: {problem}" if place else problem
        self.left.append(f"{self.step}: {words}. {hint}".rstrip(". "))

    def add_remaining(self, place: str, words: str) -> None:
        """Something that can't be removed there."""
        self.events.append(Event(self.workspace.clock(), self.step, Result.REMAINS, place, words))
        self.remains.append(f"{place}: {words}" if place else words)

    def attempt(self, place: str, work: Callable[[], str]) -> None:
        """Do ``work``, which answers what it has done in words; what it raises is noted, and stops nothing else."""
        try:
            self.add_done(place, work())
        except KeyturnError as error:
            self.add_failure(place, error)

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """What goes wrong at one place is noted of it, and stops no other."""
        try:
            yield
        except KeyturnError as error:
            self.add_failure(place, error)
        except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
            self.add_failure(place, unexpected(error))

    def onto(self, progress: SecretProgress) -> SecretProgress:
        """The progress with all of this in it; what this step left before is replaced.

        Where another run has done the step meanwhile, only what happened is added; what happens again and again while
        an incident stays open is told once.
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
    """Which of the steps something left is of, by its words: steps side by side end in any order."""
    name = words.partition(":")[0]
    return list(Step).index(Step(name)) if name in set(Step) else -1


def events_since_replacement(events: Sequence[Event]) -> Sequence[Event]:
    """The events since the newest replacement, itself among them; all where there is none."""
    made = [at for at, event in enumerate(events) if (event.step, event.result) == (Step.REPLACE, Result.DONE)]
    return events[made[-1] :] if made else events


def is_repeated(event: Event, events: Sequence[Event]) -> bool:
    """Whether the same stands there already: what is looked at again and again is told once."""
    told_now = (event.step, event.place, event.result, event.said)
    return any(told_now == (earlier.step, earlier.place, earlier.result, earlier.said) for earlier in events)


StepFunction = Callable[[Workspace, Incident, SecretProgress, StepResult], None]
"""One step of one secret, on its progress so far. What it can't foresee may be raised as a KeyturnError."""
