"""A certificate for loopback, and the authority to trust it by."""

from dataclasses import dataclass
from pathlib import Path

from deployments.local.support.files import private_directory, write_private
from deployments.local.support.ports import LOOPBACK


@dataclass(frozen=True)
class Certificate:
    """Three PEM files: who signed it, the certificate, and its private key."""

    authority: Path
    certificate: Path
    key: Path


def certificate_in(directory: Path) -> Certificate:
    """The certificate for ``localhost`` and 127.0.0.1 in this directory, made the first time it is asked for."""
    files = Certificate(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    # The authority is written last, so where it is, the others are.
    if not files.authority.exists():
        _issue(files, private_directory(directory))
    return files


def _issue(files: Certificate, directory: Path) -> None:
    import trustme

    authority = trustme.CA(organization_name=f"Keyturn's local stack in {directory.parent.name}")
    issued = authority.issue_cert("localhost", LOOPBACK)
    write_private(files.key, issued.private_key_pem.bytes())
    write_private(files.certificate, b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    write_private(files.authority, authority.cert_pem.bytes())
