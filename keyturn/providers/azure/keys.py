"""Managed keys of Azure Key Vault. Source: "Azure Key Vault REST API reference: Keys", and its "About keys".

A version is a generation; older ones still decrypt their data.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from azure.core.exceptions import ResourceNotFoundError
from azure.keyvault.keys import KeyClient, KeyRotationLifetimeAction, KeyRotationPolicy, KeyRotationPolicyAction

from keyturn.core.errors import Denied, Missing, NotFound
from keyturn.core.ports.hub import KeyOpening
from keyturn.core.ports.managed_keys import KeyCondition, KeyFacts
from keyturn.providers.answers import reads_answers
from keyturn.providers.azure import client as azure

SPAN: Final = re.compile(r"P(?:([0-9]+)Y)?(?:([0-9]+)M)?(?:([0-9]+)D)?", re.IGNORECASE)
DAYS: Final = (365, 30, 1)
HINT: Final = 'Give the identity the role that `keyturn setup store` writes for the key, or "Key Vault Crypto Officer"'


def open_key_client(name: str, vault_url: str, ca_file: str | None = None, authority: str | None = None) -> KeyClient:
    """Raises Invalid."""
    trust = azure.trust_in(ca_file)
    return KeyClient(
        vault_url,
        azure.credential(name, authority, trust),
        # A private vault's name does not show its tokens' service.
        verify_challenge_resource=authority is None,
        transport=azure.open_transport(vault_url, trust),
        user_agent="keyturn",
        **azure.SDK_SETTINGS,
    )


@contextmanager
def asking(doing: str, name: str) -> Iterator[None]:
    try:
        with azure.translate_azure_errors(doing, name):
            yield
    except Missing:
        raise
    except NotFound:
        raise NotFound(doing, name, "the vault has no such key", "Make it, or correct its name") from None
    except Denied as error:
        raise Denied(doing, name, error.problem, HINT if "403" in error.problem else error.hint) from None


@reads_answers("Azure Key Vault")
class AzureKey:
    """A :class:`keyturn.core.ports.managed_keys.ManagedKey`."""

    def __init__(
        self,
        opened: KeyOpening,
        *,
        key: str,
        vault_url: str,
        automatic: timedelta | None = None,
        expires_after: timedelta | None = None,
        notify_before: timedelta | None = None,
        ca_file: str | None = None,
        authority: str | None = None,
    ) -> None:
        self.name = f"{vault_url.rstrip('/')}/keys/{key}"
        self._key = key
        triggers = {"rotate": (automatic, None), "notify": (None, notify_before)}
        self._actions = {(kind, *spans) for kind, spans in triggers.items() if any(spans)}
        self._life = expires_after
        self._client = open_key_client(self.name, vault_url, ca_file, authority)

    def describe(self) -> KeyFacts:
        """The newest version. Raises Missing for a deleted but recoverable key."""
        with asking("look at", self.name):
            try:
                key = self._client.get_key(self._key)
            except ResourceNotFoundError:
                raise self._lost() from None
        hsm = str(getattr(key.key_type, "value", key.key_type)).upper().endswith("-HSM")
        kept_in = "an HSM of Azure keeps it" if hsm else "software keeps it, no HSM"
        condition = KeyCondition.ENABLED if key.properties.enabled else KeyCondition.DISABLED
        return KeyFacts(str(key.properties.version), key.properties.created_on, hsm, kept_in, condition)

    def differences(self) -> Sequence[str]:
        if not self._actions and self._life is None:
            return []
        with asking("look at", self.name):
            policy = self._client.get_key_rotation_policy(self._key)
        there = {
            (
                str(action.action).rpartition(".")[2].lower(),
                span(action.time_after_create),
                span(action.time_before_expiry),
            )
            for action in policy.lifetime_actions
        }
        same = there == self._actions and span(policy.expires_in) == self._life
        return [] if same else ["its rotation policy is another"]

    def settle(self) -> Sequence[str]:
        if not self.differences():
            return []
        actions = [
            KeyRotationLifetimeAction(
                KeyRotationPolicyAction(kind), time_after_create=written(after), time_before_expiry=written(before)
            )
            for kind, after, before in sorted(self._actions, key=lambda action: action[0])
        ]
        with asking("settle", self.name):
            self._client.update_key_rotation_policy(
                self._key, KeyRotationPolicy(), lifetime_actions=actions, expires_in=written(self._life)
            )
        return ["fixed: its rotation policy is as declared"]

    def rotate(self) -> None:
        with asking("rotate", self.name):
            self._client.rotate_key(self._key)

    def close(self) -> None:
        self._client.close()

    def _lost(self) -> NotFound:
        try:
            deleted = self._client.get_deleted_key(self._key)
        except ResourceNotFoundError:
            return NotFound("look at", self.name, "the vault has no such key", "Make it, or correct its name")
        until: datetime | None = deleted.scheduled_purge_date
        problem = f"it is deleted{f', and gone for good on {until:%Y-%m-%d}' if until else ''}"
        return Missing("look at", self.name, problem, "Recover it: az keyvault key recover")


def span(text: str | None) -> timedelta | None:
    """Parse an ISO 8601 duration of years, months and days; None if empty. Raises ValueError."""
    if not text:
        return None
    parts = SPAN.fullmatch(text)
    if parts is None:
        raise ValueError("no duration")
    return timedelta(days=sum(int(number or 0) * days for number, days in zip(parts.groups(), DAYS, strict=True)))


def written(length: timedelta | None) -> str | None:
    return f"P{length.days}D" if length else None
