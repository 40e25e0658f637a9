"""A proof of an agreement to share a secret, valid without any hub, ledger or catalogue.

A check needs only the public keys of the signers and of the maker's ledger.
"""

import base64
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from keyturn.core.errors import KeyturnError, NotFound, Rewritten
from keyturn.core.ports.ledger import Outcome
from keyturn.ledger.ports import StoredLedger
from keyturn.ledger.proofs import Proof, bundle_text, check_proof, entries_naming, prove_entry, read_bundle
from keyturn.ledger.signed_notes import PublicKey, Verify
from keyturn.organisations.sharing import ACCEPT, PROPOSE, WITHDRAW, own_name, shared_place, signing_note
from keyturn.rotation.state.agreements import (
    LATER,
    Agreement,
    find_agreement,
    open_partner,
    read_agreement,
    read_counterpart,
)
from keyturn.rotation.state.context import Workspace

SUBJECT: Final = "sharing"
"""The member of the file with the agreement."""


@dataclass(frozen=True)
class SideWords:
    """One side of an agreement: its signer, and whether it withdrew."""

    organisation: str
    signer: str
    signature: str
    ended_by: str = ""
    ended_at: str = ""
    because: str = ""


@dataclass(frozen=True)
class SharingProof:
    """The terms, each side that signed, and ledger entries of the ``teller``, which made the file.

    ``lacking`` is why the other side's signature is missing.
    """

    agreement: Agreement
    teller: str
    sides: tuple[SideWords, ...]
    entries: tuple[Proof, ...]
    lacking: str = ""

    def to_json(self) -> str:
        """One JSON object, indented for people."""
        terms = {name: value for name, value in asdict(self.agreement).items() if name not in LATER}
        content = {"terms": terms, "teller": self.teller, "sides": [asdict(side) for side in self.sides]}
        return bundle_text(SUBJECT, {**content, "lacking": self.lacking}, self.entries)

    @classmethod
    def from_json(cls, text: str) -> "SharingProof":
        """Parse a proof. Raises Invalid for anything else."""
        (agreement, teller, sides, lacking), entries = read_bundle(text, SUBJECT, read_content)
        return cls(agreement, teller, sides, entries, lacking)


def read_content(data: Mapping[str, Any]) -> tuple[Agreement, str, tuple[SideWords, ...], str]:
    """Parse a file's content. Raises TypeError and ValueError for malformed data."""
    sides = tuple(SideWords(**{name: str(value) for name, value in side.items()}) for side in data.get("sides", ()))
    return Agreement.from_data(data.get("terms", {})), str(data.get("teller")), sides, str(data.get("lacking", ""))


@dataclass(frozen=True)
class ProvenSharing:
    """The proven agreement, its signers, and when the teller's ledger recorded it.

    ``withdrawn_at`` is the time of the teller's withdrawal, or None.
    """

    agreement: Agreement
    signed_by: Mapping[str, str]
    recorded_at: datetime
    withdrawn_at: datetime | None
    lacking: str


# --- making it


def prove_sharing(workspace: Workspace, ledger: StoredLedger, name: str) -> SharingProof:
    """Make the proof. Raises NotFound where the ledger lacks an entry for it."""
    place, ours = find_agreement(workspace, name)
    own, other = own_name(workspace), place.split("/")[1]
    theirs, lacking = find_counterpart(workspace, place, ours, own, other)
    words = [side_words(own, ours), *([side_words(other, theirs)] if theirs else [])]
    entries = tuple(prove_entry(ledger, sequence) for sequence in find_entries(ledger, own, ours))
    return SharingProof(ours.side(), own, tuple(words), entries, lacking)


def find_counterpart(
    workspace: Workspace, place: str, ours: Agreement, own: str, other: str
) -> tuple[Agreement | None, str]:
    """The other side's signed agreement, or None and the reason.

    The giver reads it in the receiver's hub; the receiver has the proposal.
    """
    try:
        if ours.giver == own:
            store = shared_place(workspace, ours.path, other).store
            theirs = read_agreement(open_partner(workspace, store), ours.place(own))
        else:
            theirs = read_counterpart(workspace.hub, place)
    except KeyturnError as error:
        return None, f"what {other} has signed could not be looked at: {error.problem}"
    if theirs is None:
        return None, f"{other} has not signed it, as far as is known here"
    return (theirs, "") if theirs.digest == ours.digest else (None, f"{other} has signed another one")


def side_words(organisation: str, agreement: Agreement) -> SideWords:
    """One side of the agreement."""
    return SideWords(
        organisation, agreement.signer, agreement.signature, agreement.ended_by, agreement.ended_at, agreement.because
    )


def find_entries(ledger: StoredLedger, own: str, ours: Agreement) -> Iterator[int]:
    """The sequence numbers of this side's signature and withdrawal."""
    wanted = happenings(own, ours, side_words(own, ours))
    sequences: list[int] = []
    for sequence, entry in entries_naming(ledger, ours.id):
        left = wanted[len(sequences) :]
        if left and entry.outcome == Outcome.DONE and (entry.action, entry.note) == left[0]:
            sequences.append(sequence)
    if len(sequences) < len(wanted):
        hint = "Signers and this command have to use the same ledger (KEYTURN_LEDGER)"
        raise NotFound("prove", ours.id, "the ledger does not have all of these statements", hint)
    yield from sequences


def happenings(own: str, agreement: Agreement, words: SideWords) -> list[tuple[str, str]]:
    """The actions and notes that a side's ledger must have."""
    signed = (PROPOSE if agreement.giver == own else ACCEPT, signing_note(agreement, words.signer, words.signature))
    return [signed, *([(WITHDRAW, f"{agreement.id}: {words.because}")] if words.ended_by else [])]


# --- checking it


def check_sharing(
    proof: SharingProof, signers: Mapping[tuple[str, str], bytes], keys: Collection[PublicKey], verify: Verify
) -> ProvenSharing:
    """Verify a proof with the signers' 32-byte keys, by organisation and name, and the ledger's keys.

    Raises Rewritten if it is invalid, and Invalid for a malformed entry.
    """
    agreement, parties = proof.agreement, {proof.agreement.giver, proof.agreement.receiver}
    sides = {side.organisation: side for side in proof.sides}
    if len(sides) != len(proof.sides) or not set(sides) <= parties or proof.teller not in sides:
        raise _broken("it is not about the two organisations that have agreed")
    for side in proof.sides:
        key = signers.get((side.organisation, side.signer), b"")
        if not _holds(verify, key, agreement.message(side.organisation), side.signature):
            raise _broken(f"the signature of {side.signer} for {side.organisation} is not theirs over this agreement")
    expected = happenings(proof.teller, agreement, sides[proof.teller])
    if len(expected) != len(proof.entries):
        raise _broken("its entries do not match it")
    proven_entries = [check_proof(entry, keys, verify) for entry in proof.entries]
    for happening, numbered in zip(expected, proven_entries, strict=True):
        if (numbered.entry.action, numbered.entry.note) != happening or numbered.entry.outcome != Outcome.DONE:
            raise _broken(f"entry {numbered.sequence} is about no such thing: {happening[0]}")
    if [numbered.sequence for numbered in proven_entries] != sorted({numbered.sequence for numbered in proven_entries}):
        raise _broken("its entries are not in their order")
    lacking = "" if set(sides) == parties else proof.lacking or f"{min(parties - set(sides))} has not signed it"
    moments = [numbered.entry.time for numbered in proven_entries]
    signed = {side.organisation: side.signer for side in proof.sides}
    return ProvenSharing(agreement, signed, moments[0], moments[1] if len(moments) > 1 else None, lacking)


def _holds(verify: Verify, key: bytes, message: bytes, signature: str) -> bool:
    with suppress(ValueError):
        return verify(key, message, base64.b64decode(signature, validate=True))
    return False


def _broken(problem: str) -> Rewritten:
    return Rewritten("check", "a proof of sharing", problem, "Do not rely on it; ask for another one")
