"""Accounts that Keyturn makes itself at a target for access that is given for a while."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from keyturn.settings.fields import HubPath, Line, Model
from keyturn.settings.timing import no_repeats

KINDS: Final = frozenset({"postgresql"})
"""The kinds of target at which such accounts have an end of their own, which nobody has to come back for."""


class GrantAccountSettings(Model):
    """One kind of account: where it is made, and what it may do there."""

    target: Line
    """The target that it is made at: a PostgreSQL server."""
    admin: HubPath
    """Where username and password of the admin are that makes and ends such accounts, in Keyturn's own mount: a role
    of its own, which needs CREATEROLE, ADMIN OPTION on the roles, membership in the owner, and pg_signal_backend."""
    roles: Annotated[tuple[Line, ...], AfterValidator(no_repeats), Field(min_length=1, max_length=20)]
    """The roles that each account is a member of. What they may do it may do, and nothing else."""
    owner: Line
    """The role that everything belongs to which an account leaves behind."""
