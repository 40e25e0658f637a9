"""A client certificate, which the connection itself shows."""

import hvac

from keyturn.providers.vault.logins.exchange import LoginMethod, Refusal, TokenLife, denied, exchange
from keyturn.settings.hub_login import ROLE, CertLogin


class CertMethod(LoginMethod):
    """Logs in over a new connection, so a replaced certificate is read again."""

    def __init__(self, login: CertLogin) -> None:
        self._login = login

    def log_in(self, client: hvac.Client) -> TokenLife:
        # Open connections keep the certificate that they were opened with.
        client.session.close()
        login = self._login
        try:
            return exchange(client, login.mount, {"name": login.role} if login.role else {})
        except Refusal:
            role = f"the role {login.role}" if login.role else "every role"
            hint = f"Check VAULT_CLIENT_CERT, {ROLE}, and the CA and allowed names of the role in the hub"
            problem = f"{role} at auth/{login.mount} refuses the client certificate"
            raise denied(problem, hint) from None
