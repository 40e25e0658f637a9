"""Makes backups: a base, and increments on it as long as this process lives."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from keyturn import __version__
from keyturn.core.errors import Conflict, Missing, Superseded
from keyturn.core.ports.backups import BackupKeys, BackupPlace, BackupSeal, Manifest
from keyturn.core.ports.ledger import Signer
from keyturn.recovery.manifests import context_of, digest_of_object, manifest_name, write_manifest
from keyturn.recovery.parts import write_parts
from keyturn.recovery.subject import BackupSubject, Known, Look

BACK_UP: Final = "back up"
"""The ledger's action of a base. Increments are not recorded."""
LONGEST_CHAIN: Final = 5000
"""Backups in one chain: at one every 30 s, more than 41 hours."""
PARTS_IN_TURN: Final = 4
"""Chain objects checked before each increment, usually more than it writes."""
ANEW: Final = "A new base is made next; see who may remove objects there, and let the place retain what is written"


@dataclass
class OpenChain:
    """A chain that this process began and continues. Its key is only in memory."""

    name: str
    seal: BackupSeal
    begun_at: datetime
    known: Known
    newest: Manifest
    parent: str
    written: list[str] = field(default_factory=list)
    """Its objects, in write order."""


class BackupMaker:
    """Makes the backups of one subject in one place. Not thread-safe.

    Each process begins with a base, since it may lack the key to earlier backups.
    """

    def __init__(
        self, subject: BackupSubject, place: BackupPlace, keys: BackupKeys, signer: Signer | None = None
    ) -> None:
        self._subject = subject
        self._place = place
        self._keys = keys
        self._signer = signer
        self._chain: OpenChain | None = None

    def needs_base(self, base_every: timedelta) -> bool:
        """Whether there is no chain to continue, or it is too long or older than ``base_every``."""
        chain = self._chain
        return chain is None or chain.newest.sequence >= LONGEST_CHAIN or self._now() - chain.begun_at >= base_every

    def make_increment(self) -> Manifest:
        """Back up the changes since the last backup; a base where there is none.

        Raises Missing where an object of the chain is gone; the next call makes a base. Raises Superseded where
        another process continues the chain, and what the hub, place and keys raise.
        """
        if (chain := self._chain) is None:
            return self.make_base()
        self._insist_on_objects(chain)
        return self._write(chain, chain.newest.sequence + 1)

    def make_base(self) -> Manifest:
        """Back up everything, as a new chain."""
        now = self._now()
        name = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        seal = self._keys.make(context_of(name))
        return self._write(OpenChain(name, seal, now, Known(), NOTHING, ""), 0)

    def _write(self, chain: OpenChain, sequence: int) -> Manifest:
        attempt, begun_at = secrets.token_hex(4), self._now()
        look = Look(self._subject, chain.known)
        parts = write_parts(self._place, chain.seal, chain.name, sequence, attempt, look.lines())
        manifest = Manifest(
            chain.name,
            sequence,
            attempt,
            chain.parent,
            begun_at,
            self._now(),
            self._subject.workspace,
            __version__,
            dict(self._subject.content.areas),
            {**look.counts, "all": len(look.now.entries)},
            parts,
            look.now.ledger,
            tuple(look.missing),
            self._subject.fingerprint_keys().in_use,
        )
        content = write_manifest(manifest, chain.seal, self._signer)
        try:
            self._place.put(manifest_name(chain.name, sequence), content)
        except Conflict:
            self._chain = None
            problem = "another process has written the next backup of this chain"
            raise Superseded("back up", manifest.name, problem, "A new base is made next") from None
        parent = digest_of_object(content)
        written = [*chain.written, *(part.name for part in parts), manifest_name(chain.name, sequence)]
        self._chain = OpenChain(chain.name, chain.seal, chain.begun_at, look.now, manifest, parent, written)
        return manifest

    def _insist_on_objects(self, chain: OpenChain) -> None:
        """Check the base, the last backup and some other objects, which later backups need."""
        turn = chain.written[(chain.newest.sequence * PARTS_IN_TURN) % len(chain.written) :][:PARTS_IN_TURN]
        ends = (manifest_name(chain.name, number) for number in (chain.newest.sequence, 0))
        for name in dict.fromkeys((*ends, *turn)):
            if self._place.find(name) is None:
                self._chain = None
                problem = "the backup before this one is gone from there, or a part of what is before it"
                raise Missing("back up", f"{self._place.name}/{name}", problem, ANEW)

    def _now(self) -> datetime:
        return self._subject.content.now()


NOTHING: Final = Manifest(
    "", -1, "", "", datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), "", "", {}, {}, ()
)
"""The placeholder before a base."""
