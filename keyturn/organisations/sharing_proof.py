"""A proof that two organisations have agreed to share a secret, which holds without any hub, ledger and catalogue.

It has the agreement as it was signed, the signature of each side, and of the ledger of whoever has made it the entries
of what that side has said. Whoever has the signers' public keys and that ledger's needs nothing else.
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
"""The member of the file that tells of it."""


@dataclass(frozen=True)
class SideWords:
    """What one organisation has said of an agreement: who has signed for it, and whether that was withdrawn."""

    organisation: str
    signer: str
    signature: str
    ended_by: str = ""
    ended_at: str = ""
    because: str = ""


@dataclass(frozen=True)
class SharingProof:
    """What was agreed, the words of each side that has signed, and the entries of the ledger of the ``teller``.

    The teller has made the file. ``lacking`` says why the other side's signature is not in it; empty where it is.
    """

    agreement: Agreement
    teller: str
    sides: tuple[SideWords, ...]
    entries: tuple[Proof, ...]
    lacking: str = ""

    def to_json(self) -> str:
        """One object, indented for people."""
        terms = {name: value for name, value in asdict(self.agreement).items() if name not in LATER}
        content = {"terms": terms, "teller": self.teller, "sides": [asdict(side) for side in self.sides]}
        return bundle_text(SUBJECT, {**content, "lacking": self.lacking}, self.entries)

    @classmethod
    def from_json(cls, text: str) -> "SharingProof":
        """The proof. Raises Invalid where it is none."""
        (agreement, teller, sides, lacking), entries = read_bundle(text, SUBJECT, read_content)
        return cls(agreement, teller, sides, entries, lacking)


def read_content(data: Mapping[str, Any]) -> tuple[Agreement, str, tuple[SideWords, ...], str]:
    """What a file says. Raises TypeError and ValueError for what is none."""
    sides = tuple(SideWords(**{name: str(value) for name, value in side.items()}) for side in data.get("sides", ()))
    return Agreement.from_data(data.get("terms", {})), str(data.get("teller")), sides, str(data.get("lacking", ""))


@dataclass(frozen=True)
class ProvenSharing:
    """What is proved: the agreement, who has signed it for which side, and when the teller's ledger was told.

    ``withdrawn_at`` is when it was told that the teller has withdrawn it; None where it has not, by this file.
    """

    agreement: Agreement
    signed_by: Mapping[str, str]
    recorded_at: datetime
    withdrawn_at: datetime | None
    lacking: str


# --- making it


def prove_sharing(workspace: Workspace, ledger: StoredLedger, name: str) -> SharingProof:
    """The proof of an agreement of this organisation. Raises NotFound where the ledger does not tell of it yet."""
    place, ours = find_agreement(workspace, name)
    own, other = own_name(workspace), place.split("/")[1]
    theirs, lacking = find_counterpart(workspace, place, ours, own, other)
    words = [side_words(own, ours), *([side_words(other, theirs)] if theirs else [])]
    entries = tuple(prove_entry(ledger, sequence) for sequence in find_entries(ledger, own, ours))
    return SharingProof(ours.side(), own, tuple(words), entries, lacking)


def find_counterpart(
    workspace: Workspace, place: str, ours: Agreement, own: str, other: str
) -> tuple[Agreement | None, str]:
    """What the other side has said of the very same agreement; None where that is not known, and why.

    Whoever gives reads it in the other's hub; whoever has the copy has kept what it was given to sign.
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
    """What it has said."""
    return SideWords(
        organisation, agreement.signer, agreement.signature, agreement.ended_by, agreement.ended_at, agreement.because
    )


def find_entries(ledger: StoredLedger, own: str, ours: Agreement) -> Iterator[int]:
    """The numbers of the entries that tell of our side: its signature, and its withdrawal behind that."""
    wanted = happenings(own, ours, side_words(own, ours))
    sequences: list[int] = []
    for sequence, entry in entries_naming(ledger, ours.id):
        left = wanted[len(sequences) :]
        if left and entry.outcome == Outcome.DONE and (entry.action, entry.note) == left[0]:
            sequences.append(sequence)
    if len(sequences) < len(wanted):
        hint = "Whoever signs and this command have to use the same ledger (KEYTURN_LEDGER)"
        raise NotFound("prove", ours.id, "the ledger does not tell of all that was said of it here", hint)
    yield from sequences


def happenings(own: str, agreement: Agreement, words: SideWords) -> list[tuple[str, str]]:
    """What a side's ledger has to tell of its words: the actions, and their notes."""
    signed = (PROPOSE if agreement.giver == own else ACCEPT, signing_note(agreement, words.signer, words.signature))
    return [signed, *([(WITHDRAW, f"{agreement.id}: {words.because}")] if words.ended_by else [])]


# --- checking it


def check_sharing(
    proof: SharingProof, signers: Mapping[tuple[str, str], bytes], keys: Collection[PublicKey], verify: Verify
) -> ProvenSharing:
    """What is proved, by the signers' public keys (32 bytes each, by organisation and name) and the ledger's.

    Raises Rewritten where it does not hold, and Invalid for what is no entry.
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
        raise _broken("what its entries tell is not what it says")
    proven_entries = [check_proof(entry, keys, verify) for entry in proof.entries]
    for happening, numbered in zip(expected, proven_entries, strict=True):
        if (numbered.entry.action, numbered.entry.note) != happening or numbered.entry.outcome != Outcome.DONE:
            raise _broken(f"entry {numbered.sequence} tells of no such thing: {happening[0]}")
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
