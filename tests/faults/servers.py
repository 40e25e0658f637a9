"""Servers that fail on demand, and come back."""

import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hvac.exceptions import VaultError

from local.openbao import OpenBao
from local.postgres import PostgreSQL
from tests.faults.disk import Disk, allow_growing, forbid_growing, growing_may_fail
from tests.support.lab import Lab


@dataclass(frozen=True)
class Database:
    """A PostgreSQL, and what makes secrets in it."""

    server: PostgreSQL
    lab: Lab

    def down(self) -> None:
        """Stop it; every session is cut."""
        self.server.stop()

    def up(self) -> None:
        """Start it unless it runs."""
        self.server.start()
        self.lab.reconnect()

    def restart(self) -> None:
        """Cut every session, and be back at once."""
        self.down()
        self.up()

    def keep(self) -> None:
        """Put a copy of all that it holds aside."""
        self._beside("cp -a data kept")

    def fall_back(self) -> None:
        """Come back as what was kept: as a replica that had not heard of what came since, and is the primary now."""
        self._beside("rm -r data && mv kept data")

    def _beside(self, command: str) -> None:
        """Run a command where the data lies, while it is down."""
        ((data,),) = self.lab.sql("SHOW data_directory")
        self.down()
        subprocess.run(["sh", "-c", command], cwd=Path(data).parent, check=True)
        self.up()

    def become_standby(self) -> None:
        """Come back as a replica, which is read-only until it is promoted."""
        ((data,),) = self.lab.sql("SHOW data_directory")
        owner = os.stat(data)
        self.down()
        signal_file = Path(data, "standby.signal")
        signal_file.touch()
        os.chown(signal_file, owner.st_uid, owner.st_gid)
        self.up()

    def become_primary(self) -> None:
        """Be promoted, as a fail-over does it."""
        self.lab.sql("SELECT pg_promote()")

    def read_only(self, *, on: bool) -> None:
        """Let every transaction be read-only, those of open sessions too, or none."""
        self.lab.sql(f"ALTER SYSTEM {'SET' if on else 'RESET'} default_transaction_read_only {'= on' if on else ''}")
        self.lab.sql("SELECT pg_reload_conf()")


@dataclass(frozen=True)
class DurableHub:
    """An OpenBao that keeps what it holds, and what makes secrets in it."""

    server: OpenBao
    disk: Disk
    lab: Lab

    def seal(self) -> None:
        """Let it answer nothing more until it is started again."""
        self.lab.root.sys.seal()

    def unseal(self) -> None:
        """Start it again, which unseals it."""
        self.server.stop()
        with growing_may_fail():
            self.server.start()

    def fill(self, way: str) -> None:
        """Leave it no room, by one of the ``ways``."""
        self.disk.fill() if way == "full" else forbid_growing(self.server)

    def free(self) -> None:
        """Give it room again."""
        self.disk.free()
        allow_growing(self.server)

    def mend(self) -> None:
        """Whatever was done to it, it works again."""
        self.free()
        with suppress(VaultError):
            if not self.lab.root.sys.is_sealed():
                return
        self.unseal()
