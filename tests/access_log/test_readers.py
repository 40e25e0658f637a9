"""Readers of an incident's secrets, by principal and source, without Keyturn itself."""

import gzip
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.access_log.readers import LogRead, Readers, gather, is_own
from keyturn.core.errors import Denied, KeyturnError, Unavailable
from keyturn.core.ports.access import Access, AccessLog, Coverage
from keyturn.core.ports.own_login import role_principals

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PATH = "ml/database"
DOCUMENT = Path(__file__).parents[2] / "docs" / "incident-report.md"


class Log:
    """A log of these accesses, that breaks off with an error where it is given one."""

    def __init__(self, accesses: Iterable[Access], error: Exception | None = None, name: str = "log") -> None:
        self.name = name
        self.coverage = Coverage()
        self._accesses = list(accesses)
        self._error = error

    def accesses(self, since: datetime, until: datetime) -> Iterator[Access]:
        yield from self._accesses
        if self._error:
            raise self._error
        self.coverage = Coverage(len(self._accesses), since, until, ("a gap",))


def access(principal: str, path: str = PATH, hours: float = 0, **others: object) -> Access:
    told = {"version": 1, "source": "10.0.0.1", "denied": False, "login": ""} | others
    return Access(NOON + timedelta(hours=hours), "hub", path, principal=principal, **told)  # type: ignore[arg-type]


def gathered(*accesses: Access, paths: tuple[str, ...] = (PATH,), own: tuple[str, ...] = ()) -> Readers:
    return gather([Log(accesses)], paths, NOON - DAY, NOON + DAY, own)


def test_each_principal_is_told_once_with_sources_numbers_and_times() -> None:
    told = gathered(
        access("approle trainer", hours=2, version=7, login="b"),
        access("approle trainer", hours=1, version=6, login="a", source="10.0.0.2"),
        access("approle trainer", hours=3, version=7, login="a"),
        access("approle trainer", hours=4, version=9, login="a", denied=True),
        access("userpass-ana", source=""),
    )
    (first, second) = told.paths[0].readers
    assert (first.principal, first.reads, first.refused) == ("approle trainer", 3, 1)
    assert (first.first, first.last) == (NOON + timedelta(hours=1), NOON + timedelta(hours=4))
    assert first.sources == (("10.0.0.1", 3), ("10.0.0.2", 1))
    assert first.logins == (("a", 3), ("b", 1))
    assert first.versions == (6, 7)
    assert (second.principal, second.sources, second.logins) == ("userpass-ana", (), ())


def test_one_who_only_tried_is_told_too() -> None:
    (reader,) = gathered(access("unknown token", denied=True, version=None)).paths[0].readers
    assert (reader.reads, reader.refused, reader.versions) == (0, 1, ())


def test_a_secret_that_nobody_read_has_its_place() -> None:
    told = gathered(access("ana"), paths=("b", PATH))
    assert [(one.path, len(one.readers)) for one in told.paths] == [("b", 0), (PATH, 1)]


def test_what_else_the_same_principals_read_is_told_in_order() -> None:
    told = gathered(
        access("ana"),
        access("ana", "z"),
        access("ana", "b", hours=1),
        access("ana", "b", hours=2),
        access("ana", "tried", denied=True),
        access("stranger", "c"),
        access("bob", denied=True),
        access("bob", "y"),
    )
    assert [(one.principal, one.path, one.reads) for one in told.related] == [
        ("ana", "b", 2),
        ("ana", "z", 1),
        ("bob", "y", 1),
    ]
    assert (told.related[0].first, told.related[0].last) == (NOON + timedelta(hours=1), NOON + timedelta(hours=2))


def test_the_same_name_in_two_systems_is_two_principals() -> None:
    there = Access(NOON, "aws", "z", 1, "ana", "10.0.0.1")
    told = gathered(access("ana"), there)
    assert told.related == ()


def test_another_secret_of_the_incident_is_no_related_one() -> None:
    assert gathered(access("ana"), access("ana", "b"), paths=(PATH, "b")).related == ()


def test_keyturns_own_logins_are_told_last_and_marked_and_have_no_related_secrets() -> None:
    told = gathered(
        access("approle keyturn-worker", source="203.0.113.9"),
        access("approle keyturn-worker", "b"),
        access("approle keyturn-worker", "c"),
        access("ana", "b"),
        access("ana"),
        own=("approle keyturn-worker",),
    )
    assert [(one.principal, one.own) for one in told.paths[0].readers] == [
        ("ana", False),
        ("approle keyturn-worker", True),
    ]
    assert told.paths[0].readers[1].sources == (("203.0.113.9", 1),)
    assert [(one.principal, one.path) for one in told.related] == [("ana", "b")]
    assert told.own_related == 2


@pytest.mark.parametrize(
    ("system", "principal", "own"),
    [
        ("hub", "approle keyturn-worker", True),
        ("hub", "approle keyturn-notary", True),
        ("hub", "keyturn-worker", False),
        ("hub", "ldap-ana keyturn-worker", False),
        ("hub", "jwt-mallory keyturn-revoker", False),
        ("hub", "approle not-keyturn-worker", False),
        ("hub", "token-keyturn-worker", False),
        ("hub", "approle keyturn-worker (root policy)", False),
        ("hub", "", False),
        ("cluster", "approle keyturn-worker", False),
    ],
)
@pytest.mark.attack
def test_only_the_whole_name_in_the_hub_makes_a_login_keyturns_own(system: str, principal: str, own: bool) -> None:
    assert is_own(system, principal, role_principals({})) is own


def test_the_logins_of_a_workspace_are_its_own_by_the_name_that_they_bear() -> None:
    own = role_principals({"KEYTURN_WORKSPACE": "red"})
    assert is_own("hub", "approle keyturn-red-worker", own)
    assert is_own("hub", "approle keyturn-red-revoker", own)
    assert not is_own("hub", "approle keyturn-blue-worker", own)
    assert not is_own("hub", "approle keyturn-red-worker", role_principals({}))


def test_a_log_tells_what_it_covers() -> None:
    (log,) = gathered(access("ana")).logs
    assert log == LogRead("log", Coverage(1, NOON - DAY, NOON + DAY, ("a gap",)))


@pytest.mark.parametrize(
    "error", [Unavailable("read", "audit.log", "it is away"), Denied("read", "audit.log", "it is away")]
)
def test_a_log_that_can_not_be_read_is_a_statement(error: KeyturnError) -> None:
    logs = [Log([access("bob")], error, "broken"), Log([access("ana")])]
    told = gather(logs, [PATH], NOON - DAY, NOON + DAY)
    assert [log.failed for log in told.logs] == [str(error), ""]
    assert [reader.principal for reader in told.paths[0].readers] == ["ana", "bob"]


def test_an_error_that_nobody_foresaw_is_told_by_its_kind_alone() -> None:
    told = gather([Log([], ZeroDivisionError("s3cr3t"))], [PATH], NOON - DAY, NOON + DAY)
    assert "ZeroDivisionError" in told.logs[0].failed
    assert "s3cr3t" not in told.logs[0].failed


def test_the_log_of_a_cloud_that_the_documentation_shows_fills_the_port(tmp_path: Path) -> None:
    (code,) = (block for block in re.findall(r"(?s)```python\n(.*?)```", DOCUMENT.read_text()) if "CloudTrail" in block)
    shown: dict[str, Any] = {}
    exec(code, shown)  # noqa: S102  our own documentation
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ml-database-a1B2c3"
    identity = {
        "type": "AssumedRole",
        "arn": "arn:aws:sts::123456789012:assumed-role/trainer/i-1",
        "accessKeyId": "ASIAX",
    }
    record = {"eventName": "GetSecretValue", "userIdentity": identity, "sourceIPAddress": "203.0.113.9"}
    records = [
        record | {"eventTime": "2026-11-24T12:00:00Z", "requestParameters": {"secretId": arn}},
        record | {"eventTime": "2026-11-24T12:01:00Z", "requestParameters": {"secretId": "ml-database"}},
        record | {"eventTime": "2026-11-24T12:02:00Z", "requestParameters": None, "errorCode": "AccessDenied"},
        record | {"eventTime": "2026-11-24T12:03:00Z", "eventName": "PutSecretValue"},
    ]
    (tmp_path / "1.json.gz").write_bytes(gzip.compress(json.dumps({"Records": records}).encode()))
    log: AccessLog = shown["CloudTrail"](tmp_path, {"ml-database": PATH})
    told = gather([log], [PATH], NOON - DAY, NOON + DAY)
    (reader,) = told.paths[0].readers
    assert (reader.system, reader.principal, reader.reads) == ("aws", identity["arn"], 2)
    assert (reader.sources, reader.logins) == ((("203.0.113.9", 2),), (("ASIAX", 2),))
    assert told.logs[0].coverage.last == NOON + timedelta(minutes=3)


def test_without_a_log_nothing_is_told_of_anybody() -> None:
    told = gather([], [PATH], NOON - DAY, NOON + DAY)
    assert (told.logs, told.related, told.paths[0].readers) == ((), (), ())
