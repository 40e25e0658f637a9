"""Actions without the required second person: recorded and reported first, then reviewed by approvers.

The record is immutable, and a review is a signature over its digest: write access can't fake one.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound
from keyturn.core.ports.hub import Identity
from keyturn.core.ports.ledger import Signer
from keyturn.core.text.plain_text import inert
from keyturn.rotation.signers import (
    Review,
    canonical,
    insist_on_finding,
    is_known,
    review_content,
    sign_text,
    signature_flaw,
    signer_at_work,
)
from keyturn.rotation.state.actions import Deed, insist_on_name
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.entries import read_entries
from keyturn.rotation.state.hourly_limits import speak_up
from keyturn.rotation.state.journal import record_action, remark_of_process

BROKEN: Final = "break-glass"
REVIEWS: Final = "break-glass-reviews"
"""Path of reviews: ``break-glass-reviews/<entity of the login>/<id>``."""
UNREADABLE: Final = "unreadable entry"
"""The action of an entry that can't be read; its time is empty."""


@dataclass(frozen=True)
class BrokenGlass:
    """An action without the required second person, and its reviews."""

    id: str
    at: str
    action: str
    words: str
    reason: str
    actor: str
    entity: str
    remark: str
    known: bool = False
    """Whether the login identifies the person. Otherwise that may be any approver, so two have to review it."""
    signed_by: tuple[str, ...] = ()
    """The reviewers."""
    reviewed_by: str = ""
    """The reviewers, once there are enough."""
    reviewed_at: str = ""
    verdict: str = ""
    review_by: str = ""
    """The deadline of the review; empty without a limit."""

    @property
    def needed(self) -> int:
        """How many have to review it."""
        return 1 if self.known else 2

    @property
    def record(self) -> dict[str, Any]:
        """The stored and signed part."""
        later = ("signed_by", "reviewed_by", "reviewed_at", "verdict", "review_by")
        return {name: value for name, value in asdict(self).items() if name not in later}

    @property
    def digest(self) -> str:
        """SHA-256 of :attr:`record`, in hexadecimal digits."""
        return hashlib.sha256(canonical(self.record)).hexdigest()

    def message(self, reviewer: str, at: str, finding: str) -> bytes:
        """The message that a reviewer signs."""
        return f"keyturn access review v1\n{self.digest}\n{review_content(reviewer, at, finding)}\n".encode()


def break_glass(workspace: Workspace, deed: Deed, reason: str) -> None:
    """Continue without a second person, once that is recorded and reported; it then waits for a review.

    A failed write of the record stops nothing: the ledger and the person on call get that too.
    """
    now = workspace.hub_now()
    identity, identified = Identity("", "", "", ""), False
    with suppress(KeyturnError):
        identity = workspace.hub.identity()
        identified = is_known(workspace, identity)
    name = f"BG-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    remark = remark_of_process()
    broken = BrokenGlass(
        name, now.isoformat(), deed.action, deed.words, reason, identity.words, identity.entity_id, remark, identified
    )
    words = f"{name}: {deed.action} {deed.words}; {reason}; digest {broken.digest}"
    try:
        workspace.hub.claim_state(f"{BROKEN}/{name}", {"glass": json.dumps(broken.record)})
    except KeyturnError as error:
        words += f"; NOT KEPT FOR A REVIEW: {error.problem}"
    speak_up(workspace, "break glass", words)


def list_broken(workspace: Workspace) -> list[BrokenGlass]:
    """Every use of break-glass, the oldest first. An unreadable entry hides no other, and counts as not reviewed."""
    reviews = load_reviews(workspace)

    def read(place: str) -> BrokenGlass:
        name = place.removeprefix(f"{BROKEN}/")
        try:
            return with_reviews(workspace, read_glass(workspace, name), reviews.get(name, ()))
        except (Invalid, NotFound) as error:
            reason = f"{error.problem}. Compare the ledger's entries `break glass`, and remove it"
            return BrokenGlass(inert(name), "", UNREADABLE, inert(place), reason, "an unknown login", "", "")

    return [read(place) for place in sorted(workspace.hub.list_state(BROKEN))]


def read_broken(workspace: Workspace, name: str) -> BrokenGlass:
    """One of them. Raises NotFound, and Invalid for a malformed entry."""
    return with_reviews(workspace, read_glass(workspace, name), load_reviews(workspace, name).get(name, ()))


def with_reviews(workspace: Workspace, broken: BrokenGlass, reviews: Iterable[Review]) -> BrokenGlass:
    """The record with its valid reviews: of other approvers, over this record."""
    valid: dict[str, Review] = {}
    for review in reviews:
        message = broken.message(review.reviewer, review.at, review.finding)
        if not signature_flaw(workspace, review.reviewer, broken.entity, message, review.signature):
            valid.setdefault(review.reviewer, review)
    if not valid:
        return broken
    return replace(
        broken,
        signed_by=tuple(valid),
        reviewed_by=" and ".join(valid) if len(valid) >= broken.needed else "",
        reviewed_at=max(review.at for review in valid.values()),
        verdict="; ".join(review.finding for review in valid.values()),
    )


def review_broken(workspace: Workspace, name: str, verdict: str, key: Signer | None = None) -> BrokenGlass:
    """Sign a finding as another approver, with ``key`` or the approver's key in the hub.

    Raises Denied for anyone else, and Invalid where it is already reviewed.
    """
    broken, finding = read_broken(workspace, name), verdict.strip()
    reviewer, who, signer = signer_at_work(workspace, key)
    if who.entity == broken.entity:
        raise Denied("review", name, "you have broken it yourself", "Another approver has to review it")
    if broken.reviewed_by or reviewer in broken.signed_by:
        problem = f"{' and '.join(broken.signed_by)} reviewed it"
        raise Invalid("review", name, problem, "See `keyturn incidents`")
    insist_on_finding(name, finding, "--verdict")
    at = workspace.hub_now().isoformat()
    with record_action(workspace, "review", note=f"{name}: {finding}") as doing:
        review = Review(reviewer, at, finding, sign_text(signer, broken.message(reviewer, at, finding)))
        place = f"{REVIEWS}/{workspace.hub.identity().entity_id or reviewer}/{name}"
        workspace.hub.claim_state(place, {"review": json.dumps(asdict(review))})
        doing.note = f"{name}: by {reviewer}, digest {broken.digest}, signature {review.signature}; {finding}"
    return read_broken(workspace, name)


# --- in the hub


def read_glass(workspace: Workspace, name: str) -> BrokenGlass:
    """The stored record without reviews. Raises NotFound, and Invalid for a malformed entry."""
    insist_on_name(name, "BG-")
    place = f"{BROKEN}/{name}"
    state = workspace.hub.read_state(place)
    if state is None:
        raise NotFound("find", name, "the glass was not broken under that name", "See `keyturn incidents`")
    try:
        data = json.loads(state.data["glass"])
        # An earlier version kept an unsigned review here.
        fields = {name: data[name] for name in data if name in BrokenGlass.__dataclass_fields__}
        broken = BrokenGlass(**BrokenGlass(**fields).record)
        if broken.id != name:
            raise ValueError("id")
    except (ValueError, TypeError, KeyError, AttributeError):
        problem = f"the entry {place} of Keyturn's state is malformed"
        raise Invalid("read", name, problem, "The ledger's entry `break glass` has what was done") from None
    return broken


def load_reviews(workspace: Workspace, only: str = "") -> Mapping[str, list[Review]]:
    """Reviews by record, signed or not: of ``only`` one, or of all."""
    reviews: dict[str, list[Review]] = {}

    def read(place: str) -> None:
        name = place.rpartition("/")[2]
        state = workspace.hub.read_state(place) if only in ("", name) else None
        # A malformed review is no signature.
        with suppress(ValueError, TypeError, KeyError):
            if state is not None:
                reviews.setdefault(name, []).append(Review(**json.loads(state.data["review"])))

    read_entries(workspace, REVIEWS, read)
    return reviews
