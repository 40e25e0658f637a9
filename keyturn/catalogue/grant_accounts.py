"""Accounts that Keyturn makes itself at a target for temporary access."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from keyturn.settings.fields import HubPath, Line, Model
from keyturn.settings.timing import no_repeats

KINDS: Final = frozenset({"postgresql"})


class GrantAccountSettings(Model):
    """A kind of account: its target and its permissions."""

    target: Line
    """The target of the accounts: a PostgreSQL server."""
    admin: HubPath
    """The path in Keyturn's own mount with the username and password of the admin of such accounts. The admin needs a
    role of its own with CREATEROLE, ADMIN OPTION on the roles, membership in the owner, and pg_signal_backend."""
    roles: Annotated[tuple[Line, ...], AfterValidator(no_repeats), Field(min_length=1, max_length=20)]
    """The roles of each account; it has their permissions and no others."""
    owner: Line
    """The role that takes over all objects that an account leaves behind."""
