"""Certificates for servers of one machine, and the private authority to trust them by: where they lie."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from local.support.certificate import Certificate as Certificate


@dataclass(frozen=True)
class Authority:
    """A private authority: its certificate (PEM), which clients trust, and the key that signs (PEM, 0600).

    ``names`` are the hosts that it may sign for besides localhost: those of containers, and of nobody else.
    """

    certificate: Path
    key: Path
    names: frozenset[str] = field(default_factory=frozenset)

    def files_in(self, directory: Path) -> Certificate:
        """Where the certificate of the server in this directory lies once it is issued."""
        return Certificate(self.certificate, directory / "server.pem", directory / "server.key")

    def issue(self, directory: Path, now: datetime | None = None, names: Iterable[str] = ()) -> bool:
        """Have a certificate for loopback, and for ``names``, in this directory; whether it was made now.

        One that is there stays while it is good and not about to end, and so does the authority.
        """
        # Where nothing has to be issued, nobody waits for the package to load.
        from local.support import issuing

        files, now = self.files_in(directory), now or datetime.now(UTC)
        return issuing.issue(self.key, files, now, frozenset(names), self.names)


def certificate_in(directory: Path) -> Certificate:
    """A certificate for loopback in this directory, beside an authority of its own."""
    authority = Authority(directory / "ca.pem", directory / "ca.key")
    authority.issue(directory)
    return authority.files_in(directory)
