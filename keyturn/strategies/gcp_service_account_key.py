"""Keys of Google Cloud service accounts: a new one for each version, the old one disabled and deleted when retired."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import WithJsonSchema

from keyturn.core.errors import Invalid
from keyturn.core.ports.cloud_keys import CREDENTIALS_JSON, NEVER, CloudKey
from keyturn.core.ports.strategies import EXPIRES_AT, RevokeResult
from keyturn.core.sensitive import SecretFields
from keyturn.settings.fields import Line, matching
from keyturn.strategies.base import StrategySettings, Tools
from keyturn.strategies.cloud_keys import CloudKeyStrategy


class GcpServiceAccountKey(CloudKeyStrategy):
    """One service account's keys; a version holds the key file in ``credentials_json``.

    It also holds ``expires_at`` where the organization limits the life of keys.
    """

    credential_fields = frozenset({"credentials_json"})
    limit = 10  # "Quotas and limits" of IAM: service account keys of one account
    account_name = "service_account"
    key_name = "private_key_id"
    holds = frozenset({CREDENTIALS_JSON})

    def mint(self, current: SecretFields | None) -> SecretFields:
        """Return a new key from Google. One without an end removes the end that CURRENT has."""
        made = super().mint(current)
        if EXPIRES_AT in made or current is None or EXPIRES_AT not in current:
            return made
        return made.merged({EXPIRES_AT: NEVER})

    def key_id(self, fields: SecretFields | None) -> str | None:
        if fields is None or not fields.get(CREDENTIALS_JSON):
            return None
        return str(self._key_file(fields)["private_key_id"])

    def check_own(self, key_id: str, keys: Sequence[CloudKey], fields: SecretFields) -> None:
        owner = self._key_file(fields)["client_email"]
        if owner != self.account:
            problem = f"the secret holds a key of {owner}"
            hint = "Correct `service_account`, or write a key of this account into the secret"
            raise Invalid("rotate", f"{self.target.name}:{self.account}", problem, hint)

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        owner = self._owner(credential)
        if owner in (None, self.account):
            return super().revoke(credential, sequence)
        return RevokeResult(
            outlives=(f"a key of {owner}, another account, which the secret held: end it there by hand",)
        )

    def _owner(self, fields: SecretFields) -> str | None:
        try:
            return str(self._key_file(fields)["client_email"]) if fields.get(CREDENTIALS_JSON) else None
        except Invalid:
            return None

    def _key_file(self, fields: SecretFields) -> dict[str, Any]:
        try:
            key_file = json.loads(fields[CREDENTIALS_JSON].reveal())
        except ValueError:
            key_file = None
        if isinstance(key_file, dict) and {"private_key_id", "client_email"} <= key_file.keys():
            return key_file
        problem = f"the field {CREDENTIALS_JSON} of the secret is no key file of a service account"
        hint = "Write the whole JSON that Google gave into it, or remove the field"
        raise Invalid("read", f"{self.target.name}:{self.account}", problem, hint)


# --- in the catalogue --------------------------------------------------------------------------------------

_EMAIL = r"[a-z0-9][a-z0-9.-]*@[a-z0-9.-]+\.gserviceaccount\.com"
ServiceAccount = Annotated[
    str,
    matching(_EMAIL, "is not a service account", "Write its e-mail address: NAME@PROJECT.iam.gserviceaccount.com."),
    WithJsonSchema({"type": "string", "pattern": f"^{_EMAIL}$"}),
]


class GcpServiceAccountKeySettings(StrategySettings):
    """A new key of a Google Cloud service account for each version."""

    targets = frozenset({"gcp-iam"})
    claims = ("service_account",)

    strategy: Literal["gcp-service-account-key"]
    """How the secret is replaced."""
    target: Line
    """The name of the target whose account it is."""
    service_account: ServiceAccount
    """The service account's e-mail address. No other secret may rotate its keys."""

    def open(self, path: str, tools: Tools) -> GcpServiceAccountKey:
        return GcpServiceAccountKey(tools.target(self.target), self.service_account)
