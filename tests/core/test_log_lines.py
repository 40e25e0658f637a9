"""JSON log lines contain one object each, and only the class of an exception."""

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keyturn.core.errors import Invalid
from keyturn.core.text.log_lines import log_line, wants_json
from keyturn.project.json_lines import JsonFormatter
from tests.cli.command import run_keyturn, surroundings

AT = datetime(2026, 3, 1, 12, 0, 0, 5000, UTC)


def line_of(record: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    return line


def test_a_line_tells_when_how_bad_and_by_whom() -> None:
    assert json.loads(log_line(AT, "info", "keyturn", 'it said "no"\nand more')) == {
        "time": "2026-03-01T12:00:00.005Z",
        "level": "info",
        "logger": "keyturn",
        "message": 'it said "no"\nand more',
    }


@pytest.mark.attack
def test_a_log_record_names_the_run_and_contains_no_exception_text() -> None:
    try:
        raise ValueError("c4nary")
    except ValueError:
        record = logging.LogRecord(
            "prefect.flow_runs", logging.ERROR, __file__, 1, "%s failed", ("push",), sys.exc_info()
        )
    record.flow_run_id, record.flow_run_name = "0af7", "rotate-ml/db"
    line = line_of(record)
    assert (line["message"], line["level"], line["error"]) == ("push failed", "error", "ValueError")
    assert (line["flow_run_id"], line["flow_run"]) == ("0af7", "rotate-ml/db")
    assert "c4nary" not in json.dumps(line)


def test_a_format_that_there_is_not_is_refused() -> None:
    assert wants_json({"KEYTURN_LOG_FORMAT": "json"})
    assert not wants_json({"KEYTURN_LOG_FORMAT": "text"})
    assert not wants_json({})
    with pytest.raises(Invalid, match="there is no format 'xml'"):
        wants_json({"KEYTURN_LOG_FORMAT": "xml"})


def test_a_command_says_every_line_so_where_it_is_asked_to(tmp_path: Path) -> None:
    done = run_keyturn("status", env=surroundings(tmp_path / "no", KEYTURN_LOG_FORMAT="json"))
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["error", "info"]
    assert "VAULT_ADDR is not set" in lines[0]["message"]


def test_what_prefect_logs_in_a_process_of_a_run_is_lines_too() -> None:
    code = (
        "import prefect, logging\n"
        "from keyturn.project.json_lines import write_json_lines\n"
        "from prefect.logging import get_logger\n"
        "write_json_lines()\n"
        "get_logger('keyturn').warning('one %s', 'line')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["logger"], line["level"], line["message"]) == ("prefect.keyturn", "warning", "one line")
