"""An existing token from a file, a variable, or a person's login."""

import os

import hvac

from keyturn.core.errors import Invalid
from keyturn.core.sensitive import Sensitive
from keyturn.providers.vault.logins.exchange import LoginMethod, TokenLife, denied
from keyturn.providers.vault.logins.files import read_login, read_own
from keyturn.providers.vault.logins.helper import get_token, token_helper
from keyturn.settings.hub_login import AUTH, TOKEN_FILE, TokenLogin


class TokenMethod(LoginMethod):
    replaces = False

    def __init__(self, login: TokenLogin) -> None:
        self._login = login
        self._last: Sensitive | None = None

    def log_in(self, client: hvac.Client) -> TokenLife:
        client.token = self._token()
        self._last = Sensitive(client.token)
        answer = client.auth.token.lookup_self()
        token = answer.json()["data"]
        # The initial root token has no lease and no field "renewable".
        return TokenLife(float(token["ttl"]), bool(token.get("renewable")), answer)

    def has_another(self) -> bool:
        return self._last is not None and self._token() != self._last.reveal()

    def _token(self) -> str:
        login = self._login
        if login.file:
            return insist_on_token(read_login(login.file, f"{TOKEN_FILE} (token_file)"), login.file)
        if token := os.environ.get(login.env):
            return insist_on_token(token.strip(), login.env)
        if login.helper_file and (token := personal_token(login)):
            return token
        hint = f"Run `keyturn login`, or set {login.env}, or KEYTURN_HUB_ROLE_ID_FILE and KEYTURN_HUB_SECRET_ID_FILE"
        raise denied("no token and no other login is given", f"{hint}, or {AUTH} to another method")


def insist_on_token(text: str, place: str) -> str:
    """Raises Invalid, naming the variable or file, for a text that no request can carry."""
    if text and text.isascii() and text.isprintable() and " " not in text:
        return text
    problem = f"what {place} holds is no token: it has a line break, a space or a character that no token has"
    raise Invalid("log in to", "the hub", problem, f"Set {place} to the token alone, on one line")


def personal_token(login: TokenLogin) -> str | None:
    """The token in the configured token helper, else in the file. Raises Denied."""
    if login.helper_configuration and (program := token_helper(login.helper_configuration)):
        return get_token(program)
    return read_own(login.helper_file) if login.helper_file else None
