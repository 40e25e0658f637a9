"""Only the process that the operator's file and pid file name is signalled."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.catalogue import find_problems
from keyturn.catalogue.operator.policy import VARIABLE
from keyturn.core.errors import Denied, Invalid, KeyturnError, Unavailable
from keyturn.providers.host import signals
from keyturn.providers.host.signals import send_signal
from tests.support.programs import Program, program


def problems(directory: Path, consumer: dict[str, str], **policy: object) -> list[str]:
    """What is wrong with a catalogue of this one consumer, where the operator's file says this."""
    files = directory / "catalogue"
    files.mkdir(exist_ok=True)
    entry = {"kind": "process", "signing_key": "webhooks/trainer", **consumer}
    (files / "all.yaml").write_text(json.dumps({"consumers": {"trainer": entry}}))
    operators = directory / "policy.yaml"
    operators.write_text(json.dumps(policy))
    return [str(problem) for problem in find_problems(files, {VARIABLE: str(operators)} if policy else {})]


def test_a_catalogue_signals_no_process_without_the_operators_consent(tmp_path: Path) -> None:
    consumer = {"pid_file": f"{tmp_path}/run/trainer.pid"}
    (flaw,) = problems(tmp_path, consumer)
    assert "the operator's file does not allow to signal processes of this directory" in flaw
    assert problems(tmp_path, consumer, processes=["/run/other"]) != []
    assert problems(tmp_path, consumer, processes=[f"{tmp_path}/run"]) == []
    above = {"pid_file": f"{tmp_path}/run/../elsewhere.pid"}
    assert problems(tmp_path, above, processes=[f"{tmp_path}/run"]) != []
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link.pid").symlink_to("/tmp/elsewhere.pid")
    assert problems(tmp_path, {"pid_file": f"{tmp_path}/run/link.pid"}, processes=[f"{tmp_path}/run"]) != []


@pytest.mark.parametrize("directory", ["/", "/etc/notices", "/proc/self", "~/.ssh", "/var/spool/cron", "/usr/lib/x"])
def test_a_catalogue_can_not_write_notices_to_sensitive_directories(tmp_path: Path, directory: str) -> None:
    (flaw,) = problems(tmp_path, {"directory": directory})
    assert "consumers.trainer.directory" in flaw


def test_a_directory_that_the_operators_file_leaves_out_is_written_to_by_no_consumer(tmp_path: Path) -> None:
    consumer = {"directory": f"{tmp_path}/notices"}
    assert problems(tmp_path, consumer, directories=["/run/other"]) != []
    assert problems(tmp_path, consumer, directories=[f"{tmp_path}/notices"]) == []


def refuses(running: Program, error: type[KeyturnError], words: str) -> None:
    """The program is not signalled, and lives."""
    with pytest.raises(error, match=words) as caught:
        send_signal("trainer", str(running.pid_file), signal.SIGHUP)
    assert caught.value.hint
    assert running.runs()


def rewritten(text: str) -> Callable[[Program], None]:
    def rewrite(running: Program) -> None:
        running.pid_file.write_text(text)

    return rewrite


def reused(running: Program) -> None:
    """As where the number was given to another process after the file was written."""
    os.utime(running.pid_file, (1_700_000_000, 1_700_000_000))


def linked(running: Program) -> None:
    file = running.pid_file.rename(running.pid_file.with_name("real.pid"))
    running.pid_file.symlink_to(file)


def piped(running: Program) -> None:
    running.pid_file.unlink()
    os.mkfifo(running.pid_file)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (reused, Unavailable, "began after its pid file was written"),
        (linked, Invalid, "can't be read"),
        (piped, Invalid, "no regular file"),
        (lambda running: running.pid_file.unlink(), Unavailable, "not there"),
        (lambda running: running.pid_file.chmod(0o666), Denied, "others than its owner may write"),
        (lambda running: running.pid_file.chmod(0o660), Denied, "others than its owner may write"),
        (rewritten(""), Invalid, "no number"),
        (rewritten("0"), Invalid, "no number"),
        (rewritten("1"), Invalid, "no number"),
        (rewritten("-1"), Invalid, "no number"),
        (rewritten("12 13"), Invalid, "no number"),
        (rewritten("9" * 100), Invalid, "no number"),
        (rewritten("٣٤"), Invalid, "no number"),
        (rewritten("4194303"), Unavailable, "does not run here"),
        (rewritten(str(os.getpid())), Invalid, "Keyturn's own process"),
        (rewritten(str(os.getppid())), Invalid, "Keyturn's own process"),
    ],
)
def test_an_untrusted_pid_file_is_not_used(
    tmp_path: Path, change: Callable[[Program], None], error: type[KeyturnError], words: str
) -> None:
    with program(tmp_path) as running:
        change(running)
        refuses(running, error, words)


def test_a_program_without_a_handler_is_not_ended_by_the_signal(tmp_path: Path) -> None:
    with program(tmp_path, "nothing") as running:
        refuses(running, Invalid, "no handler for SIGHUP")


def test_a_process_of_another_user_than_the_files_owner_is_not_signalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = signals._status
    monkeypatch.setattr(signals, "_status", lambda pid: {**look(pid), "Uid": "12345\t12345\t12345\t12345"})
    with program(tmp_path) as running:
        os.chown(running.pid_file, 54321, -1)
        refuses(running, Denied, "not of the user")


def test_a_process_that_ended_while_it_was_looked_at_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = signals._status

    def ended(pid: int) -> object:
        seen = look(pid)
        running.process.kill()
        running.process.wait()
        return seen

    with program(tmp_path) as running:
        monkeypatch.setattr(signals, "_status", ended)
        with pytest.raises(Unavailable, match="does not run here"):
            send_signal("trainer", str(running.pid_file), signal.SIGHUP)


def test_a_zombie_process_counts_as_gone(tmp_path: Path) -> None:
    with program(tmp_path) as running:
        running.process.kill()
        os.waitid(os.P_PID, running.process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(Unavailable, match="does not run here"):
            send_signal("trainer", str(running.pid_file), signal.SIGHUP)
