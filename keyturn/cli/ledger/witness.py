"""``keyturn ledger witness``, and the witness checks of ``keyturn ledger verify``."""

import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.output import note
from keyturn.core.errors import KeyturnError

if TYPE_CHECKING:
    from keyturn.ledger.checkpoints import Checkpoint
    from keyturn.ledger.verify import Problem, Verification
    from keyturn.ledger.witness.requests import WitnessPort

PUBLIC: Final = "witness.pub"
"""The file with the witness's public key, next to its own."""

DirectoryArgument = Annotated[
    Path, typer.Argument(metavar="DIRECTORY", help="Where its key and its state are kept, made at the first start.")
]
NameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="Its name, such as witness.example.com/w1.")]
LedgersOption = Annotated[
    Path, typer.Option("--ledgers", metavar="FILE", help="The keys of the ledgers that it knows, a line each.")
]
PublicOption = Annotated[
    Path | None,
    typer.Option("--public-key-file", metavar="FILE", help="The file for its public key; by default next to its key."),
]
HostOption = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen at.")]
PortOption = Annotated[int, typer.Option("--port", metavar="PORT", min=1, max=65535, help="The port.")]
CertificateOption = Annotated[
    Path | None, typer.Option("--tls-certificate", metavar="FILE", help="Serve TLS with this certificate, in PEM.")
]
TlsKeyOption = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's private key.")]


def witness(
    directory: DirectoryArgument,
    name: NameOption,
    ledgers: LedgersOption,
    public_key_file: PublicOption = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8110,
    tls_certificate: CertificateOption = None,
    tls_key: TlsKeyOption = None,
) -> None:
    """Cosign checkpoints of ledgers, if each continues the last one, until it is stopped.

    Run it on a machine whose files no signer of the ledger can change. It needs no hub and no other part of Keyturn.
    """
    if (tls_certificate is None) != (tls_key is None):
        raise typer.BadParameter("give --tls-certificate and --tls-key, or neither")

    from keyturn.providers.ledger.witness_server import WitnessServer, opened_witness, tls_context

    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened = opened_witness(directory, name, ledgers)
    (public_key_file or directory / PUBLIC).write_text(f"{opened.key}\n")
    tls = tls_context(tls_certificate, tls_key) if tls_certificate and tls_key else None
    with WitnessServer((host, port), opened, tls) as server:
        # Shutdown waits for the loop, which runs in this thread.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        note(f"ready: {host}:{port}, the key is {opened.key}")
        server.serve_forever()


# --- verifying


def demand(report: "Verification", needed: int, keys: Sequence[str], now: datetime, *, ask: bool) -> "Verification":
    """Add a problem to the report if too few witnesses have cosigned the newest checkpoint.

    The witnesses are those of ``keys``, else the environment's. With ``ask``, those of the environment are
    asked for later checkpoints. Reports wrong usage if ``needed`` exceeds the known witnesses.
    """
    from keyturn.ledger.verify import demand_witnesses
    from keyturn.ledger.witness.cosignatures import WitnessKey, add_cosignatures
    from keyturn.providers.ledger.ed25519 import verify_ed25519
    from keyturn.providers.ledger.http_witness import WITNESSES, configured_witnesses

    ports = configured_witnesses(os.environ)
    believed = [WitnessKey.parse(text) for text in keys] or [port.key for port in ports]
    if needed > len({key.key for key in believed}):
        hint = f"give as many keys with --witness, or in {WITNESSES}"
        raise typer.BadParameter(f"{needed} witnesses are wanted, and {len(believed)} are known: {hint}")
    reachable = [port for port in ports if ask and port.key in believed]
    lines, problems = ask_for_later(report.newest, reachable) if report.newest else ([], [])
    if newest := report.newest:
        cosigned = add_cosignatures(newest.note, lines, believed, verify_ed25519, now)
        report = replace(report, newest=replace(newest, note=cosigned))
    report = replace(report, problems=(*report.problems, *problems))
    return demand_witnesses(report, needed, believed, verify_ed25519, now)


def ask_for_later(newest: "Checkpoint", ports: "Sequence[WitnessPort]") -> "tuple[list[str], list[Problem]]":
    """The witnesses' new cosignatures of the newest checkpoint, and the problems that they report.

    An unreachable witness proves nothing; a note names it.
    """
    if not ports:
        return [], []
    with ThreadPoolExecutor(len(ports)) as pool:
        answers = list(pool.map(lambda port: ask(newest, port), ports))
    lines = [answer for answer in answers if isinstance(answer, str)]
    return lines, [answer for answer in answers if answer is not None and not isinstance(answer, str)]


def ask(newest: "Checkpoint", port: "WitnessPort") -> "str | Problem | None":
    """A new cosignature, or the problem if the witness has seen more or another history."""
    from keyturn.ledger.verify import Problem
    from keyturn.ledger.witness.requests import OtherSize

    try:
        return port.add_checkpoint(newest.size, (), newest.note)
    except OtherSize as other:
        if other.size < newest.size:
            note(f"the witness {port.key.name} has seen {other.size} entries only")
            return None
        if other.size == newest.size:
            return Problem(f"the witness {port.key.name} has cosigned another history of {newest.size} entries")
        put_back = "an older state was put back, or a checkpoint is made at this moment: then verify again"
        return Problem(
            f"the witness {port.key.name} has cosigned {other.size} entries, and {newest} is the newest: {put_back}"
        )
    except KeyturnError as error:
        note(f"the witness {port.key.name} could not be asked whether it has seen anything later: {error.problem}")
        return None
