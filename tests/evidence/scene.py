"""A small site for reports: a ledger with real proofs, and simulated hub and logs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from keyturn.access_log.readers import LogRead
from keyturn.core.ports.access import Coverage
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.evidence.facts import (
    AccessExtract,
    CopyFact,
    ExceptionFact,
    Facts,
    FreezeFact,
    KeyFact,
    Period,
    ReaderFact,
    SecretFact,
    Unmanaged,
)
from keyturn.evidence.frameworks import FRAMEWORKS
from keyturn.evidence.key_periods import BY_STRATEGY
from keyturn.evidence.ledger_extract import extract_ledger
from keyturn.evidence.report import Document, build_report
from keyturn.ledger.checkpointer import sign_checkpoint
from keyturn.ledger.proofs import Proof, prove_entry
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.sqlite import SqliteLedger
from keyturn.rotation.state.break_glass import BrokenGlass
from tests.ledger.keys import ORIGIN, Key, Memory

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = datetime(2026, 4, 1, tzinfo=UTC)
LOOKED = UNTIL + timedelta(hours=9)
DATABASE, API, WEB, VENDOR = "ml-training/database", "ml-training/api-keys", "web/tls", "partners/vendor-key"
PERIOD = Period(SINCE, UNTIL)
WORKER = "approle keyturn-worker (accessor 1f2e)"
DRILL = "20260330T010000Z-1/4: proven, 412 entries, 1900 versions compared, recovery time 9.1 s, recovery point "
DRILL += "2026-03-31T01:00:00+00:00, 82800.0 s old"
TRAIL = "hub audit file /var/log/openbao/audit.log"


def done(at: datetime, action: str, secret: str = "", version: int = 0, **more: Any) -> Entry:
    """An entry of something that went well."""
    fields = {"actor": WORKER, "host": "worker-1", "run": "rotate-due 1f2e", **more}
    outcome = fields.pop("outcome", Outcome.DONE)
    return Entry(time=at, action=action, outcome=outcome, secret=secret, version=version, **fields)


def history() -> Iterator[Entry]:
    """What was done: rotations of three secrets with their copies, an incident, and a value that somebody was shown."""
    yield done(SINCE - timedelta(days=10), "promote", DATABASE, 3)
    yield done(SINCE - timedelta(days=2), "promote", API, 8)
    yield done(SINCE - timedelta(days=1), "promote", WEB, 1)
    for week in range(13):
        at = SINCE + timedelta(days=7 * week + 2, hours=2)
        yield done(at, "rotate", API, outcome=Outcome.BEGUN)
        yield done(at + timedelta(seconds=3), "promote", API, 9 + week)
        yield done(at + timedelta(seconds=4), "push", API, 9 + week, place="aws:ml-api-keys")
        yield done(at + timedelta(hours=1), "retire", API, 8 + week, place="")
        if week % 4 == 1:
            yield done(at + timedelta(seconds=9), "promote", DATABASE, 4 + week // 4)
            yield done(at + timedelta(seconds=10), "push", DATABASE, 4 + week // 4, place="aws:ml-database-credentials")
            yield done(at + timedelta(hours=2), "retire", DATABASE, 3 + week // 4, place="postgresql ml-postgres")
    yield done(SINCE + timedelta(days=40), "promote", WEB, 2)
    note = "INC-1: leaked in a log (path ml-training/api-keys, replace)"
    yield done(SINCE + timedelta(days=50), "open incident", note=note)
    yield done(SINCE + timedelta(days=50, seconds=1), "cut", API, note="INC-1")
    yield done(SINCE + timedelta(days=50, seconds=9), "close incident", note="INC-1")
    shown = {"actor": "userpass-ana (entity ana 7f3a)", "host": "laptop"}
    yield done(SINCE + timedelta(days=60), "reveal", DATABASE, 5, note="field password", **shown)
    for at in (SINCE + timedelta(minutes=1), UNTIL - timedelta(minutes=1)):
        yield done(at, "access-segment", place="hub", note="lines 1 to 2")
    yield done(UNTIL - timedelta(seconds=1), "flow keep-ledger")
    yield done(UNTIL - timedelta(milliseconds=1), "restore drill", note=DRILL)


@dataclass
class HubOfKeys:
    """As much of a hub as tells which key signs."""

    key: Key

    def read_state(self, path: str) -> None:
        """Nothing is named yet."""

    def signer(self, key: str) -> Key:
        """What signs the ledger."""
        return self.key


@dataclass
class House:
    """The ledger, its key, and the facts."""

    ledger: SqliteLedger
    key: Key
    kept: Memory
    facts: Facts

    def prove(self, sequence: int) -> Proof:
        """As the command does."""
        return prove_entry(self.ledger, sequence, self.facts.ledger.checkpoint)

    def report(self, framework: str = "fedramp-ksi", **changes: Any) -> Document:
        """A report of these facts, some of them changed."""
        return build_report(replace(self.facts, **changes), FRAMEWORKS[framework], self.prove)

    def sign(self, at: datetime) -> None:
        """A checkpoint over what came since."""
        assert sign_checkpoint(self.ledger, self.key, self.kept, lambda: at, verify_ed25519)


@contextmanager
def house(directory: Path) -> Iterator[House]:
    """One whose ledger lies in the directory."""
    ledger, key, kept = SqliteLedger(directory / "ledger.db", ORIGIN, patience=5), Key(), Memory()
    ledger.append(list(history()))
    built = House(ledger, key, kept, facts())
    built.sign(UNTIL)
    extract = extract_ledger(ledger, HubOfKeys(key), verify_ed25519, PERIOD, None)  # type: ignore[arg-type]
    built.facts = replace(built.facts, ledger=extract)
    try:
        yield built
    finally:
        ledger.close()


def secret(path: str, **more: Any) -> SecretFact:
    """One that is in time, and logs in."""
    return replace(
        SecretFact(
            path,
            "ml@example.com",
            "confidential",
            "alternating-users",
            limit=timedelta(days=45),
            interval=timedelta(days=30),
            version=5,
            rotated_at=UNTIL - timedelta(days=20),
            due_at=UNTIL + timedelta(days=10),
            login="accepted",
            login_at=LOOKED - timedelta(hours=3),
            stores=("aws",),
            consumers=("trainer",),
        ),
        **more,
    )


def facts() -> Facts:
    """Without the ledger."""
    young = {"limit": timedelta(days=10), "interval": timedelta(days=7), "rotated_at": UNTIL - timedelta(days=4)}
    tls = {"common_name": "web.example.com", "names": "web.example.com", "issuer": "pki/web", "key": "p-256"}
    made, ends = SINCE + timedelta(days=40), SINCE + timedelta(days=130)
    certificate = {"strategy": "certificate", "rotated_at": made, "expires_at": ends, "certificate": tls}
    by_hand = {"by_hand": True, "limit": timedelta(days=365), "interval": None, "due_at": None, "login": ""}
    return Facts(
        period=PERIOD,
        looked_at=LOOKED,
        looked_by=WORKER,
        catalogue_id="default",
        catalogue="ab" * 32,
        secrets=(
            secret(API, classification="restricted", strategy="generated", login="", **young),
            secret(DATABASE),
            secret(VENDOR, owner="partners@example.com", strategy="manual", stores=(), consumers=(), **by_hand),
            secret(WEB, limit=None, interval=None, login="", key=BY_STRATEGY["certificate"], **certificate),
        ),
        copies=(
            CopyFact(API, "aws", "aws-secrets-manager", "ml-api-keys", "in sync"),
            CopyFact(DATABASE, "aws", "aws-secrets-manager", "ml-database-credentials", "in sync"),
        ),
        unmanaged=(Unmanaged("aws", "legacy/db", "unmanaged"),),
        accesses=AccessExtract(
            (LogRead(TRAIL, Coverage(1_204_332, SINCE, UNTIL)),),
            (
                ReaderFact(API, "hub", "approle stranger", 2, 1, UNTIL - timedelta(days=3), UNTIL - timedelta(days=2)),
                ReaderFact(DATABASE, "hub", "approle keyturn-worker", 90, 0, SINCE, UNTIL, own=True),
                ReaderFact(DATABASE, "hub", "approle trainer", 8_640, 0, SINCE, UNTIL, expected=True),
            ),
            {(2, "restricted"): 2, (9, "confidential"): 5_000, (10, "confidential"): 3_640},
            {API: ("keyturn-revoker", "keyturn-worker", "trainer"), DATABASE: ("keyturn-worker", "trainer")},
        ),
        keys=(KeyFact("ledger-key", "signs the ledger", "replaced by hand", SINCE, None, "", late=False),),
        exceptions=(
            ExceptionFact(
                "vendor-key",
                ("rotation-automated",),
                (VENDOR,),
                "partners@example.com",
                UNTIL + timedelta(days=30),
                "the vendor replaces it by hand",
            ),
        ),
        freezes=(FreezeFact("audit", SINCE + timedelta(days=60), SINCE + timedelta(days=67), "auditors", 4),),
        glass=(
            BrokenGlass(
                *("BG-1", "2026-02-01T00:00:00Z", "revoke", "path a", "night", "ana"),
                entity="",
                remark="",
                reviewed_by="ben",
                verdict="was right",
            ),
        ),
        second_person=("giving an incident up",),
    )
