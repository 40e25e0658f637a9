"""Statements that hand a target's accounts to Keyturn, in transactions, with required rights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from keyturn.core.errors import Denied

ADMIN_ROLE = "keyturn_admin"
"""Default name of Keyturn's own database account."""
OWN_PASSWORD = "its password, as the server stores it"
"""Description of the password that Keyturn's account gets."""
NO_PASSWORD = "of a password that no one has"
"""Description of the password that a locked account gets."""


@dataclass(frozen=True)
class Handover:
    """Application accounts, and the role that will own their objects.

    Without ``owner`` the accounts stay unchanged, and Keyturn's account may alter them.
    """

    accounts: tuple[str, ...]
    owner: str = ""


@dataclass(frozen=True)
class Statement:
    """One statement; ``lacks`` is the login's missing right, if any.

    ``password`` describes the one sent between ``text`` and ``rest``: no text contains a value. ``last`` statements
    follow a check of all others.
    """

    text: str
    lacks: str = ""
    password: str = ""
    rest: str = ""
    last: bool = False
    plugin: str = ""
    """How the server stores the password, if not in its usual way."""

    @property
    def shown(self) -> str:
        """The statement for people, with a description instead of the password."""
        return f"{self.text}({self.password}){self.rest}" if self.password else self.text


@dataclass(frozen=True)
class Transaction:
    """Statements of one database run together; ``about`` is the purpose, ``begins`` and ``ends`` enclose them.

    Both are empty on servers without transactions for such statements.
    """

    database: str
    about: str
    statements: tuple[Statement, ...]
    begins: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetPlan:
    """Everything missing at a target, in execution order, and notes for people.

    ``login`` executes it. ``makes_admin``: Keyturn's account does not exist yet. ``asks`` read the current user, which
    then changes.
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
        """Raise Denied if the login may not run all of it."""
        if self.refused:
            first = self.refused[0]
            problem = f"{self.login} may not run {len(self.refused)} of the statements, such as {first.shown}"
            hint = f"Ask a person with the rights to run them: it takes {first.lacks}"
            raise Denied("set up", self.target, problem, hint)


class TargetSetup(Protocol):
    """Prepares a kind of target for rotation, with an administrator's login."""

    def plan(self, handovers: Sequence[Handover]) -> TargetPlan:
        """Everything missing, without changes. Raises Invalid for accounts that can't be handed over."""

    def apply(self, handovers: Sequence[Handover], plan: TargetPlan, progress: Callable[[str], None]) -> None:
        """Execute the plan. Raises Denied, before any change, if the login may not run all of it.

        A failed transaction changes nothing, earlier ones stay: run it again. Raises Unavailable for others' locks,
        Unprivileged if the role would lose rights, Conflict if more is missing than planned.
        """
