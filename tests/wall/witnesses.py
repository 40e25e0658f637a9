"""Witnesses in this process, over real HTTP, each with files of its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyturn.ledger.signed_notes import PublicKey
from keyturn.ledger.witness.cosignatures import WitnessKey
from keyturn.providers.ledger.http_witness import HttpWitness
from keyturn.providers.ledger.witness_files import StateFile
from keyturn.providers.ledger.witness_server import WitnessServer, opened_witness
from local.support.ports import LOOPBACK


@dataclass
class Running:
    """A witness that serves: its key, where, and where its files lie."""

    key: WitnessKey
    url: str
    directory: Path

    def port(self, deadline: float = 10) -> HttpWitness:
        """How a ledger asks it."""
        return HttpWitness(self.key, self.url, deadline=deadline)


@contextmanager
def witness(directory: Path, name: str, *ledgers: PublicKey) -> Iterator[Running]:
    """One that knows these ledgers; started again on the same directory it goes on."""
    directory.mkdir(exist_ok=True)
    (directory / "ledgers").write_text("".join(f"{key}\n" for key in ledgers))
    opened = opened_witness(directory, name, directory / "ledgers")
    with WitnessServer((LOOPBACK, 0), opened) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield Running(opened.key, f"http://{LOOPBACK}:{server.server_port}", directory)
        server.shutdown()
    thread.join(5)
    assert isinstance(opened.state, StateFile)
    opened.state.close()
