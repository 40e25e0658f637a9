"""Which of a secret's consumers know of CURRENT, from a rotation or a sync."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from keyturn.cli.output import stamp, when
from keyturn.core.errors import KeyturnError
from keyturn.core.notifications.notice_state import Heard, Silence
from keyturn.core.ports.hub import SecretInfo
from keyturn.core.rotation_record import Record
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.notice_store import last_look, load_heard, was_there
from keyturn.rotation.state.quiet_period import Acknowledged


class Answer(StrEnum):
    """What is known of one consumer."""

    TOLD = "notified"
    SENT = "sent"
    """The notice was handed over to a consumer that does not acknowledge."""
    SILENT = "silent"
    """The notice was sent and not acknowledged."""
    WAITS = "not notified yet"
    NEXT = "notified from the next version on"
    """CURRENT existed before the first check, or before the catalogue named the consumer here."""
    INCIDENT = "notified by the incident"
    UNKNOWN = "unknown"


ACKNOWLEDGED = {Answer.TOLD: True, Answer.SILENT: False}


@dataclass(frozen=True)
class Hearing:
    """One consumer of one secret; ``silence`` is the failure, if recorded."""

    consumer: str
    answer: Answer
    silence: Silence | None = None

    @property
    def since(self) -> datetime | None:
        """When the consumer's silence began."""
        return datetime.fromisoformat(self.silence.since) if self.silence and self.silence.since else None

    def lines(self) -> list[str]:
        kind = f", {self.silence.kind}" if self.silence else ""
        return [f"{self.consumer} {self.answer}{kind}", *([f"  since {when(self.since)}"] if self.since else [])]

    def to_data(self) -> dict[str, Any]:
        return {
            "consumer": self.consumer,
            "acknowledged": ACKNOWLEDGED.get(self.answer),
            "state": str(self.answer),
            "kind": self.silence.kind if self.silence else "",
            "error": self.silence.error if self.silence else "",
            "since": stamp(self.since),
        }


@dataclass(frozen=True)
class Hearings:
    """The hub's record of which consumers were notified; an error if it can't be read."""

    heard: Mapping[str, Heard | KeyturnError] = field(default_factory=dict)
    looked: datetime | None = None

    @staticmethod
    def load(workspace: Workspace, chosen: Iterable[str] | None = None) -> "Hearings":
        """Load the records of the chosen secrets, or all, that have consumers. A few reads; none without consumers."""
        secrets = workspace.catalogue.secrets
        paths = [path for path in (secrets if chosen is None else chosen) if secrets[path].consumers]
        try:
            return Hearings(load_heard(workspace, paths), last_look(workspace)) if paths else Hearings()
        except KeyturnError as error:
            return Hearings(dict.fromkeys(paths, error))

    def of(
        self,
        workspace: Workspace,
        path: str,
        info: SecretInfo | None,
        record: Record,
        acknowledged: Acknowledged | None,
    ) -> tuple[Hearing, ...]:
        """Return every consumer of one secret; ``acknowledged`` comes from its last rotation."""
        consumers = workspace.secret(path).consumers
        heard = self.heard.get(path)
        if info is None or info.newest is None:
            return everyone(consumers, Answer.WAITS)
        if by_rotation(info, acknowledged, heard):
            return answered(workspace, (heard_of_rotation(name, acknowledged) for name in consumers))
        if isinstance(heard, KeyturnError):
            why = Silence("", type(heard).__name__, str(heard))
            return tuple(Hearing(name, Answer.UNKNOWN, why) for name in consumers)
        if heard and heard.of(info):
            return answered(workspace, (heard_of_write(name, heard) for name in consumers))
        if record.dead(info.version):
            return everyone(consumers, Answer.INCIDENT)
        before = heard is None and was_there(info, self.looked)
        return everyone(consumers, Answer.NEXT if before else Answer.WAITS)


def answered(workspace: Workspace, hearings: Iterable[Hearing]) -> tuple[Hearing, ...]:
    return tuple(
        replace(hearing, answer=Answer.SENT)
        if hearing.answer is Answer.TOLD and not workspace.catalogue.consumer(hearing.consumer).answers
        else hearing
        for hearing in hearings
    )


def everyone(consumers: tuple[str, ...], answer: Answer) -> tuple[Hearing, ...]:
    return tuple(Hearing(name, answer) for name in consumers)


def by_rotation(info: SecretInfo, acknowledged: Acknowledged | None, heard: Heard | KeyturnError | None) -> bool:
    if acknowledged and acknowledged.version == info.version and info.promoted_by != "-":
        return True
    return isinstance(heard, Heard) and heard.rotated and heard.of(info)


def heard_of_rotation(name: str, acknowledged: Acknowledged | None) -> Hearing:
    if acknowledged is None:
        return Hearing(name, Answer.NEXT)
    return Hearing(name, Answer.TOLD if name in acknowledged.consumers else Answer.SILENT)


def heard_of_write(name: str, heard: Heard) -> Hearing:
    if name in heard.told:
        return Hearing(name, Answer.TOLD)
    if name not in heard.waiting:
        return Hearing(name, Answer.NEXT)
    silence = heard.waiting[name]
    return Hearing(name, Answer.SILENT if silence else Answer.WAITS, silence)
