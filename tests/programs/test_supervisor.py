"""The supervisor runs, notifies, restarts and ends real programs."""

import os
import pty
import signal
from pathlib import Path

from keyturn.programs.children import lives
from tests.support.program_runner import Run, gone

SHOW = 'echo "$PASSWORD $$" >>"$OUT/shown"'
WAIT = "while :; do sleep 0.05; done"


def pid_in(text: str, line: int = -1) -> int:
    """The number at the end of a line."""
    return int(text.split("\n")[line if line >= 0 else line - 1].split()[-1])


def test_its_exit_code_is_passed_on_and_so_is_its_input(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with Run(tmp_path, ["sh", "-c", "read line; echo $line; exit 7"], {"stdin": reader}, variables=["P"]) as run:
        os.write(writer, b"typed\n")
        assert run.end() == 7
        assert run.output == "typed\n"
    os.close(reader)
    os.close(writer)


def test_signals_reach_it_and_the_one_that_ends_it_is_told(tmp_path: Path) -> None:
    names = ("HUP", "USR1", "USR2", "WINCH", "QUIT", "INT", "TERM")
    traps = "; ".join(f"trap 'echo {name} >>\"$OUT/heard\"' {name}" for name in names)
    with Run(tmp_path, ["sh", "-c", f"{traps}; {SHOW}; {WAIT}"], variables=["PASSWORD"]) as run:
        pid = pid_in(run.wrote("shown", "first"))
        for name in names:
            run.signal(signal.Signals[f"SIG{name}"])
            run.wrote("heard", name)
        assert run.wrote("heard").split() == list(names)
        os.kill(pid, signal.SIGKILL)
        assert run.end() == 128 + signal.SIGKILL


def test_a_new_version_begins_it_anew_and_nothing_of_the_old_one_lives_on(tmp_path: Path) -> None:
    # What it has begun: one that does not hear SIGTERM, and one in a session of its own.
    deaf = 'sh -c \'trap "" TERM; echo $$ >"$OUT/deaf"; exec sleep 1000\' &'
    away = "setsid sh -c 'echo $$ >\"$OUT/away\"; exec sleep 1000' &"
    program = f'if [ "$PASSWORD" = first ]; then {deaf} {away} fi; {SHOW}; {WAIT}'
    with Run(tmp_path, ["sh", "-c", program], variables=["PASSWORD"], grace=0.3) as run:
        old = [pid_in(run.wrote(name, "\n")) for name in ("deaf", "away", "shown")]
        run.serve("second")
        shown = run.wrote("shown", "second")
        assert not any(map(lives, old))
        run.signal(signal.SIGTERM)
        assert run.end() == 128 + signal.SIGTERM
        assert gone(pid_in(shown))
    assert "second" not in run.errors


def test_what_has_left_its_session_is_asked_to_end_before_it_is_killed(tmp_path: Path) -> None:
    stray = 'trap "echo TERM >>$OUT/asked; exit" TERM; echo >"$OUT/away"; while :; do sleep 0.05; done'
    program = f"if [ \"$PASSWORD\" = first ]; then setsid sh -c '{stray}' & fi; {SHOW}; {WAIT}"
    with Run(tmp_path, ["sh", "-c", program], variables=["PASSWORD"], grace=60) as run:
        run.wrote("away", "\n")
        run.wrote("shown", "first")
        run.serve("second")
        run.wrote("shown", "second")
        assert run.wrote("asked") == "TERM\n"


def test_where_this_process_is_killed_it_is_told(tmp_path: Path) -> None:
    with Run(tmp_path, ["sh", "-c", f"trap 'echo TERM >\"$OUT/heard\"; exit' TERM; {SHOW}; {WAIT}"]) as run:
        pid = pid_in(run.wrote("shown", "\n"))
        run.process.kill()
        run.process.communicate()
        assert gone(pid)
        assert run.wrote("heard") == "TERM\n"


def test_a_file_is_replaced_and_a_signal_tells(tmp_path: Path) -> None:
    file = tmp_path / "password"
    hear = f"trap 'cat {file} >>\"$OUT/heard\"' HUP; {SHOW}; {WAIT}"
    with Run(tmp_path, ["sh", "-c", hear], files=[str(file)], on_change="signal:HUP") as run:
        run.wrote("shown", "\n")
        assert file.read_text() == "first"
        assert file.stat().st_mode & 0o777 == 0o600
        run.serve("second")
        assert run.wrote("heard", "second") == "second"
        assert len(run.wrote("shown").split()) == 1


def test_while_its_source_is_away_or_has_lost_the_secret_it_goes_on(tmp_path: Path) -> None:
    with Run(tmp_path, ["sh", "-c", f"{SHOW}; {WAIT}"], variables=["PASSWORD"]) as run:
        run.wrote("shown", "first")
        run.secrets.unlink()
        run.wrote("errors", "does not answer; the program continues with the value it has")
        run.serve("elsewhere", "another")
        run.wrote("errors", "there is none; the program continues with the value it has")
        run.serve("second")
        assert len(run.wrote("shown", "second").splitlines()) == 2
        run.wrote("errors", "can be read again")


def test_at_a_terminal_it_is_in_front_and_what_is_typed_ends_it(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "preexec_fn": lambda: os.login_tty(theirs)}
    program = ["sh", "-c", f"trap 'echo INT >\"$OUT/heard\"; exit 5' INT; read line; {SHOW}; {WAIT}"]
    with Run(tmp_path, program, streams, variables=["PASSWORD"]) as run:
        os.write(ours, b"go\n")
        run.wrote("shown", "first")
        os.write(ours, b"\x03")
        assert run.process.wait(60) == 5
        assert run.wrote("heard") == "INT\n"
    os.close(ours)
    os.close(theirs)
