"""The command line in a process of its own, as people and scripts run it."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from keyturn.cli.local_stack import FOREIGN

SCRIPT = (sys.executable, "-m", "keyturn.cli")
ROOT = Path(__file__).parents[2]
WIDTH = 80
"""Columns of the terminal that :func:`fits` assumes."""


CATALOGUE = """
secrets:
  a/b:
    owner: tests@example.com
    classification: internal
    rotation: {strategy: generated, interval: 30d, grace: 1h}
"""


def one_generated_secret(directory: Path) -> Path:
    """A catalogue of one generated secret, a/b."""
    directory.mkdir()
    (directory / "all.yaml").write_text(CATALOGUE)
    return directory


def surroundings(home: Path, **more: str) -> dict[str, str]:
    """This process's environment, with no stack, hub or catalogue but those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    kept |= {name: os.environ[name] for name in ("KEYTURN_LEDGER", "KEYTURN_POLICY")}
    prefect = home.parent / "prefect"
    return {**kept, "PYTHONPATH": str(ROOT), "KEYTURN_HOME": str(home), "PREFECT_HOME": str(prefect), **more}


def run_keyturn(*arguments: str, env: dict[str, str] | None = None, **more: Any) -> "subprocess.CompletedProcess[str]":
    """Run one command and return when it has ended."""
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.run([*SCRIPT, *arguments], env=env, text=True, check=False, timeout=300, **given)


def run_python(program: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    """Run a small program that uses the command line from within."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, **more)


def one_line(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    """Failed with one error line, one remedy, nothing on stdout, and no traceback."""
    assert (done.returncode, done.stdout) == (1, "")
    said = [line for line in done.stderr.splitlines() if not line.startswith(("using ", "running "))]
    assert [line.partition(":")[0] for line in said] == ["error", "remedy"]
    assert all(word in done.stderr for word in words), done.stderr


def fits(text: str) -> bool:
    """Fits the terminal, or is wider only by a last cell that one unbroken word fills."""
    lines = [line for line in text.splitlines() if line.strip("─")]
    longest = max((len(word) for line in lines for word in line.split()), default=0)
    return all(len(line) <= WIDTH or len(re.split(" {3,}", line)[-1]) <= longest for line in lines)


def at_terminal(*arguments: str, answers: dict[str, str], env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run one command at a terminal of its own; ``answers`` are typed once the words before them are shown."""
    ours, theirs = pty.openpty()
    streams: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen([*SCRIPT, *arguments], env=env, start_new_session=True, **streams) as process:
        os.close(theirs)
        shown = ""
        while text := read_some(ours):
            shown += text
            for words in [words for words in answers if words in shown]:
                os.write(ours, f"{answers.pop(words)}\n".encode())
    os.close(ours)
    return process.returncode, shown


def read_some(terminal: int) -> str:
    """What is shown next; empty at the end."""
    try:
        return os.read(terminal, 4096).decode(errors="replace")
    except OSError:
        return ""  # Linux tells so that nobody has the other side any more
