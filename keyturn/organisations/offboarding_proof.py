"""A proof of a project's end, valid without the hub, the ledger and the catalogue.

Only its ledger entries, each with a proof of inclusion, prove an end; the rest is listed as not proven.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from keyturn.core.errors import NotFound, Rewritten
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.proofs import Proof, bundle_text, check_proof, entries_naming, prove_entry, read_bundle
from keyturn.ledger.signed_notes import PublicKey, Verify
from keyturn.organisations.offboarding import END, REMOVE
from keyturn.organisations.offboarding_store import Offboarding

PROVED: Final = "revoke: prove"
"""The ledger's name for a secret's last step, the final check."""
ENDED: Final = "end access"
SUBJECT: Final = "offboarding"
"""The member of the file with the offboarding."""


@dataclass(frozen=True)
class OffboardingProof:
    """An offboarding's result, and the entries that prove it."""

    offboarding: Offboarding
    entries: tuple[Proof, ...]

    def to_json(self) -> str:
        """One JSON object, indented for people."""
        return bundle_text(SUBJECT, asdict(self.offboarding), self.entries)

    @classmethod
    def from_json(cls, text: str) -> "OffboardingProof":
        """Parse a proof. Raises Invalid for anything else."""
        return cls(*read_bundle(text, SUBJECT, Offboarding.from_data))


@dataclass(frozen=True)
class ProvenEnd:
    """The proven ends by name, with the times of their ledger entries."""

    offboarding: Offboarding
    ended: Mapping[str, datetime]
    finished_at: datetime

    @property
    def unproven(self) -> tuple[str, ...]:
        """What is not proven, in the offboarding's words."""
        return self.offboarding.unproven


def ends_of(offboarding: Offboarding, entry: Entry) -> str:
    """The secret, access request or hub object whose end an entry records, else empty."""
    if entry.outcome is not Outcome.DONE:
        return ""
    incident, request, because = offboarding.incident, *entry.note.partition(": ")[::2]
    candidates = (
        (PROVED, entry.note == incident, entry.secret, offboarding.paths),
        (REMOVE, entry.note == incident, entry.place, offboarding.removed),
        (ENDED, because.startswith(f"{incident}: "), request, offboarding.requests),
    )
    for action, is_of_it, name, names in candidates:
        if entry.action == action and is_of_it and name in names:
            return name
    return ""


def things_of(offboarding: Offboarding) -> tuple[str, ...]:
    """The names of all that was to end."""
    return (*offboarding.paths, *offboarding.requests, *offboarding.removed)


def prove_offboarding(ledger: StoredLedger, offboarding: Offboarding) -> OffboardingProof:
    """Make the proof. Raises NotFound where the ledger or a checkpoint lacks entries."""
    last, ends = 0, dict[str, int]()
    for sequence, entry in entries_naming(ledger, offboarding.incident):
        if (entry.action, entry.note) == (END, offboarding.note):
            last = sequence
        elif name := ends_of(offboarding, entry):
            ends[name] = sequence
    if not last:
        hint = (
            "Finish it with `keyturn offboard PROJECT --apply`, with the ledger that it was begun with (KEYTURN_LEDGER)"
        )
        raise NotFound("prove", f"project {offboarding.project}", "the ledger does not record its end", hint)
    return OffboardingProof(offboarding, tuple(prove_entry(ledger, number) for number in (*ends.values(), last)))


def check_offboarding(proof: OffboardingProof, keys: Collection[PublicKey], verify: Verify) -> ProvenEnd:
    """Verify a proof with only the ledger's public keys.

    Raises Rewritten where it is invalid or incomplete, and Invalid for a malformed entry.
    """
    offboarding, things = proof.offboarding, things_of(proof.offboarding)
    if not 1 <= len(proof.entries) <= len(things) + 1:
        raise _broken("it has not one entry for each thing that ended, and one for the end")
    *parts, last = (check_proof(entry, keys, verify) for entry in proof.entries)
    if (last.entry.action, last.entry.outcome, last.entry.note) != (END, Outcome.DONE, offboarding.note):
        raise _broken("the ledger's entry is about another offboarding, or this one was changed since")
    ended = {ends_of(offboarding, part.entry): part.entry.time for part in parts if part.sequence < last.sequence}
    silent = [name for name in things if name not in ended and not _said(offboarding, name)]
    if silent:
        raise _broken(f"no entry proves the end of {', '.join(silent)}, and it does not say so")
    proven = {name: at for name, at in ended.items() if name and not _said(offboarding, name)}
    return ProvenEnd(offboarding, proven, last.entry.time)


def _said(offboarding: Offboarding, name: str) -> bool:
    """Whether the offboarding lists something as not proven."""
    return any(words.startswith(f"{name}:") for words in offboarding.unproven)


def _broken(problem: str) -> Rewritten:
    return Rewritten("check", "a proof of an offboarding", problem, "Do not rely on it; ask for another one")
