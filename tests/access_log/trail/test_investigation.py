"""What the trail answers: who, what, from where; sealed or not, merged or not; and what it does not know."""

import json
import re
import shlex
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner, Result

from keyturn.access_log.trail import summaries
from keyturn.access_log.trail.investigation import (
    MAPPED,
    Investigation,
    Subject,
    common_part,
    investigate,
    lies_in,
    to_network,
)
from keyturn.access_log.trail.layout import files_of
from keyturn.access_log.trail.merging import merge_trail
from keyturn.access_log.trail.period import Period
from keyturn.access_log.trail.trail import Trail
from keyturn.cli.app import app
from keyturn.core.errors import Invalid
from keyturn.core.ports.access import DELETE, DESTROY, LOGIN, Access
from keyturn.core.ports.access_source import Batch
from keyturn.providers.ledger.sqlite import SqliteLedger
from tests.access_log.trail.events import NOON, access, records, write
from tests.access_log.trail.logs import Cursors
from tests.cli.command import one_line, run_keyturn, surroundings
from tests.ledger.keys import ORIGIN
from tests.manual.lines import lines_of
from tests.support.clock import Clock

DOCUMENT = Path(__file__).parents[3] / "docs" / "access-monitoring-reference.md"
MINUTE: Final = timedelta(minutes=1)
WORKER: Final = "approle keyturn-worker"
ANA: Final = "userpass-ana"

DAY = [
    access(),
    *(access(NOON + at * MINUTE, login=f"4b{at}") for at in range(1, 6)),
    access(NOON + 7 * MINUTE, principal=ANA, source="2001:db8::7", agent="curl/8"),
    access(NOON + 8 * MINUTE, principal=ANA, source="10.9.9.9, said to be for 192.0.2.4", denied=True, version=None),
    access(NOON + 9 * MINUTE, "ml/key", ANA, source="2001:db8::7", system="aws"),
    access(NOON + 10 * MINUTE, "ml/other", principal=WORKER),
    access(NOON + 11 * MINUTE, principal=WORKER),
    access(NOON + 12 * MINUTE, "auth/userpass/login/ana", ANA, source="2001:db8::7", action=LOGIN, version=None),
    access(NOON + 13 * MINUTE, "ml/key", "approle trainer", root=True),
    access(NOON + 13 * MINUTE, "ml/ended", "approle cleaner", action=DELETE, version=2),
    access(NOON + 13 * MINUTE, "ml/ended", "approle cleaner", action=DESTROY, version=None),
    access(NOON + 13 * MINUTE, "x%_\\y", "<b>bob\x1b[31m", source="", agent="\u202e", login=""),
]
"""What happened on one day."""


def batch(accesses: Sequence[Access], cursor: str, **rest: Any) -> Batch:
    return Batch(cursor, records(accesses), len(accesses), "audit.log:0", "audit.log:9", b"d" * 32, **rest)


def ask(directory: Path, what: str, period: Period | None = None, **rest: Any) -> Investigation:
    return investigate(directory, what, period or Period(), own=[WORKER], **rest)


def brief(answer: Investigation) -> list[tuple[str, str, int]]:
    return [(entry.principal, entry.path, entry.count) for entry in answer.timeline]


@pytest.fixture(scope="module", params=["spooled", "sealed", "merged"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The day in the trail, in one of the states that it goes through there."""
    directory = tmp_path_factory.mktemp("kept")
    with closing(SqliteLedger(directory / "ledger.db", ORIGIN, patience=5)) as ledger:
        keep(request.param, Trail(directory / "trail", ledger, Cursors(), lambda: "approle keyturn-serve", Clock()))
    return directory / "trail"


def keep(state: str, trail: Trail) -> None:
    trail.append("hub", None, batch(DAY[:8], "8"))
    if state == "sealed":
        trail.seal()
    trail.append("hub", "8", batch(DAY[8:], "14"))
    if state == "merged":
        trail.seal()
        for cursor in range(14, 17):
            trail.append("hub", str(cursor), batch([], str(cursor + 1)))
            trail.seal()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(summaries, "WORTH", 0)
            assert merge_trail(trail.directory, datetime(2099, 1, 1, tzinfo=UTC)) == 1


def test_a_secret_tells_who_read_it_and_what_else_these_read(kept: Path) -> None:
    answer = ask(kept, "ml/db")
    assert (answer.subject, answer.accesses, answer.omitted, answer.distinct) == (Subject.PATH, 9, 0, (3, 1, 3))
    assert brief(answer) == [
        ("approle trainer", "ml/db", 6),
        (ANA, "ml/db", 1),
        (ANA, "ml/db", 1),
        (WORKER, "ml/db", 1),
    ]
    trainer = answer.timeline[0]
    assert (trainer.first, trainer.last, trainer.version) == (NOON, NOON + 5 * MINUTE, 3)
    assert (trainer.login, trainer.other_login, trainer.own) == ("4b1", "4be1", False)
    totals = [(total.name, total.reads, total.refused, total.own) for total in answer.principals]
    assert totals == [("approle trainer", 6, 0, False), (ANA, 1, 1, False), (WORKER, 1, 0, True)]
    related = [(secret.system, secret.path, secret.principals) for secret in answer.related]
    assert related == [("hub", "ml/key", 1)]
    assert [(source.source, source.begins, source.latest) for source in answer.coverage.sources] == [
        ("hub", NOON, NOON + 13 * MINUTE)
    ]
    assert answer.coverage.covers(Period())


def test_a_principal_and_an_address_tell_what_was_read(kept: Path) -> None:
    assert brief(ask(kept, ANA)) == [
        (ANA, "ml/db", 1),
        (ANA, "ml/db", 1),
        (ANA, "ml/key", 1),
        (ANA, "auth/userpass/login/ana", 1),
    ]
    assert ask(kept, "2001:DB8:0::7").accesses == ask(kept, "2001:db8::/64").accesses == 3
    assert brief(ask(kept, "192.0.2.4")) == brief(ask(kept, "10.9.0.0/16")) == [(ANA, "ml/db", 1)]
    assert ask(kept, "192.0.2.4").subject is Subject.ADDRESS
    assert {total.name for total in ask(kept, "ml/*").paths} == {"ml/db", "ml/key", "ml/other"}
    assert brief(ask(kept, "<b>bob*")) == brief(ask(kept, "x%_\\*")) == [("<b>bob\x1b[31m", "x%_\\y", 1)]


def test_a_period_is_cut_out_of_it(kept: Path) -> None:
    period = Period(NOON + 2 * MINUTE, NOON + 4 * MINUTE)
    assert brief(ask(kept, "ml/db", period)) == [("approle trainer", "ml/db", 3)]
    assert ask(kept, "ml/db", Period(NOON + timedelta(days=1))).subject is None
    limited = ask(kept, "ml/db", limit=1)
    assert (brief(limited), limited.omitted) == ([(WORKER, "ml/db", 1)], 3)


def test_what_is_not_there_is_told_with_what_is_like_it(kept: Path) -> None:
    answer = ask(kept, "trainer")
    assert (answer.subject, answer.accesses, list(answer.like)) == (None, 0, ["approle trainer"])
    with pytest.raises(Invalid, match="neither an address nor a network"):
        ask(kept, "ml/db", subject=Subject.ADDRESS)


def test_a_name_of_both_kinds_is_asked_back(tmp_path: Path) -> None:
    write(tmp_path, 1, [access(path="ana"), access(principal="ana")])
    with pytest.raises(Invalid, match="a secret and a principal are called so"):
        ask(tmp_path, "ana")
    assert brief(ask(tmp_path, "ana", subject=Subject.PRINCIPAL)) == [("ana", "ml/db", 1)]


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    for number in (2, 3, 6):
        write(tmp_path, number, [access(NOON + timedelta(days=number))], gaps=("audit.log was cut",) * (number == 3))
    files_of(tmp_path, "hub")[0].path.write_bytes(b"broken")
    (source,) = ask(tmp_path, "ml/db").coverage.sources
    assert [(missing.first, missing.last) for missing in source.missing] == [(0, 1), (4, 5)]
    assert [broken.problem for broken in source.broken] == ["it is no whole Parquet file"]
    assert [(gap.segment, gap.words) for gap in source.gaps] == [(3, "audit.log was cut")]
    (source,) = ask(tmp_path, "ml/db", Period(NOON + timedelta(days=7))).coverage.sources
    assert (source.missing, source.broken, source.gaps) == ((), (), ())


def test_sealed_segments_whose_events_are_gone_are_missing(trail: Trail, directory: Path) -> None:
    for number in range(3):
        trail.append("hub", str(number) if number else None, batch(DAY[:1], str(number + 1)))
        trail.seal()
    for file in files_of(directory, "hub")[1:]:
        file.path.unlink()
    (source,) = ask(directory, "ml/db").coverage.sources
    assert [(missing.first, missing.last) for missing in source.missing] == [(1, 2)]


@pytest.mark.parametrize(
    ("source", "what", "within"),
    [
        ("10.0.0.1, said to be for 192.0.2.4", "192.0.2.0/25", True),
        ("::ffff:a00:1", "10.0.0.0/8", True),
        ("10.3.0.1", "10.0.0.0/14", True),
        ("::ffff:10.0.0.1", "10.0.0.0/8", True),
        ("10.0.0.11", "10.0.0.1", False),
        ("", "0.0.0.0/0", False),
    ],
)
def test_an_address_is_compared_as_one(source: str, what: str, within: bool) -> None:
    network = to_network(what)
    assert network
    assert lies_in(source, network) is within
    assert common_part(network) in source or MAPPED in source or not within


@pytest.fixture(scope="module")
def sealed_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The day in a trail that commands ask."""
    directory = tmp_path_factory.mktemp("trail")
    write(directory, 0, DAY)
    return directory


def run(directory: Path, *arguments: str) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(app, ["investigate", *arguments], env={"KEYTURN_TRAIL": str(directory), "COLUMNS": "100"})


def text(directory: Path, *arguments: str) -> str:
    """What it shows, on one line."""
    return " ".join(run(directory, *arguments).stdout.split())


def test_people_are_shown_it_and_no_name_steers_their_terminal(sealed_day: Path) -> None:
    shown = run(sealed_day, "ml/db").stdout
    assert "secret ml/db: 9 times" in shown
    assert re.search(
        r"2026-11-01 12:00:00 +approle trainer +ml/db version 3 +6 *\n2026-11-01 12:05:00 +from 10.0.0.1", shown
    )
    assert "from 10.9.9.9, said to be for" in shown
    assert "Keyturn's own login" in shown
    assert "- hub: events from 2026-11-01 12:00:00 on, the newest of 2026-11-01 12:13:00" in shown
    ended = " ".join(run(sealed_day, "ml/ended").stdout.split())
    assert "deleted ml/ended version 2" in ended
    assert "destroyed ml/ended" in ended
    odd = run(sealed_day, "x%_*").stdout
    assert "<b>bob\\x1b[31m" in odd
    assert "\\u202e" in odd


def test_nothing_is_told_as_nobody_only_where_everything_is_there(sealed_day: Path) -> None:
    assert text(sealed_day, "ml/no").startswith("the logs of that time have no access to, by or from ml/no")
    early = text(sealed_day, "ml/no", "--from", "2026-10-30")
    assert early.startswith("nothing of ml/no was found, but the logs of that time have gaps")
    assert "it begins at 2026-11-01 12:00:00 UTC; what was before is not known" in early


def test_scripts_get_it_as_json(sealed_day: Path) -> None:
    data = json.loads(run(sealed_day, "ml/db", "--from", "2026-10-30", "--json").stdout)
    assert (data["subject"], data["accesses"], data["covered"]) == ("path", 9, False)
    assert (data["from"], data["to"]) == ("2026-10-30T00:00:00+00:00", None)
    assert data["timeline"][0]["first"] == "2026-11-01T12:00:00+00:00"
    assert (data["timeline"][0]["login"], data["timeline"][1]["login"]) == (None, "4be1")
    section = DOCUMENT.read_text().partition("\n## JSON of investigate")[2].partition("\n## ")[0]
    described = re.findall(r"(?m)^\| `(\w+)` \|", section)
    assert set(data) <= set(described)
    assert {key for line in data["timeline"] for key in line} <= set(described)
    assert {key for source in data["coverage"] for key in source} <= set(described)


def test_every_command_of_the_guide_runs(sealed_day: Path) -> None:
    for command in lines_of("access-monitoring.md", "keyturn investigate"):
        assert run(sealed_day, *shlex.split(command)[2:]).exit_code == 0, command


def test_what_can_not_be_asked_is_told(tmp_path: Path) -> None:
    nowhere = run_keyturn("investigate", "ml/db", env=surroundings(tmp_path, KEYTURN_TRAIL=str(tmp_path / "nowhere")))
    one_line(nowhere, "no log has been read into it")
    for words, moments in (("'yesterday' is no moment", ("yesterday", "1h")), ("is later than --to", ("1h", "2h"))):
        assert words in run(tmp_path, "ml/db", "--from", moments[0], "--to", moments[1]).stderr
    assert "no log was read into it yet" in text(tmp_path, "ml/db")
