"""Accounts whose passwords are lines of a file on this machine, which a server reads: Mosquitto, NATS, htpasswd, TSIG.

The operator's file says where the file is, and which programs reload the server and try a login. Next to it,
``FILE.keyturn`` has each account's number of the last rotation, and digests of the lines that Keyturn wrote: a line
that a person has written since is not replaced.
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fcntl import LOCK_EX, LOCK_NB, lockf
from pathlib import Path
from typing import Final

from keyturn.core.errors import Denied, Invalid, KeyturnError, Locked, NotFound, Unavailable, UnsupportedOperation
from keyturn.core.files import open_regular, sync_directory, take_lock, write_all
from keyturn.core.sensitive import Sensitive
from keyturn.core.text.connections import Connection
from keyturn.core.text.passwords import PasswordPolicy, generate
from keyturn.providers.accounts import login_refused, superseded
from keyturn.providers.credential_files.formats import FORMATS
from keyturn.settings.credential_files import CredentialFileSettings

LARGEST: Final = 16 * 1024 * 1024
LOCK_PATIENCE: Final = 30.0
TIMEOUT: Final = 30.0
"""Seconds for one run of a program of the operator's."""
POLL: Final = 0.2
ACCEPTED, REFUSED = 0, 1
ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
"""All that a program of the operator's gets: no variable of Keyturn's."""


@dataclass(frozen=True)
class Record:
    """An account's last rotation. ``lines`` are digests, the newest last: two while a change is not finished."""

    sequence: int = 0
    lines: tuple[str, ...] = ()
    off: bool = False


class CredentialFile:
    """An :class:`keyturn.core.ports.strategies.AccountTarget`.

    ``sessions`` says what the server does with open sessions once it has read the file: *kept* or *ended*.
    """

    def __init__(self, name: str, *, file: str, place: CredentialFileSettings, sessions: str = "kept") -> None:
        self.name = name
        self._place = place
        self._path = Path(place.path)
        self._records = self._path.with_name(f"{self._path.name}.keyturn")
        self._format = FORMATS[place.format]
        self._keeps_sessions = sessions == "kept"

    def set_password(
        self,
        account: str,
        password: Sensitive,
        *,
        sequence: int,
        like: str | None = None,
        member_of: str | None = None,
        keep_old: bool = False,
    ) -> None:
        doing = "set the password of"
        if keep_old:
            hint = "Use alternating-users, or accept a gap"
            raise UnsupportedOperation(doing, self._named(account), "a line has one password", hint)
        if not self._change(doing, account, password, sequence):
            hint = f"Add it to {self._path} by hand, with what it may do. Keyturn then sets its password"
            raise NotFound(doing, self._named(account), f"the file has no {self._place.format} line for it", hint)

    def discard_old(self, account: str, *, sequence: int) -> None:
        """Nothing is kept."""

    def last_sequence(self, accounts: Collection[str]) -> int:
        with self._errors("read the number of", self.name):
            self._lines()
            records = self._read_records()
        return max((records[account].sequence for account in accounts if account in records), default=0)

    def check_login(self, account: str, password: Sensitive, *, like: str | None = None) -> None:
        if not self.accepts(account, password):
            raise login_refused(self._named(account), by="the server" if self._place.check else "the file")

    def read_connection(self, text: Sensitive) -> Connection | None:
        return None

    def accepts(self, account: str, password: Sensitive) -> bool:
        """Whether the operator's check logs in; without one, whether the account's line has this password."""
        doing = "log in as"
        with self._errors(doing, self._named(account)):
            if self._place.check is None:
                entry = self._found(self._lines(), account)
                return entry is not None and self._format.holds(entry[2][1], password.reveal())
            code = self._run(doing, account, self._place.check, f"{account}\n{password.reveal()}\n")
        if code not in (ACCEPTED, REFUSED):
            hint = f"Run {self._place.check[0]} by hand: 0 means accepted, 1 refused"
            raise Unavailable(doing, self._named(account), f"the operator's check ends with {code}", hint)
        return code == ACCEPTED

    def lets_in(self, account: str) -> bool:
        with self._errors("look at", self._named(account)):
            entry = self._found(self._lines(), account)
            record = self._read_records().get(account, Record())
        return entry is not None and not (record.off and digest(entry[1]) in record.lines)

    def sessions(self, account: str) -> int:
        """0: a file does not show them."""
        return 0

    def left_open(self, account: str) -> str:
        """Which sessions outlive a revocation; empty where the server ends them."""
        if not self._keeps_sessions:
            return ""
        return (
            f"sessions that {self._named(account)} has opened before: they go on until the server or client ends them"
        )

    def disable(self, account: str, *, sequence: int) -> None:
        self._change("disable", account, None, sequence)

    def revoke(self, account: str, *, sequence: int) -> int:
        self._change("cut", account, None, sequence, forced=True)
        return 0

    def end_sessions(self, account: str, refuse: Callable[[], None]) -> int:
        refuse()
        return 0

    def close(self) -> None:
        """Nothing stays open."""

    # --- one change ---

    def _change(
        self, doing: str, account: str, password: Sensitive | None, sequence: int, *, forced: bool = False
    ) -> bool:
        """Write the account's line, reload, and wait until the server accepts it; False without such a line.

        None sets a password that no one knows. ``forced``: also in place of a line that a person wrote.
        """
        place, wanted = self._named(account), password or generate(PasswordPolicy())
        if not self._place.allows(account):
            hint = "Let the operator add it to `accounts` of this file, or name another account"
            raise Denied(doing, place, "the operator's file does not let a catalogue rotate it", hint)
        with self._errors(doing, place), self._alone():
            lines, records = self._lines(), self._read_records()
            before_change, record = list(lines), records.get(account, Record())
            if record.sequence > sequence:
                raise superseded(doing, place, stands=record.sequence, sequence=sequence)
            entry = self._found(lines, account)
            if entry is None:
                return False
            index, line, (before, value, after) = entry
            if not self._format.holds(value, wanted.reveal()):
                if record.lines and digest(line) not in record.lines and not forced:
                    raise self._changed_by_hand(doing, account)
                value = self._format.value(wanted.reveal())
            lines[index] = f"{before}{value}{after}"
            news = digest(lines[index])
            # Both are ours until the change is finished: a killed run leaves either.
            self._keep(records, account, Record(sequence, tuple(dict.fromkeys((digest(line), news)))))
            if lines[index] != line:
                if self._lines() != before_change:
                    raise Locked(doing, place, "others change the file at the same time", "The next run tries again")
                self._write(self._path, "\n".join(lines))
            self._take_effect(doing, account, wanted)
            self._keep(records, account, Record(sequence, (news,), off=password is None))
        return True

    def _changed_by_hand(self, doing: str, account: str) -> KeyturnError:
        problem = f"its line in {self._path} was changed since Keyturn wrote it"
        hint = (
            f"Write the password that works into the secret; remove {account} from {self._records} to have it replaced"
        )
        return Invalid(doing, self._named(account), problem, hint)

    def _take_effect(self, doing: str, account: str, password: Sensitive) -> None:
        """Reload the server, and wait until it accepts the account's new password, and so no other."""
        if self._place.reload and (code := self._run(doing, account, self._place.reload)):
            hint = f"Run {' '.join(self._place.reload)} by hand. The next run tries again"
            raise Unavailable(doing, self._named(account), f"the operator's reload ends with {code}", hint)
        deadline = time.monotonic() + self._place.patience.total_seconds()
        while self._place.check and not self.accepts(account, password):
            if time.monotonic() > deadline:
                problem = "the file has the new line, and the server does not accept its password"
                hint = "Look into the server's log, and at `reload`, `check` and `patience` in the operator's file"
                raise Unavailable(doing, self._named(account), problem, hint)
            time.sleep(POLL)

    def _run(self, doing: str, account: str, command: tuple[str, ...], stdin: str = "") -> int:
        quiet = subprocess.DEVNULL
        try:
            done = subprocess.run(
                command,
                input=stdin,
                stdout=quiet,
                stderr=quiet,
                text=True,
                check=False,
                timeout=TIMEOUT,
                env=ENVIRONMENT,
            )
        except subprocess.TimeoutExpired:
            problem = f"{command[0]} took over {TIMEOUT:.0f} s"
            raise Unavailable(doing, self._named(account), problem, "The next run tries again") from None
        return done.returncode

    # --- files ---

    def _found(self, lines: list[str], account: str) -> tuple[int, str, tuple[str, str, str]] | None:
        entry = [
            (index, line, parts) for index, line in enumerate(lines) if (parts := self._format.parts(line, account))
        ]
        if len(entry) > 1:
            hint = "Remove all but one of them"
            raise Invalid("change", self._named(account), f"{self._path} has {len(entry)} lines for it", hint)
        return entry[0] if entry else None

    def _lines(self) -> list[str]:
        """The file's lines. Bytes that are no text survive."""
        return self._read(self._path).split("\n")

    def _read(self, path: Path) -> str:
        with os.fdopen(open_regular(path), "rb") as opened:
            content = opened.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise Invalid("read", str(path), f"it has more than {LARGEST:,} bytes", "Correct `path`")
        return content.decode(errors="surrogateescape")

    def _read_records(self) -> dict[str, Record]:
        try:
            content = json.loads(self._read(self._records))
            return {
                account: Record(**{**record, "lines": tuple(record["lines"])}) for account, record in content.items()
            }
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError, AttributeError):
            hint = "Remove it if you trust the lines of the file: their passwords are then replaced"
            raise Invalid("read", str(self._records), "it is not what Keyturn wrote", hint) from None

    def _keep(self, records: dict[str, Record], account: str, record: Record) -> None:
        records[account] = record
        content = {name: asdict(records[name]) for name in sorted(records)}
        self._write(self._records, json.dumps(content, indent=1) + "\n")

    def _write(self, path: Path, content: str) -> None:
        """Replace a file as a whole, with its owner, mode and attributes."""
        fresh = path.with_name(f".{path.name}.new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, content.encode(errors="surrogateescape"))
            if path.exists():
                status = path.stat()
                os.fchown(descriptor, status.st_uid, status.st_gid)
                shutil.copystat(path, fresh)
                os.utime(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.replace(path)
        sync_directory(path.parent)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other writers out: of Keyturn, and of the system where it has a lock."""
        with open(self._records.with_suffix(".keyturn-lock"), "a") as own:
            take_lock(own.fileno(), LOCK_PATIENCE)
            if not self._format.system_lock:
                yield
                return
            with open(self._path.with_name(self._format.system_lock), "a") as system:
                lockf(system, LOCK_EX | LOCK_NB)
                yield

    @contextmanager
    def _errors(self, doing: str, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            hint = "Correct `path`, `reload` and `check` in the operator's file"
            raise NotFound(doing, name, f"{error.filename or self._path} is not there", hint) from None
        except (TimeoutError, BlockingIOError):
            raise Locked(
                doing, name, f"another program keeps {self._path} locked", "The next run tries again"
            ) from None
        except OSError as error:
            hint = f"Let Keyturn's user read and replace {self._path}, a regular file, and run the operator's programs"
            raise Denied(doing, name, f"{error.filename or self._path}: {error.strerror}", hint) from None

    def _named(self, account: str) -> str:
        return f"{self.name}:{account}"


def digest(line: str) -> str:
    return hashlib.sha256(line.encode(errors="surrogateescape")).hexdigest()[:32]
