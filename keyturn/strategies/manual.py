"""Values that a person replaces: Keyturn keeps their copies in sync, and never makes one itself."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final, Literal, Self

from pydantic import model_validator

from keyturn.core.errors import CandidateRejected, UnsupportedOperation
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.schedule.facts import Schedule
from keyturn.core.sensitive import SecretFields
from keyturn.settings.fields import Duration, refused
from keyturn.strategies.base import StrategyBase, StrategySettings, Tools, no_place

IDLE: Final = ("cron", "timezone", "interval", "window", "jitter", "max_grace")
"""The settings of other strategies on the next value's time and the former one's end."""


class Manual(StrategyBase):
    """Refuses to make a value, and reports what to do instead; ``path`` is the secret's in the hub."""

    overlaps = False
    credential_fields = frozenset[str]()

    def __init__(self, path: str) -> None:
        self.path = path

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        if candidate is None:
            raise refusal_of_manual(self.path)

    def mint(self, current: SecretFields | None) -> SecretFields:
        raise refusal_of_manual(self.path)

    def verify(self, change: Change) -> None:
        refusal = refusal_of_manual(self.path)
        raise CandidateRejected("verify", self.path, refusal.problem, refusal.hint)

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        return RevokeResult(outlives=(f"the value of {self.path}, until a person ends it where it is honoured",))

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterable[str]:
        raise no_place("a person replaces it, and ends it where it is honoured")


def refusal_of_manual(path: str) -> UnsupportedOperation:
    hint = f"Write the new value to the hub at {path}; the next sync carries it to every copy"
    return UnsupportedOperation("rotate", path, "a person replaces it, and Keyturn makes no value of it", hint)


class ManualSettings(StrategySettings):
    """A person replaces the value, by writing it to the hub; Keyturn carries it to the copies."""

    ends_by_itself = True
    takes_back = False

    strategy: Literal["manual"]
    """How the secret is replaced."""
    grace: Duration = timedelta(0)
    """How long copies that ask for it also hold the previous value. Keyturn ends no value of this secret."""

    @model_validator(mode="after")
    def _no_times(self) -> Self:
        if keys := [key for key in IDLE if key in self.model_fields_set]:
            raise refused(f"{keys[0]} means nothing where a person replaces the value", "Remove it.", keys[0])
        return self

    @property
    def schedule(self) -> Schedule:
        """Nothing makes it due; beyond its maximum age it is late."""
        return Schedule(maximum_age=self.maximum_age, by_hand=True)

    def open(self, path: str, tools: Tools) -> Manual:
        return Manual(path)
