"""The ways to log in to a hub; their settings are in :mod:`keyturn.settings.hub_login`."""

from keyturn.providers.vault.logins.approle import AppRoleMethod
from keyturn.providers.vault.logins.aws import AwsMethod
from keyturn.providers.vault.logins.certificate import CertMethod
from keyturn.providers.vault.logins.exchange import LoginMethod, TokenLife
from keyturn.providers.vault.logins.jwt import JwtMethod
from keyturn.providers.vault.logins.token import TokenMethod
from keyturn.settings.hub_login import AppRoleLogin, AwsLogin, CertLogin, HubLogin, JwtLogin, TokenLogin

__all__ = ["LoginMethod", "TokenLife", "open_method"]


def open_method(login: HubLogin) -> LoginMethod:
    match login:
        case TokenLogin():
            return TokenMethod(login)
        case AppRoleLogin():
            return AppRoleMethod(login)
        case JwtLogin():
            return JwtMethod(login)
        case AwsLogin():
            return AwsMethod(login)
        case CertLogin():
            return CertMethod(login)
