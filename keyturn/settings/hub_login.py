"""How to log in to the hub: a small class for each method, and the variables that say which and how.

None holds a secret: they name files and a variable.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyturn.core.errors import Invalid

ROLE_ID_FILE: Final = "KEYTURN_HUB_ROLE_ID_FILE"
SECRET_ID_FILE: Final = "KEYTURN_HUB_SECRET_ID_FILE"
TOKEN_FILE: Final = "KEYTURN_HUB_TOKEN_FILE"

HELPER_FILE: Final = ".vault-token"
"""What `vault login` and `bao login` leave, in the user's home."""


@dataclass(frozen=True)
class TokenLogin:
    """A token that somebody else has made: in ``file``, else in the variable ``env``, else in ``helper_file``.

    ``helper_file`` is what a person's login has left; it is its owner's alone, or is not believed.
    """

    env: str = "VAULT_TOKEN"
    file: str | None = None
    helper_file: str | None = None


@dataclass(frozen=True)
class AppRoleLogin:
    """An AppRole's two ids, in files."""

    role_id_file: str
    secret_id_file: str
    mount: str = "approle"


HubLogin = TokenLogin | AppRoleLogin


def login_from_environment(env: Mapping[str, str], home: Path | None = None) -> HubLogin:
    """An AppRole where its role id is given, else a token. ``home`` is where a person's own may lie, unknown if None.

    Raises Invalid for a role id without a secret id.
    """
    if not (role_id := env.get(ROLE_ID_FILE)):
        helper = home / HELPER_FILE if home else None
        return TokenLogin(file=env.get(TOKEN_FILE) or None, helper_file=str(helper) if helper else None)
    if not (secret_id := env.get(SECRET_ID_FILE)):
        problem = f"{SECRET_ID_FILE} is not set, which an AppRole needs"
        raise Invalid("log in to", "the hub", problem, "Name the file that holds the secret id")
    return AppRoleLogin(role_id, secret_id)
