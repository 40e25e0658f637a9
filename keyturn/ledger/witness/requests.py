"""Asks witnesses in parallel, so that a failing or dishonest one delays nothing."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from keyturn.core.errors import Conflict, KeyturnError, Rewritten
from keyturn.ledger.checkpoints import Checkpoint
from keyturn.ledger.merkle import Nodes, consistency_proof
from keyturn.ledger.signed_notes import Verify
from keyturn.ledger.witness.cosignatures import WitnessKey, add_cosignatures


class OtherSize(Conflict):
    """A witness's last cosigned checkpoint has another size or root than the request assumed."""

    def __init__(self, doing: str, name: str, problem: str, hint: str = "", size: int = 0) -> None:
        super().__init__(doing, name, problem, hint)
        self.size = size


class WitnessPort(Protocol):
    """A witness that can be asked."""

    key: WitnessKey

    def add_checkpoint(self, old: int, proof: Sequence[bytes], note: str) -> str:
        """Its signature lines for a checkpoint. Raises OtherSize, Rewritten, Unavailable, Invalid."""


@dataclass(frozen=True)
class Witnessed:
    """A witness's result for a checkpoint. ``error`` is None on success."""

    witness: str
    error: KeyturnError | None = None


@dataclass
class Witnesses:
    """The witnesses of each checkpoint, and their last results."""

    ports: Sequence[WitnessPort]
    verify: Verify
    outcomes: list[Witnessed] = field(default_factory=list)

    def cosigned(self, checkpoint: Checkpoint, before: int, nodes: Nodes) -> Checkpoint:
        """The checkpoint with all valid cosignatures. ``before`` is the previous size."""
        if not self.ports:
            return checkpoint
        with ThreadPoolExecutor(len(self.ports)) as pool:
            futures = [
                pool.submit(copy_context().run, ask_witness, port, checkpoint, before, nodes) for port in self.ports
            ]
            answers = [future.result() for future in futures]
        keys, now = [port.key for port in self.ports], datetime.now(UTC)
        note, self.outcomes = checkpoint.note, []
        for port, answer in zip(self.ports, answers, strict=True):
            added = (
                note if isinstance(answer, KeyturnError) else add_cosignatures(note, [answer], keys, self.verify, now)
            )
            self.outcomes.append(Witnessed(port.key.name, _error(port, answer, added == note)))
            note = added
        return replace(checkpoint, note=note)


def _error(port: WitnessPort, answer: str | KeyturnError, nothing_new: bool) -> KeyturnError | None:
    if isinstance(answer, KeyturnError):
        return answer
    if not nothing_new:
        return None
    hint = "Compare its key in KEYTURN_LEDGER_WITNESSES with the one that it prints at its start"
    return Rewritten("be cosigned by", port.key.name, "what it answers is no cosignature by its key", hint)


def ask_witness(port: WitnessPort, checkpoint: Checkpoint, before: int, nodes: Nodes) -> str | KeyturnError:
    """A witness's signature lines or error. It is asked again with the size it reports."""
    try:
        try:
            return port.add_checkpoint(before, consistency_proof(nodes, before, checkpoint.size), checkpoint.note)
        except OtherSize as other:
            old = _older(port, checkpoint, other)
        return port.add_checkpoint(old, consistency_proof(nodes, old, checkpoint.size), checkpoint.note)
    except KeyturnError as error:
        return error
    except LookupError:
        hint = "It is asked again with the next checkpoint"
        return Rewritten("be cosigned by", port.key.name, "a hash of the ledger's tree is not there", hint)


def _older(port: WitnessPort, checkpoint: Checkpoint, other: OtherSize) -> int:
    """The size a witness has seen, below the checkpoint's. Raises Rewritten."""
    if other.size < checkpoint.size:
        return other.size
    history = "another history" if other.size == checkpoint.size else f"{other.size} entries"
    problem = f"it has cosigned {history} of {checkpoint.origin} before, and this one has {checkpoint.size}"
    raise Rewritten(
        "be cosigned by", port.key.name, problem, "Keep the ledger as it is: docs/ledger.md says what to do"
    )
