"""An AppRole: a role id and a secret id in files."""

import hvac

from keyturn.core.sensitive import Sensitive
from keyturn.providers.vault.logins.exchange import Refusal, TokenLife, denied, exchange
from keyturn.providers.vault.logins.files import read_login
from keyturn.settings.hub_login import ROLE_ID_FILE, SECRET_ID_FILE, AppRoleLogin


class AppRoleMethod:
    """Reads both files again at each login."""

    replaces = True

    def __init__(self, login: AppRoleLogin) -> None:
        self._login = login

    def log_in(self, client: hvac.Client) -> TokenLife:
        """Show both ids. Raises Denied, NotFound, Invalid, Unavailable."""
        role_id = read_login(self._login.role_id_file, f"{ROLE_ID_FILE} (role_id_file)", private=False)
        secret_id = Sensitive(read_login(self._login.secret_id_file, f"{SECRET_ID_FILE} (secret_id_file)"))
        try:
            return exchange(client, self._login.mount, {"role_id": role_id, "secret_id": secret_id.reveal()})
        except Refusal:
            hint = "Make a new secret id for the role and write it to the file"
            raise denied("the AppRole's role id or secret id is refused", hint) from None

    def has_another(self) -> bool:
        """It can be asked again."""
        return True
