"""Incidents as reports are made of them: an open one, a closed one, one of many secrets, one without anything."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from keyturn.access_log.readers import LogRead, PathReaders, Readers, Related, SecretReader
from keyturn.core.ports.access import Coverage
from keyturn.revocation.incidents.incident import (
    Event,
    Incident,
    IncidentStatus,
    LeakedVersion,
    Mode,
    Result,
    SecretProgress,
    Step,
)
from keyturn.revocation.proof import Check, CheckAnswer, CheckSubject

TRIGGER: Final = datetime(2026, 11, 25, 3, 12, 4, 120_000, tzinfo=UTC)
PATH: Final = "ml-training/database"
AWS, AZURE = "aws:ml-database-credentials", "azure:ml-database-credentials"
STAYS: Final = f"{AWS}: AWS deletes version 7 by itself"


def after(seconds: float) -> datetime:
    """A moment after the trigger."""
    return TRIGGER + timedelta(seconds=seconds)


def digest(of: object) -> str:
    """A whole fingerprint."""
    return hashlib.sha256(str(of).encode()).hexdigest()


OLD: Final = (
    LeakedVersion(7, {"": digest(7), AWS: digest("aws 7"), AZURE: digest("azure 7")}),
    LeakedVersion(6, {"": digest(6)}),
    LeakedVersion(0, {"": digest(0)}),
)

EVENTS: Final = (
    Event(after(0.412), Step.CUT, Result.DONE, "ml-postgres", "every credential of it is ended, 3 sessions ended"),
    Event(after(0.9), Step.REPLACE, Result.DONE, "", "version 8 is in force"),
    Event(after(1.1), Step.PUSH, Result.DONE, AWS, "updated, version 8"),
    Event(after(1.6), Step.PUSH, Result.FAILED, AZURE, "the service does not answer", "Unavailable"),
    Event(after(1.7), Step.NOTIFY, Result.DONE, "trainer", "has acknowledged"),
    Event(after(1.9), Step.HUB, Result.DONE, "", "destroyed versions 6, 7"),
    Event(after(2.2), Step.FORGET, Result.REMAINS, AWS, "AWS deletes version 7 by itself"),
    Event(after(2.2), Step.FORGET, Result.DONE, AWS, "removed what the service can remove"),
)


def stuck(path: str = PATH) -> SecretProgress:
    """A secret that one store keeps from its proof."""
    return SecretProgress(
        path=path,
        strategy="postgresql-two-users",
        owner="team-ml",
        classification="confidential",
        old=OLD,
        done=(Step.CUT, Step.REPLACE, Step.NOTIFY, Step.HUB),
        version=8,
        fingerprint=digest(8),
        cut_at=after(0.4),
        refused_at=after(0.431),
        sessions=3,
        remains=(STAYS,),
        left=(f"push: {AZURE}: the service does not answer. It is tried again",),
        events=EVENTS,
    )


def proven(path: str = PATH) -> SecretProgress:
    """A secret that is done with."""
    later = (
        Event(after(3.8), Step.PUSH, Result.DONE, AZURE, "updated, version 8"),
        Event(after(4.2), Step.FORGET, Result.DONE, AZURE, "old versions are removed"),
        Event(after(4.9), Step.PROVE, Result.DONE, "", "the old value is refused, and found nowhere"),
    )
    checks = (
        Check(CheckSubject.TARGET, "ml-postgres", CheckAnswer.CLEAR, "refused at 2026-11-25 03:12:04 UTC"),
        Check(CheckSubject.HUB, "", CheckAnswer.CLEAR, "it gives none of the versions 6 to 7"),
        Check(CheckSubject.COPY, AWS, CheckAnswer.REFUSED, "AWS deletes version 7 by itself"),
        Check(CheckSubject.COPY, AZURE, CheckAnswer.CLEAR),
    )
    done = {"done": tuple(Step), "clear_at": after(4.9), "left": (), "events": EVENTS + later}
    return replace(stuck(path), **done, checks=checks)  # type: ignore[arg-type]


def standing(*secrets: SecretProgress, **changes: object) -> IncidentStatus:
    """An incident of these secrets; closed where nothing of them is left."""
    over = not any(one.left for one in secrets)
    incident = Incident(
        id="INC-1",
        reason="leaked in a log",
        mode=Mode.REPLACE,
        selector="path ml-training/database",
        actor="ana@example.com",
        triggered_at=TRIGGER,
        opened_at=after(0.05),
        paths=tuple(one.path for one in secrets),
        closed_at=after(5) if over else None,
    )
    return IncidentStatus(replace(incident, **changes), secrets)  # type: ignore[arg-type]


def readers(*paths: str) -> Readers:
    """What a log with a gap, and one that could not be read, tell of these secrets."""
    since = TRIGGER - timedelta(days=7)
    trainer = SecretReader(
        "hub",
        "approle trainer",
        8_640,
        0,
        since,
        TRIGGER,
        (("10.0.0.7", 8_630), ("203.0.113.9", 10)),
        (("aebd0769", 8_000), ("1335d463", 640)),
        (6, 7),
    )
    stranger = SecretReader("hub", "unknown token", 0, 4, since, TRIGGER, (("203.0.113.9", 4),), (("93779dd4", 4),))
    worker = SecretReader(
        "hub", "approle keyturn-worker", 168, 0, since, TRIGGER, (("10.0.0.5", 168),), (("c32c81dc", 168),), own=True
    )
    return Readers(
        since,
        TRIGGER,
        tuple(PathReaders(path, (trainer, stranger, worker)) for path in paths),
        (Related("hub", "approle trainer", "ml-training/object-store", 12, since, TRIGGER),),
        41,
        (
            LogRead(
                "hub audit file audit.log", Coverage(1_204_332, since, TRIGGER, ("3 of its lines could not be read",))
            ),
            LogRead("CloudTrail", failed="read CloudTrail: it is away"),
        ),
    )


def silence() -> Readers:
    """What no log tells."""
    return Readers(TRIGGER - timedelta(days=7), TRIGGER)
