"""`keyturn` in a process of its own, which is killed before the call that ``KEYTURN_TEST_KILL`` names: ``put:2``.

``put`` counts what is written to the place of backups, ``write`` what is written to the hub that is restored.
"""

import os
import signal
from collections.abc import Callable
from itertools import count
from threading import Lock
from typing import Any

from keyturn.cli.app import app
from keyturn.providers.files.backup_directory import BackupDirectory
from keyturn.providers.vault.content import VaultContent

VARIABLE = "KEYTURN_TEST_KILL"
KINDS: dict[str, tuple[type, str]] = {"put": (BackupDirectory, "put"), "write": (VaultContent, "write")}


def dying(call: Callable[..., Any], at: int) -> Callable[..., Any]:
    """The same call, but for the one of that number: nothing of the process is left to clean up behind it."""
    numbers, lock = count(1), Lock()

    def counted(*arguments: Any, **named: Any) -> Any:
        with lock:
            if next(numbers) == at:
                os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named)

    return counted


def main() -> None:
    """Run the command that it is told, until then."""
    kind, _, number = os.environ[VARIABLE].partition(":")
    holder, name = KINDS[kind]
    setattr(holder, name, dying(getattr(holder, name), int(number)))
    app()


if __name__ == "__main__":
    main()
