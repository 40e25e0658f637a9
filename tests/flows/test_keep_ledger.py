"""The ledger flow appends waiting entries, signs, forwards, and reports problems."""

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import State
from pytest_httpserver import HTTPServer

from flows.keep_ledger import BEHIND, REWRITTEN, Kept, keep_ledger
from keyturn.core.errors import Rewritten, Unavailable, Unrecorded
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.checkpoints import read_checkpoint
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.formats import Severity, severity
from keyturn.ledger.storage.spool import Spooled
from keyturn.providers.ledger.address import open_ledger
from keyturn.wiring.ledger import spool_file
from local.pager import Pager
from local.support.ports import LOOPBACK, free_port
from tests.flows.runs import Installed, completed, ended, error, register, result
from tests.flows.site import Architect, Site, as_notary
from tests.ledger.entries import entries, entry
from tests.support.lab import Lab, fresh
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

NOTARYS = ("KEYTURN_HUB_AUTH", "KEYTURN_HUB_TOKEN_FILE")
"""What leads a run to the login of the notary."""

Build = Callable[..., Site]


@dataclass
class Desk:
    """A ledger of its own, which the flows of this process keep."""

    file: Path
    name: str
    lab: Lab

    def write(self, *written: Entry) -> None:
        with closing(open_ledger(str(self.file), origin=self.name)) as opened:
            opened.append(written)

    def entries(self) -> list[Entry]:
        with closing(open_ledger(str(self.file), origin=self.name)) as opened:
            return [parse_leaf(leaf).entry for _, leaf in opened.leaves()]

    def newest(self) -> str:
        with closing(open_ledger(str(self.file), origin=self.name)) as opened:
            return opened.newest()

    def a_day_passes(self) -> None:
        """The last look at all entries lies as far back as lets the next run take another."""
        hub, place = self.lab.hub, f"ledgers/{self.name}"
        state = hub.read_state(place)
        assert state is not None
        hub.write_state(place, {**state.data, "looked_through": "2020-01-01T00:00:00+00:00"}, cas=state.version)

    def kept_in_the_hub(self) -> str:
        state = self.lab.hub.read_state(f"ledgers/{self.name}")
        return str(state.data["checkpoint"]) if state else ""

    def tamper(self, statement: str) -> None:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.execute(statement)


@pytest.fixture
def desk(build: Build, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    build()
    made = Desk(tmp_path / "ledger.db", fresh(), lab)
    monkeypatch.setenv("KEYTURN_LEDGER", str(made.file))
    monkeypatch.setenv("KEYTURN_LEDGER_NAME", made.name)
    as_notary(lab, tmp_path, monkeypatch)
    made.name = f"keyturn/{made.name}"
    from tasks.workspace import opened

    # The workspace of this process was opened with another ledger.
    opened.cache_clear()
    return made


def states(installed: Installed, state: State[Any]) -> dict[str, str]:
    """The table of a run."""
    return {row["what"]: row["state"] for row in installed.rows(str(state.state_details.flow_run_id))}


def test_what_is_new_is_signed_kept_in_the_hub_and_shown(installed: Installed, desk: Desk) -> None:
    desk.write(*entries(3))
    state = ended(keep_ledger)
    kept = result(state)
    assert isinstance(kept, Kept)
    assert (kept.signed.size, kept.signed.new, kept.forwarded) == (3, True, ())
    assert desk.newest() == desk.kept_in_the_hub() == kept.signed.note
    assert desk.entries() == entries(3)
    assert states(installed, state) == {"spool": "empty", "checkpoint": "made over 3 entries"}
    assert state.message == "spool: empty, checkpoint: made over 3 entries"
    (shown,) = installed.server.all(
        "artifacts", artifacts={"flow_run_id": {"any_": [str(state.state_details.flow_run_id)]}}
    )
    assert kept.signed.note in shown["description"]


def test_where_nothing_is_new_nothing_is_signed_until_the_checkpoint_is_old_and_no_table_is_left(
    installed: Installed, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ended(keep_ledger).message == "spool: empty, checkpoint: the ledger is empty"
    desk.write(*entries(3))
    completed(keep_ledger)
    idle = ended(keep_ledger)
    assert (result(idle).signed.new, result(idle).news, len(desk.entries())) == (False, 0, 3)
    monkeypatch.setattr("tasks.ledger.SIGN_OF_LIFE", timedelta(0))
    alive = ended(keep_ledger)
    assert (result(alive).signed.new, result(alive).news, result(alive).signed.size) == (True, 0, 4)
    last = desk.entries()[-1]
    assert (last.action, last.outcome, last.note) == ("keep ledger", Outcome.DONE, "nothing was new")
    for run in (idle, alive):
        asked = {"flow_run_id": {"any_": [str(run.state_details.flow_run_id)]}}
        assert installed.server.all("artifacts", artifacts=asked) == []


def test_what_waited_in_the_spool_is_appended_and_signed(installed: Installed, desk: Desk) -> None:
    class Refusing:
        def append(self, _: object) -> None:
            raise Unrecorded("write", "the ledger", "its disk is full")

    def lost(entries: object, why: str) -> None:
        raise AssertionError(why)

    desk.write(entry(1))
    spool = spool_file({"KEYTURN_LEDGER": str(desk.file)})
    Spooled(Refusing(), spool, lost).append([entry(2), entry(3)])  # type: ignore[arg-type]
    with spool.open("ab") as file:
        file.write(b'{"time":"20')
    state = ended(keep_ledger)
    kept = result(state)
    assert kept.drained.entries == 2
    written = desk.entries()
    assert [one for one in written if one in entries(3)] == entries(3)
    (torn,) = [one for one in written if one.action == "drain"]
    assert torn.outcome is Outcome.FAILED
    assert "1 lines of the spool" in torn.note
    assert kept.signed.size == len(written) == 4
    assert states(installed, state)["spool"].startswith("2 entries that had waited were appended; 1 lines of the spool")
    assert completed(keep_ledger).drained.entries == 0


def test_a_changed_history_fails_the_run_is_told_and_what_is_new_leaves_all_the_same(
    installed: Installed, desk: Desk, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write(*entries(3))
    completed(keep_ledger)
    signed = desk.newest()
    desk.tamper("UPDATE entries SET entry = replace(entry, 'on-call', 'nobody!') WHERE sequence = 2")
    desk.a_day_passes()
    desk.write(entry(5))
    httpserver.expect_request("/").respond_with_data("", 200)
    monkeypatch.setenv("KEYTURN_FORWARD_HTTP", httpserver.url_for("/"))
    state = ended(keep_ledger)
    failed = error(state)
    assert isinstance(failed, Rewritten)
    assert str(failed).startswith(
        f"{desk.name}, checkpoint: make a checkpoint of {desk.name}: its entries are not those"
    )
    assert desk.newest() == desk.kept_in_the_hub() == signed
    last = desk.entries()[-1]
    assert (last.action, last.outcome) == ("flow keep-ledger", Outcome.FAILED)
    assert severity(last) is Severity.CRITICAL
    assert last.note.startswith("Rewritten: its entries are not those that the checkpoint")
    sent = b"".join(request.data for request, _ in httpserver.log)
    assert [json.loads(line)["seq"] for line in sent.splitlines()] == [1, 2, 3, 4]
    assert b"nobody!" in sent
    assert states(installed, state)["checkpoint"] == str(failed)

    def told() -> dict[str, Any] | None:
        found = [one for one in installed.server.events() if one["event"] == REWRITTEN]
        return next((one for one in found if one["payload"]["ledger"] == desk.name), None)

    event = wait_for(told)
    assert event["resource"]["prefect.resource.id"] == f"keyturn.ledger.{desk.name}"
    assert event["payload"]["why"] == str(failed)


def test_each_collector_gets_what_is_new_whatever_becomes_of_another(
    installed: Installed, desk: Desk, pager: Pager, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("KEYTURN_FORWARD_SYSLOG", f"tcp://{LOOPBACK}:{port}")
    monkeypatch.setenv("KEYTURN_FORWARD_HTTP", httpserver.url_for("/"))
    httpserver.expect_request("/").respond_with_data("", 200)
    desk.write(*entries(2))
    state = ended(keep_ledger)
    syslog, http = result(state).forwarded
    assert (http.sent, http.waiting, http.error) == (2, 0, None)
    assert (syslog.sent, syslog.waiting, syslog.oldest) == (0, 2, entry(1).time)
    assert isinstance(syslog.error, Unavailable)
    shown = states(installed, state)
    assert shown[http.collector] == "2 entries sent"
    behind = shown[syslog.collector]
    assert behind.startswith("nothing sent, 2 entries wait since 2026-03-01 03:12 UTC: forward to syslog/tcp/")
    assert state.is_completed()
    assert states(installed, ended(keep_ledger))[http.collector] == "has everything"

    def messages() -> list[str]:
        return [one for one in pager.messages if f"syslog/tcp/{LOOPBACK}:{port}" in one]

    (message,) = wait_for(messages)
    assert message.startswith(f"Keyturn: syslog/tcp/{LOOPBACK}:{port} is behind\n2 entries wait since ")
    assert "Nothing is lost" in message

    def told() -> bool:
        events = [one for one in installed.server.events() if one["event"] == BEHIND]
        return sum(one["payload"]["ledger"] == desk.name for one in events) == 2

    wait_for(told)
    assert len(messages()) == 1


def test_a_ledger_that_cant_be_written_fails_the_run_before_anything_is_signed(desk: Desk) -> None:
    desk.file.write_bytes(b"this is no database, and longer than the header of one " * 4)
    failed = error(ended(keep_ledger))
    assert isinstance(failed, Unrecorded | Unavailable)
    assert desk.kept_in_the_hub() == ""


def test_the_deployment_keeps_the_workers_own_ledger_and_people_hear_of_a_changed_one(
    installed: Installed, prefect: PrefectServer, architect: Architect, pager: Pager, desk: Desk
) -> None:
    site = architect.build()
    register(site, prefect, pager.address)
    installed.rest()
    desk.write(*entries(3))
    env = {name: os.environ[name] for name in ("KEYTURN_LEDGER", "KEYTURN_LEDGER_NAME", *NOTARYS)}
    run = installed.ended(installed.start("keep-ledger", site, env, queue="default"))
    assert run["state_type"] == "COMPLETED", run["state"]
    assert read_checkpoint(desk.newest()).size == 3
    assert {"spool", "checkpoint"} == {row["what"] for row in installed.rows(run["id"])}

    desk.tamper("DELETE FROM entries WHERE sequence > 1")
    run = installed.ended(installed.start("keep-ledger", site, env, queue="default"))
    assert run["state_type"] == "FAILED"
    (message,) = wait_for(lambda: [one for one in pager.messages if desk.name in one])
    assert message.startswith("Keyturn: keep-ledger failed\n")
    assert "it has 1 entries, and the checkpoint" in message
