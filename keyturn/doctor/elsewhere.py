"""What stores and targets report on the login in use."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from keyturn.core.errors import KeyturnError
from keyturn.core.rights.rights import ANYTHING, Verdict

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue

ASKING: Final = frozenset({"worker", "revoker"})
"""The logins that use stores and targets."""


@dataclass(frozen=True)
class RightElsewhere:
    """A verdict, and its store or target."""

    where: str
    verdict: Verdict

    @property
    def finding(self) -> str:
        """The finding for people; empty where all is in order."""
        if self.verdict.allowed is None:
            return "could not look"
        if self.verdict.needed != self.verdict.allowed:
            return "lacks" if self.verdict.needed else "has beyond"
        return ""

    @property
    def is_unseen(self) -> bool:
        """Whether the right is required and could not be checked."""
        return self.verdict.needed and self.verdict.allowed is None

    @property
    def is_bad(self) -> bool:
        """Whether work may fail because of it, as far as known."""
        return self.verdict.needed and not self.verdict.allowed


def ask_everyone(declared: "Catalogue", role: str, kind: str = "") -> list[RightElsewhere]:
    """Return the answers of all stores and targets that can be asked, or of one ``kind``.

    A place without an answer appears as unchecked.
    """
    askable = [(where, there) for where, there in _askable(declared, role) if where.startswith(kind)]
    return [RightElsewhere(where, verdict) for where, there in askable for verdict in _verdicts(there)]


def unasked(declared: "Catalogue", role: str) -> Iterator[str]:
    """Yield the stores and targets that grant rights and can't be asked for them."""
    stores, targets = declared.stores.items(), declared.targets.items()
    for kind, name, settings in (*(("store", *pair) for pair in stores), *(("target", *pair) for pair in targets)):
        if role not in ASKING or not settings.ASKS:
            yield f"the {kind} {name} ({settings.kind})"


def _askable(declared: "Catalogue", role: str) -> Iterator[tuple[str, Callable[[], list[Verdict]]]]:
    from functools import partial

    from keyturn.rights.accounts import accounts_at
    from keyturn.rights.copies import copies_in
    from keyturn.wiring.registry import ask_store, ask_target

    if role not in ASKING:
        return
    revoking = role == "revoker"
    for name, store in declared.stores.items():
        if store.ASKS:
            copies: Any = copies_in(declared, name, store, "")
            yield f"store {name}", partial(ask_store, name, store, copies, revoking)
    for name, target in declared.targets.items():
        if target.ASKS:
            accounts: Any = accounts_at(declared, name, "")
            yield f"target {name}", partial(ask_target, name, target, accounts, revoking)


def _verdicts(ask_there: Callable[[], list[Verdict]]) -> list[Verdict]:
    try:
        return ask_there()
    except KeyturnError as error:
        return [
            Verdict(ANYTHING, ANYTHING, needed=True, allowed=None, why=f"{error.problem}. {error.hint}".strip(". "))
        ]
