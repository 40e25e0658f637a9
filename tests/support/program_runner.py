"""A supervisor in a process of its own, whose secrets are in a file: ``python -m tests.support.program_runner``.

The first argument is JSON: the file, the program, and what it is given.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keyturn.client.client import SecretClient
from keyturn.client.secrets import Secret
from keyturn.core.errors import NotFound, Unavailable
from keyturn.core.sensitive import SecretFields
from keyturn.programs.children import lives
from keyturn.programs.follower import Follower
from keyturn.programs.reactions import Reaction
from keyturn.programs.references import FieldReference
from keyturn.programs.rendering import Declaration
from keyturn.programs.supervisor import Program, Supervisor

ROOT = Path(__file__).parents[2]
POLL = 0.1


class FileSource:
    """Secrets in a JSON file: ``{path: {field: text}}``, whose versions are their texts; away while it is not there."""

    name = "file"

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self, path: str) -> Secret:
        try:
            fields = json.loads(self._file.read_text())[path]
        except FileNotFoundError:
            raise Unavailable("read", path, "the source does not answer") from None
        except KeyError:
            raise NotFound("read", path, "there is none") from None
        return Secret(path, SecretFields(fields), None, json.dumps(fields), self.name, datetime.now(UTC))

    def read_many(self, paths: Sequence[str]) -> Mapping[str, Secret]:
        return {path: self.read(path) for path in paths}

    def versions(self, paths: Sequence[str]) -> Mapping[str, str]:
        return {path: self.read(path).revision for path in paths}


class Run:
    """One such process, which ``directory`` belongs to."""

    def __init__(self, directory: Path, command: Sequence[str], popen: Mapping[str, Any] | None = None, **order: Any):
        self.directory = directory
        self.secrets = directory / "secrets.json"
        order = {"secrets": str(self.secrets), "command": list(command), **order}
        self.serve("first")
        with (directory / "errors").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.program_runner", json.dumps(order)],
                cwd=ROOT,
                env={**os.environ, "OUT": str(directory)},
                **{"stdout": subprocess.PIPE, "stderr": errors, "text": True, "preexec_fn": heeds, **(popen or {})},
            )

    def serve(self, password: str, path: str = "ml/db") -> None:
        """Give the secret another value."""
        draft = self.directory / "draft"
        draft.write_text(json.dumps({path: {"password": password}}))
        draft.replace(self.secrets)

    def wrote(self, name: str, *words: str) -> str:
        """What the program has written into a file of that name, once it holds these words."""
        file = self.directory / name
        deadline = time.monotonic() + 60
        while not file.exists() or not all(word in file.read_text() for word in words):
            assert time.monotonic() < deadline, f"{name}: {file.read_text() if file.exists() else 'nothing'}"
            assert self.process.poll() is None or file.exists(), self.errors
            time.sleep(0.01)
        return file.read_text()

    def signal(self, number: int) -> None:
        """Send the supervisor a signal."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end."""
        self.output, _ = self.process.communicate(timeout=60)
        return self.process.returncode

    @property
    def errors(self) -> str:
        """What the supervisor has said, and the program on stderr."""
        return (self.directory / "errors").read_text()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                begun = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
                # Whatever it has begun has its output, too, and may hear of nothing else.
                for pid in (self.process.pid, *map(int, begun)):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.process.communicate(timeout=30)


def heeds() -> None:
    """Hear SIGHUP, which whoever runs the tests may have them ignore, as nohup does."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def gone(pid: int) -> bool:
    """Whether a process has ended, after a while at the latest."""
    deadline = time.monotonic() + 30
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not lives(pid)


def main() -> int:
    """Run what was asked for."""
    order = json.loads(sys.argv[1])
    password = FieldReference("ml/db", "password")
    files = {Path(file): password for file in order.get("files", [])}
    declaration = Declaration(dict.fromkeys(order.get("variables", []), password), files=files)
    client = SecretClient([FileSource(Path(order["secrets"]))], poll=0)
    on_change = Reaction.parse_any(order.get("on_change", "restart"))
    program = Program(order["command"], dict(os.environ), on_change, {}, order.get("grace", 10), order.get("settle", 0))

    def tell(line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    supervisor = Supervisor(program, tell)
    rendering = declaration.render(client)
    follower = Follower(
        client, declaration, rendering, supervisor.submit, lambda: supervisor.unfinished, tell, POLL, 60
    )
    return supervisor.run(rendering, follower.begin)


if __name__ == "__main__":
    sys.exit(main())
