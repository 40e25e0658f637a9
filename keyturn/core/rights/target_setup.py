"""What it takes to put a target's accounts into Keyturn's hands: statements, in transactions, and who may run them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from keyturn.core.errors import Denied

ADMIN_ROLE = "keyturn_admin"
"""What Keyturn's own account at a database is called, where the hub names none."""
OWN_PASSWORD = "its password, as the server stores it"
"""Which password Keyturn's own account gets."""
NO_PASSWORD = "of a password that nobody has"
"""Which password an account gets that is locked."""


@dataclass(frozen=True)
class Handover:
    """Accounts that applications log in with, and the role that is to own what they own.

    Without ``owner`` they stay as they are, and Keyturn's own account gets the right to alter them.
    """

    accounts: tuple[str, ...]
    owner: str = ""


@dataclass(frozen=True)
class Statement:
    """One statement; ``lacks`` says what the login in use would need for it, and is empty where it may run it.

    ``password`` says which password the target gets between ``text`` and ``rest``, and is empty where there is none:
    no text of a statement stands for a value. One that is ``last`` waits for a check of all others.
    """

    text: str
    lacks: str = ""
    password: str = ""
    rest: str = ""
    last: bool = False
    plugin: str = ""
    """How the server stores the password, where that is not its usual way."""

    @property
    def shown(self) -> str:
        """The same for people, with words in the place of the password."""
        return f"{self.text}({self.password}){self.rest}" if self.password else self.text


@dataclass(frozen=True)
class Transaction:
    """What is done together, in one database; ``about`` says what for, ``begins`` and ``ends`` what stands around it.

    Where nothing stands around it, the server has no transactions for such statements.
    """

    database: str
    about: str
    statements: tuple[Statement, ...]
    begins: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetPlan:
    """Everything that is lacking at a target, in the order in which it is done, and what people have to look at.

    ``login`` is who would do it; ``makes_admin`` says that Keyturn's own account is not there yet. ``asks`` is what
    asks for the current user, who is another one from then on.
    """

    target: str
    login: str
    transactions: tuple[Transaction, ...]
    makes_admin: bool = False
    notes: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to do."""
        return not self.transactions

    @property
    def refused(self) -> Sequence[Statement]:
        """The statements that the login may not run."""
        return [each for transaction in self.transactions for each in transaction.statements if each.lacks]

    def insist_on_rights(self) -> None:
        """Raises Denied where the login may not run all of it."""
        if self.refused:
            first = self.refused[0]
            problem = f"{self.login} may not run {len(self.refused)} of the statements, such as {first.shown}"
            hint = f"Let somebody run them who may: it takes {first.lacks}"
            raise Denied("set up", self.target, problem, hint)


class TargetSetup(Protocol):
    """What a kind of target needs before its accounts can be rotated, with an administrator's login."""

    def plan(self, handovers: Sequence[Handover]) -> TargetPlan:
        """Everything that is lacking. Changes nothing. Raises Invalid for accounts that can't be handed over."""

    def apply(self, handovers: Sequence[Handover], plan: TargetPlan, progress: Callable[[str], None]) -> None:
        """Do what the plan says. Raises Denied before anything is done where the login may not run all of it.

        A transaction that fails changes nothing, and those before it stay: run it again. Raises Unavailable where
        others hold a lock, Unprivileged where the role would be able to do less, Conflict where more is lacking by now.
        """
