"""Agreements of two organisations to share one copy of one secret, signed by people of both.

Each signature is in its side's hub, and every check verifies both with the public keys of the operator's file.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from keyturn.catalogue.destinations import DeclaredPlace
from keyturn.catalogue.models import Catalogue
from keyturn.core.errors import Denied, Invalid, NotFound
from keyturn.core.ports.hub import State, StatePort
from keyturn.rotation.signers import canonical
from keyturn.rotation.state.actions import insist_on_name
from keyturn.rotation.state.context import Workspace

AGREEMENTS: Final = "agreements"
BEGINS: Final = "AG-"
"""The prefix of agreement names."""
DIGITS: Final = 16
COUNTERPART: Final = "counterpart"
"""The field with the other side's signed agreement, where it was imported from a file."""
LATER: Final = ("signer", "signature", "signed_at", "ended_by", "ended_at", "because")
"""The unsigned fields, which belong to one side."""


@dataclass(frozen=True)
class Agreement:
    """``giver`` keeps a copy of its secret ``path`` under ``name`` in ``receiver``'s part of a hub.

    It holds until ``until``, or without an end if empty. The fields after ``nonce`` belong to one side: its signature
    and withdrawal.
    """

    giver: str
    receiver: str
    path: str
    name: str
    purpose: str
    until: str
    made_at: str
    nonce: str
    signer: str = ""
    signature: str = ""
    signed_at: str = ""
    ended_by: str = ""
    ended_at: str = ""
    because: str = ""

    @property
    def id(self) -> str:
        """Its name, one for each copy."""
        about = canonical([self.giver, self.receiver, self.path, self.name])
        return f"{BEGINS}{hashlib.sha256(about).hexdigest()[:DIGITS]}"

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal digits, of all that both sides sign."""
        signed = {name: value for name, value in asdict(self).items() if name not in LATER}
        return hashlib.sha256(canonical(signed)).hexdigest()

    @property
    def words(self) -> str:
        """For people."""
        until = f" until {self.until}" if self.until else ""
        return f"{self.giver} shares {self.path} with {self.receiver} as {self.name}{until}: {self.purpose}"

    def message(self, side: str) -> bytes:
        """The message for one side to sign; the sides' signatures are not interchangeable."""
        return f"keyturn agreement v1\n{side}\n{self.digest}\n".encode()

    def place(self, other: str) -> str:
        """Its path in Keyturn's mount of the organisation that shares with ``other``."""
        return f"{AGREEMENTS}/{other}/{self.id}"

    def side(self) -> "Agreement":
        """The part that both sign, without signatures."""
        return replace(self, **dict.fromkeys(LATER, ""))

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> "Agreement":
        """The agreement. Raises TypeError for other data."""
        return Agreement(**{name: str(value) for name, value in data.items()})


REMAINS: Final = "; it is not as Keyturn wrote it, and stays: an administrator of that part of the hub deletes it"
"""Added where a copy should end but another writer changed it, or a write was interrupted."""


@dataclass(frozen=True)
class Disagreement:
    """Why a copy may not exist where it is declared."""

    why: str


Verify = Callable[[bytes, bytes, bytes], bool]


def partner_of(catalogue: Catalogue, store: str) -> str:
    """The organisation that owns a store's part of a hub; empty where it is ours."""
    partners = catalogue.policy.partners
    if not partners:
        return ""
    settings = catalogue.store(store)
    return next((name for name, partner in partners.items() if partner.has(settings)), "")


def partners_with(catalogue: Catalogue, path: str) -> dict[str, list[DeclaredPlace]]:
    """The organisations that have copies of a secret by the catalogue, and those copies."""
    shared: dict[str, list[DeclaredPlace]] = {}
    for place in catalogue.destinations(path) if catalogue.policy.partners else ():
        if partner := partner_of(catalogue, place.store):
            shared.setdefault(partner, []).append(place)
    return shared


def agreement_refusal(workspace: Workspace, path: str, store: str, name: str) -> Disagreement | None:
    """Why a copy may not be there; None where it may, or where the store is ours.

    Raises the errors of the check: these prove neither consent nor its end.
    """
    partner = partner_of(workspace.catalogue, store)
    if not partner:
        return None
    own = workspace.catalogue.policy.organisation or ""
    wanted = Agreement(own, partner, path, name, "", "", "", "")
    ours = read_agreement(workspace.hub, wanted.place(partner))
    if ours is None or (ours.giver, ours.receiver, ours.path, ours.name) != (own, partner, path, name):
        return Disagreement(f"no one has signed that {partner} has it: keyturn share propose {path}")
    theirs = read_agreement(open_partner(workspace, store), ours.place(own))
    if theirs is None:
        return Disagreement(f"{partner} has not signed {ours.id}")
    sides = ((own, ours, own_keys(workspace)), (partner, theirs, partner_keys(workspace, partner)))
    flaws = (flaw_of(side, ours, held, keys, workspace.verify_signature) for side, held, keys in sides)
    if why := next(filter(None, flaws), ""):
        return Disagreement(f"{ours.id}: {why}")
    if ours.until and workspace.hub_now() >= datetime.fromisoformat(ours.until):
        return Disagreement(f"{ours.id} was agreed until {ours.until}")
    return None


def insist_on_agreement(workspace: Workspace, path: str, store: str, name: str) -> None:
    """Raises Denied where a copy would go to an organisation and the two have not both signed."""
    if refusal := agreement_refusal(workspace, path, store, name):
        raise not_agreed(store, name, refusal)


def not_agreed(store: str, name: str, refusal: Disagreement) -> Denied:
    """The error for a copy without a valid agreement."""
    hint = "Let people of both sign (keyturn share), or take the copy out of the catalogue"
    return Denied("push to", f"{store}:{name}", refusal.why, hint)


def open_partner(workspace: Workspace, store: str) -> StatePort:
    """The state of the store's organisation, with the store's login. Raises Denied where nothing can open it."""
    if workspace.open_partner is None:
        raise Denied("ask", store, "nothing here asks other organisations", "Run it as a worker does")
    return workspace.open_partner(store)


def flaw_of(side: str, agreed: Agreement, held: Agreement, keys: Mapping[str, str], verify: Verify) -> str:
    """What is wrong with one side's consent; empty where it has signed exactly this."""
    if held.ended_by:
        return f"{side} has withdrawn it ({held.ended_by}, {held.ended_at}): {held.because}"
    if held.digest != agreed.digest:
        return f"{side} has signed another one"
    if held.signer not in keys:
        return f"{held.signer!r} is not a signer for {side}"
    with suppress(ValueError):
        key, raw = base64.b64decode(keys[held.signer]), base64.b64decode(held.signature, validate=True)
        if verify(key, agreed.message(side), raw):
            return ""
    return f"the signature of {held.signer} is not over this agreement"


def own_keys(workspace: Workspace) -> dict[str, str]:
    """The public keys of our signers, by name."""
    return {name: who.public_key for name, who in workspace.approvals.approvers.items()}


def partner_keys(workspace: Workspace, partner: str) -> Mapping[str, str]:
    """The public keys of another organisation's signers. Raises NotFound where the operator's file doesn't name it."""
    partners = workspace.catalogue.policy.partners
    if partner not in partners:
        hint = f"The operator's file names {', '.join(partners) or 'none'} under partners"
        raise NotFound("find", f"the organisation {partner}", "the operator's file does not name it", hint)
    return partners[partner].signers


# --- in a hub


def read_agreement(hub: StatePort, place: str) -> Agreement | None:
    """An agreement as one side keeps it; None for none. Raises Invalid for other data."""
    state = hub.read_state(place)
    return None if state is None else agreement_in(state, place)


def agreement_in(state: State, place: str) -> Agreement:
    """The agreement in an entry. Raises Invalid for other data or another place."""
    try:
        agreement = Agreement.from_data(json.loads(state.data["agreement"]))
        if not place.endswith(f"/{agreement.id}"):
            raise ValueError("place")
        if agreement.until and datetime.fromisoformat(agreement.until).tzinfo is None:
            raise ValueError("zone")
    except (ValueError, TypeError, KeyError, AttributeError):
        hint = "See the hub's audit log for who wrote it"
        raise Invalid("read", place, "the entry is not an agreement", hint) from None
    return agreement


def read_counterpart(hub: StatePort, place: str) -> Agreement | None:
    """The other side's signed agreement, given to this side to sign; None where that was not kept."""
    state = hub.read_state(place)
    text = None if state is None else state.data.get(COUNTERPART)
    return None if state is None or text is None else agreement_in(replace(state, data={"agreement": text}), place)


def list_agreements(workspace: Workspace) -> Iterator[tuple[str, Agreement]]:
    """Every agreement of this organisation, with its place. Raises Invalid for a malformed entry."""
    for place in sorted(workspace.hub.list_state(AGREEMENTS)):
        if agreement := read_agreement(workspace.hub, place):
            yield place, agreement


def find_agreement(workspace: Workspace, name: str) -> tuple[str, Agreement]:
    """An agreement by its name, and its place. Raises NotFound, and Invalid for a malformed name."""
    insist_on_name(name, BEGINS)
    places = [place for place in workspace.hub.list_state(AGREEMENTS) if place.endswith(f"/{name}")]
    agreement = read_agreement(workspace.hub, places[0]) if len(places) == 1 else None
    if agreement is None:
        raise NotFound("find", name, "the hub has no agreement of that name", "See `keyturn share list`")
    return places[0], agreement
