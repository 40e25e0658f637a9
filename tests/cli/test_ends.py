"""How commands end: exit codes, one line for every error, and what they cost and need."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from pytest_httpserver import HTTPServer

from keyturn.cli.emergencies.reports import Copies, Retirements, outcome_of
from keyturn.cli.failures import BEHIND, FAILED, HELD, error_boundary
from keyturn.cli.running.watch import Run
from keyturn.core.error_codes import code_of_kind
from keyturn.core.errors import Denied, Locked, TransientError
from keyturn.core.result_parts import join_parts, split_text
from keyturn.core.text.spans import span
from keyturn.rotation.outcome import RunState, unsettled
from keyturn.rotation.report import outcome_data
from keyturn.sync.notices import Notices, Notified
from keyturn.sync.report import SyncReport
from tests.cli.command import SCRIPT, one_generated_secret, one_line, run_keyturn, run_python, surroundings

pytestmark = pytest.mark.sampled(9, of="file")


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """One generated secret, a/b."""
    return one_generated_secret(tmp_path / "catalogue")


def test_without_a_hub_the_remedy_names_the_stack(catalogue: Path, tmp_path: Path) -> None:
    one_line(run_keyturn("status", env=surroundings(tmp_path / "no")), "VAULT_ADDR is not set", "keyturn up")


def test_a_hub_that_does_not_answer_is_one_line(catalogue: Path, tmp_path: Path) -> None:
    env = surroundings(
        tmp_path / "no", VAULT_ADDR="http://127.0.0.1:1", VAULT_TOKEN="t", KEYTURN_CATALOGUE=str(catalogue)
    )
    for command in (
        ["status"],
        ["due"],
        ["history", "a/b"],
        ["rotate", "a/b", "--local"],
        ["plan"],
        ["apply", "--auto"],
        ["scan"],
        ["sync", "--local"],
        ["retire", "--local"],
    ):
        one_line(run_keyturn(*command, env=env), "the hub does not answer", "Check VAULT_ADDR")


def test_without_a_catalogue_the_remedy_tells_how_to_give_one(tmp_path: Path) -> None:
    env = surroundings(tmp_path / "no", VAULT_ADDR="http://127.0.0.1:1")
    one_line(run_keyturn("history", "a/b", env=env, cwd=tmp_path), "no directory deployments/catalogue", "--catalogue")


def test_a_broken_catalogue_is_one_line_that_leads_to_all_its_problems(catalogue: Path, tmp_path: Path) -> None:
    (catalogue / "more.yaml").write_text("secrets: {a/c: {}}\n")
    env = surroundings(tmp_path / "no", VAULT_ADDR="http://127.0.0.1:1", KEYTURN_CATALOGUE=str(catalogue))
    one_line(
        run_keyturn("history", "a/b", env=env), "problems, the first is", f"keyturn catalogue validate {catalogue}"
    )


def test_a_prefect_server_that_does_not_answer_leads_to_local(tmp_path: Path) -> None:
    api = {"PREFECT_API_URL": "http://127.0.0.1:1/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}
    env = surroundings(tmp_path / "no", **api)
    one_line(run_keyturn("rotate", "a/b", env=env, cwd=tmp_path), "the Prefect server does not answer", "--local")


def test_without_a_prefect_server_none_is_made_up(tmp_path: Path) -> None:
    env = surroundings(tmp_path / "no")
    one_line(run_keyturn("rotate", "a/b", env=env, cwd=tmp_path), "PREFECT_API_URL is not set", "--local")
    registered = run_keyturn("setup", "prefect", "--apply", env=env, cwd=tmp_path)
    one_line(registered, "PREFECT_API_URL is not set")
    assert "--local" not in registered.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["rotate"],
        ["rotate", "a/b", "--no-such-option"],
        ["rotate", "a/b", "--timeout", "soon"],
        ["retire", "--force"],
        ["retire", "a/b", "--force", "--early"],
        ["rotate", "a/b", "--now", "--compromised"],
        ["rotate", "a/b", "--end-previous", "--yes"],
        ["rotate", "a/b", "--now", "--end-previous"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], tmp_path: Path) -> None:
    done = run_keyturn(*arguments, env=surroundings(tmp_path / "no"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: " in done.stderr


def test_the_exit_codes_stand_in_the_help(tmp_path: Path) -> None:
    for arguments in (["--help"], ["rotate", "--help"], ["catalogue", "validate", "--help"]):
        said = run_keyturn(*arguments, env=surroundings(tmp_path / "no", COLUMNS="80")).stdout
        assert all(f"    {code}  " in said for code in (0, 1, 2, 3, 4, 130))
        assert max(map(len, said.splitlines())) <= 80


# --- what a command needs


@pytest.mark.parametrize("arguments", [["--help"], ["catalogue", "validate"], ["catalogue", "schema"]])
def test_what_needs_no_server_imports_neither_prefect_nor_an_sdk(arguments: list[str], catalogue: Path) -> None:
    sdks = ("prefect", "httpx", "hvac", "boto3", "azure", "google", "grpc", "psycopg2", "requests")
    program = (
        f"import sys\nsys.argv = ['keyturn', *{arguments!r}]\nfrom keyturn.cli import main\n"
        f"try:\n    main()\nexcept SystemExit as ended:\n    assert ended.code == 0, ended.code\n"
        f"print('loaded', [name for name in {sdks!r} if name in sys.modules])"
    )
    done = run_python(program, env=surroundings(catalogue.parent / "no", KEYTURN_CATALOGUE=str(catalogue)))
    assert done.stdout.splitlines()[-1] == "loaded []", done.stderr


def test_a_command_that_is_known_waits_for_no_other(tmp_path: Path) -> None:
    program = (
        "import sys\nsys.argv = ['keyturn', 'whois', '--help']\nfrom keyturn.cli import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert ended.code == 0, ended.code\n"
        "names = ('emergencies.whois', 'emergencies.revoke', 'copies.scan')\n"
        "print('loaded', [name for name in names if f'keyturn.cli.{name}' in sys.modules])"
    )
    done = run_python(program, env=surroundings(tmp_path / "no"))
    assert done.stdout.splitlines()[-1] == "loaded ['emergencies.whois']", done.stderr


@pytest.mark.parametrize(("package", "arguments", "extra"), [("prefect", ["rotate", "a/b"], "flows")])
def test_a_missing_package_is_one_line_with_the_extra_that_brings_it(
    package: str, arguments: list[str], extra: str, tmp_path: Path
) -> None:
    program = (
        f"import sys\nsys.modules[{package!r}] = None\nsys.argv = ['keyturn', *{arguments!r}]\n"
        "from keyturn.cli import main\nmain()"
    )
    done = run_python(program, env=surroundings(tmp_path / "no"), cwd=tmp_path)
    assert done.returncode == 1
    assert f"the package {package} is missing" in done.stderr
    assert f"Install keyturn[{extra}]" in done.stderr
    assert "Traceback" not in done.stderr


# --- the system's refusals


def test_a_full_disk_under_stdout_is_one_line(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        done = run_keyturn("catalogue", "schema", env=surroundings(tmp_path / "no"), stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith("error: use standard output: No space left on device (KT206)\nremedy: ")
    assert len(done.stderr.splitlines()) == 2


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    program = f"{' '.join(SCRIPT)} catalogue schema | true"
    done = subprocess.run(["bash", "-c", program], env=surroundings(tmp_path / "no"), capture_output=True, check=True)
    assert done.stderr == b""


def test_what_is_registered_for_the_end_is_done_and_threads_are_waited_for() -> None:
    program = (
        "import atexit, sys, threading, time\nfrom keyturn.project.process import end_with\n"
        "def late():\n    time.sleep(0.2)\n    print('thread')\n"
        "def act():\n    atexit.register(print, 'at exit')\n    threading.Thread(target=late).start()\n"
        "    sys.exit(3)\n"
        "end_with(act)"
    )
    done = run_python(program)
    assert (done.returncode, done.stdout, done.stderr) == (3, "thread\nat exit\n", "")


@pytest.mark.parametrize(("act", "code"), [("print('x' * 10)", 120), ("print('x' * 10); raise SystemExit(4)", 4)])
def test_what_can_not_be_written_at_the_end_is_no_success(act: str, code: int) -> None:
    program = f"from keyturn.project.process import end_with\ndef act():\n    {act}\nend_with(act)"
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        buffered = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
        done = subprocess.run([sys.executable, "-c", program], stdout=full, env=buffered, check=False)
    assert done.returncode == code


def test_a_file_that_can_not_grow_is_named(tmp_path: Path) -> None:
    def nothing_may_be_written() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    home = tmp_path / "home"
    done = run_keyturn("up", env=surroundings(home), preexec_fn=nothing_may_be_written)
    one_line(done, f"use {home}: File too large")


def test_a_home_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run_keyturn("up", env=surroundings(tmp_path / "file" / "home"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: use {tmp_path}/file/home: Not a directory")


def test_a_damaged_stack_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{")
    one_line(run_keyturn("env", env=surroundings(tmp_path)), "stack.json: it is damaged")


def test_an_error_that_nobody_foresaw_tells_its_class_and_place_but_not_its_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit) as ended, error_boundary():
        raise ValueError("correct-horse")
    stderr = capsys.readouterr().err
    assert ended.value.exit_code == 1
    assert "unexpected ValueError in " in stderr
    assert "test_ends.py:" in stderr
    assert "Please report this line" in stderr
    assert "horse" not in stderr


def test_an_answer_of_the_hub_that_is_none_is_told_as_such_but_not_its_text(
    catalogue: Path, tmp_path: Path, httpserver: HTTPServer
) -> None:
    login = {"data": {"ttl": 0, "renewable": False}}
    httpserver.expect_request("/v1/auth/token/lookup-self").respond_with_json(login)
    httpserver.expect_request("/v1/keyturn/data/rotations/a/b").respond_with_json({"errors": []}, status=404)
    strange = {"data": {"current_version": 1, "custom_metadata": {}, "versions": {"correct-horse": {}}}}
    httpserver.expect_request("/v1/secret/metadata/a/b").respond_with_json(strange)
    given = {"VAULT_ADDR": httpserver.url_for("").rstrip("/"), "VAULT_TOKEN": "t", "KEYTURN_CATALOGUE": str(catalogue)}
    done = run_keyturn("history", "a/b", env=surroundings(tmp_path / "no", **given))
    one_line(done, "its answer is not what its API promises (ValueError at line ", "keyturn.providers.vault.hub")
    assert "horse" not in done.stderr


@pytest.fixture
def silent_hub() -> Iterator[str]:
    """An address where connections are taken and nothing is answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_an_interrupt_is_quiet_and_ends_with_130(catalogue: Path, tmp_path: Path, silent_hub: str) -> None:
    env = surroundings(tmp_path / "no", VAULT_ADDR=silent_hub, VAULT_TOKEN="t", KEYTURN_CATALOGUE=str(catalogue))
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*SCRIPT, "history", "a/b"], env=env, **pipes) as command:
        assert command.stderr is not None
        assert command.stderr.readline().startswith("using the hub")
        time.sleep(1)
        command.send_signal(signal.SIGINT)
        said = command.communicate(timeout=30)
    assert (command.returncode, said) == (130, ("", ""))


def test_names_that_the_terminal_can_not_show_do_no_harm(catalogue: Path, tmp_path: Path) -> None:
    (catalogue / "more.yaml").write_text("secrets: {Schl\u00fcssel: {}}\n", encoding="utf-8")
    env = surroundings(tmp_path / "no", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    done = run_keyturn("catalogue", "validate", str(catalogue), env=env)
    assert (done.returncode, done.stderr) == (1, "")
    assert "Schl\\xfcssel" in done.stdout


# --- runs through Prefect, as they are told afterwards


def run(state: str = "COMPLETED", **more: Any) -> Run:
    """A run that is over."""
    return Run("id", "http://127.0.0.1/runs/id", "a-run", state, more.pop("message", ""), **more)


WELL = {"error": "", "kind": "", "code": ""}
COPY = {"store": "aws", "name": "x:y", "state": "updated", "version": 7, "fingerprint": "0123456789ab", **WELL}
ROTATED = {
    "path": "a/b",
    "state": "rotated",
    "message": "",
    "previous": "",
    "version": 7,
    "fingerprint": "0123456789ab",
    "destinations": [COPY],
    "consumers": [{"consumer": "app", "answers": True, **WELL}],
}


def test_a_run_that_rotated_is_told_by_what_it_left() -> None:
    done = outcome_of("a/b", run(result=ROTATED))
    assert (done.state, done.version, done.fingerprint) == (RunState.ROTATED, 7, "0123456789ab")
    assert (done.destinations[0].store, done.destinations[0].name) == ("aws", "x:y")
    assert unsettled(done) is None
    assert outcome_data(done) == ROTATED


def test_a_run_that_has_not_reached_everybody_is_behind() -> None:
    behind = {**COPY, "state": "failed", "version": None, "fingerprint": "", "error": "AWS did not answer"}
    silent = {"consumer": "app", "error": "answered 503", "kind": "Unavailable"}
    left = {**ROTATED, "state": "settled", "destinations": [behind], "consumers": [silent]}
    done = outcome_of("a/b", run("FAILED", result=left))
    assert done.state is RunState.SETTLED
    assert outcome_data(done)["consumers"][0]["code"] == code_of_kind("Unavailable") != ""
    error = unsettled(done)
    assert error is not None
    assert "AWS did not answer" in error.problem
    assert "answered 503" in error.problem


def test_a_run_that_took_the_rotation_back_says_why() -> None:
    why = "the canary is not well: app (answered 503)"
    error = unsettled(outcome_of("a/b", run("FAILED", result={**ROTATED, "state": "reverted", "message": why})))
    assert error is not None
    assert error.problem == f"{why}; version 7 holds the previous value again"


def test_a_run_that_was_held_says_by_whom() -> None:
    left = {**ROTATED, "state": "held", "message": "held by process 1", "destinations": [], "consumers": []}
    done = outcome_of("a/b", run(result=left))
    assert (done.state, done.message) == (RunState.HELD, "held by process 1")


def test_a_run_that_ended_well_and_left_nothing_is_not_guessed_at() -> None:
    with pytest.raises(TransientError, match="can't be read from here") as unknown:
        outcome_of("a/b", run())
    assert "http://127.0.0.1/runs/id" in unknown.value.hint


def test_a_result_is_read_from_its_parts_and_only_when_it_is_whole() -> None:
    texts = split_text(json.dumps(ROTATED), 50)
    assert len(texts) > 3
    parts = [{"id": "new", "part": n, "of": len(texts), "text": text} for n, text in enumerate(texts)]
    old = {"id": "old", "part": 0, "of": 1, "text": '{"path": "old"}'}
    assert join_parts([*reversed(parts), old]) == ROTATED
    assert join_parts([*parts[1:], old]) == {"path": "old"}
    assert join_parts(parts[:-1]) is None
    assert join_parts([]) is None


def test_a_run_that_failed_or_was_cancelled_raises_what_it_said() -> None:
    with pytest.raises(TransientError, match="refused") as failed:
        outcome_of("a/b", run("FAILED", message="a/b, verify: the target refused it"))
    assert "http://127.0.0.1/runs/id" in failed.value.hint
    with pytest.raises(Locked):
        Copies.of(run("CANCELLED"))
    with pytest.raises(TransientError, match="Nothing is lost"):
        Retirements.of(run("CRASHED"))


def test_reports_of_several_secrets_tell_how_to_end() -> None:
    kept = {"path": "a/b", "state": "kept", "why": "its grace ends"}
    done = {"path": "a/c", "state": "retired", "why": ""}
    broken = {"path": "a/d", "state": "failed", "why": "the target does not answer"}
    several: tuple[list[dict[str, str]], ...] = ([], [done], [kept, done], [kept], [kept, broken])
    codes = [Retirements.of(run(result={"secrets": olds})).failure() for olds in several]
    assert [found[1] if found else None for found in codes] == [None, None, None, HELD, FAILED]


def copy_of(name: str, action: str, state: str, error: str = "", kind: str = "") -> dict[str, str]:
    """One copy of a sync, as JSON has it."""
    return {
        "secret": f"a/{name}",
        "store": "aws",
        "name": name,
        "action": action,
        "state": state,
        "error": error,
        "kind": kind,
        "code": code_of_kind(kind),
    }


SYNCED: dict[str, Any] = {
    "copies": [
        copy_of("b", "create", "failed", "push to aws:b: no answer", "Unavailable"),
        copy_of("c", "conflict", "failed", "Keyturn has not made it", "conflict"),
        copy_of("d", "delete", "nothing declares it any more"),
        copy_of("e", "update", "updated"),
    ],
    "counts": {"conflict": 1, "delete": 1, "failed": 1, "in sync": 90, "updated": 1},
    "notices": [],
    "errors": {},
}


def test_a_report_of_copies_tells_what_is_behind_and_counts_the_rest() -> None:
    report = Copies.of(run("FAILED", result=SYNCED))
    assert report.to_data()["copies"] == SYNCED["copies"]
    assert report.report.counts["in sync"] == 90
    behind = report.failure()
    assert behind is not None
    assert (behind[0].name, behind[1]) == ("2 of 94 copies", BEHIND)
    assert Copies.of(run(result={**SYNCED, "copies": SYNCED["copies"][2:]})).failure() is None
    with pytest.raises(TransientError):
        Copies.of(run("FAILED"))


def test_whom_a_sync_could_not_tell_is_in_its_report() -> None:
    errors = {"secrets with consumers": Denied("read", "keyturn/notices", "the hub denies it", "Check the policy")}
    silent = (Notified("a/b", "app", 3, "answered 503", "Unavailable"),)
    left = SyncReport((), {"in sync": 1}, Notices(silent, errors=errors)).to_result()
    report = Copies.of(run("FAILED", result=json.loads(json.dumps(left))))
    assert report.report.to_result() == left
    failure = report.failure()
    assert failure is not None
    assert failure[1] == BEHIND
    assert "app of a/b (answered 503)" in failure[0].problem
    assert "the hub denies it. Check the policy" in failure[0].problem


def test_a_duration_is_told_in_its_two_largest_units() -> None:
    told = [span(timedelta(seconds=s)) for s in (0, 59, 61, 3600, 86_400 * 3 + 3600 * 4 + 59)]
    assert told == ["0 s", "59 s", "1 min 1 s", "1 h", "3 d 4 h"]
