"""The two keys of a storage account take turns: the one that does not serve is regenerated, and then it serves."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import WithJsonSchema

from keyturn.core.errors import Invalid, Superseded
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.settings.fields import Line, matching
from keyturn.strategies.base import StrategyBase, StrategySettings, Tools

KEYS: Final = ("key1", "key2")
"""A first version takes the second: the first is the one that applications are usually given by hand."""

SERVICES: Final = {
    "BlobEndpoint": "blob",
    "QueueEndpoint": "queue",
    "TableEndpoint": "table",
    "FileEndpoint": "file",
}
"""What a connection string calls each service."""


class StorageKey(Protocol):
    """One of an account's keys."""

    @property
    def name(self) -> str:
        """key1 or key2."""

    @property
    def value(self) -> Sensitive:
        """The key itself, in base64."""


class StorageAccount(Protocol):
    """An account, without its keys."""

    @property
    def shared_keys(self) -> bool:
        """Whether it takes keys at all."""

    @property
    def endpoints(self) -> Mapping[str, str]:
        """The addresses of its services, by their names."""


class StorageTarget(Protocol):
    """Where storage accounts are managed."""

    name: str

    def storage_account(self, group: str, account: str) -> StorageAccount:
        """The account as it is now. Raises NotFound."""

    def keys(self, group: str, account: str) -> Sequence[StorageKey]:
        """Its keys as they are now. Raises NotFound."""

    def regenerate_key(
        self, group: str, account: str, key_name: str, still: Callable[[Sensitive], bool]
    ) -> Sensitive | None:
        """Regenerate a key, if ``still`` holds of its value as it is listed directly before; the new value."""

    def check_key(self, group: str, account: str, key: Sensitive) -> None:
        """Use the key. Raises CandidateRejected, or Unavailable while it may be too new."""

    def accepts(self, group: str, account: str, key: Sensitive) -> bool:
        """Whether the account takes the key now. Raises Unavailable where a refusal proves nothing."""


class AzureStorageKey(StrategyBase):
    """The keys of ``account``. A key is regenerated only while it has the value that the caller knows it by.

    Azure has no conditional write, so a worker that is suspended between the listing of the keys and the
    regeneration is stopped by the target's own window alone; one that was suspended before the listing is stopped
    by what it saw when it took the rotation.
    """

    credential_fields = frozenset({"account_name", "key_name", "account_key", "connection_string"})
    mints_at_target = True

    def __init__(self, target: StorageTarget, group: str, account: str) -> None:
        self.target = target
        self.group = group
        self.account = account
        self._taken: dict[str, str] = {}
        self._began: frozenset[str] = frozenset()

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        """Refuse an account that takes no keys, and a key of another account, or one that is gone. Raises Invalid."""
        for fields in (current, candidate):
            self._check_account(fields)
        if not self.target.storage_account(self.group, self.account).shared_keys:
            hint = "Let its consumers sign in with Entra ID and drop this secret, or set allowSharedKeyAccess"
            raise self._invalid("it takes no keys (allowSharedKeyAccess is false)", hint)
        self._serving(current, self._digests())

    def existing_ids(self) -> Sequence[str]:
        """Digests of the keys as they are now: what the next mint starts from."""
        self._taken = self._digests()
        self._began = frozenset(self._taken.values())
        return tuple(self._taken.values())

    def remove_orphans(self, before: Sequence[str], credentials: Sequence[SecretFields]) -> None:
        """Nothing to remove: a key that a dead mint made is known to nobody, and the next mint regenerates it."""
        self._taken = self._digests()
        self._began = frozenset(before)

    def mint(self, current: SecretFields | None) -> SecretFields:
        """The key that does not serve, regenerated. Raises Superseded where another run has done so meanwhile.

        After a cut it is the one that served: nobody knows its value, and the other may be in somebody's hands.
        """
        digests = self._digests()
        name = self._turn(current, digests)
        expected, self._taken, self._began = {**digests, **self._taken}.get(name), {}, frozenset()
        addresses = self._addresses()
        made = self.target.regenerate_key(self.group, self.account, name, lambda value: key_digest(value) == expected)
        if made is None:
            hint = "Nothing is lost: see `keyturn history` for what the newer run did"
            raise Superseded("regenerate", self._named(), f"{name} has been regenerated by another run", hint)
        return SecretFields(
            {
                "account_name": self.account,
                "key_name": name,
                "account_key": made,
                "connection_string": Sensitive(f"{addresses};AccountKey={made.reveal()}"),
            }
        )

    def verify(self, change: Change) -> None:
        """Sign a request to the account's own service with the candidate, waiting until it takes effect."""
        self.target.check_key(self.group, self.account, change.candidate["account_key"])

    def abandon(self, change: Change) -> None:
        """Regenerate the candidate's key, unless CURRENT has come to hold it, or it is gone already."""
        made = change.candidate["account_key"]
        if not (change.current and change.current.get("account_key") == made):
            self._end(key_digest(made))

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        """The account, and a digest of the key that serves; 512 random bits can't be guessed from it."""
        if "account_key" not in current:
            return {}
        name = _text(current, "key_name")
        account = _text(current, "account_name") or self.account
        return {
            "account": account,
            **({"key_name": name} if name else {}),
            "digest": key_digest(current["account_key"]),
        }

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        """Regenerate the old key, if one of the account's still has its value. Raises Invalid for another account's."""
        if not credential_id:
            return
        if credential_id["account"] != self.account:
            hint = f"Put account back to {credential_id['account']} in the catalogue, until its old key is retired"
            raise self._invalid("the old key is another account's", hint)
        self._end(credential_id["digest"])

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """Regenerate the version's key, if one of the account's still has its value; every SAS of it ends too."""
        key, named = key_of(credential), _text(credential, "account_name")
        if key is None:
            return RevokeResult()
        if named not in (None, self.account):
            remark = f"a key of {named}, another account, which the secret held: regenerate it there by hand"
            return RevokeResult(outlives=(remark,))
        self._end(key_digest(key))
        return RevokeResult()

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterator[str]:
        """Both keys by the digests of their values now: a key that was regenerated since is another one."""
        serving = {key_digest(key) for key in map(key_of, spared) if key}
        yield from (digest for digest in self._digests().values() if digest not in serving)

    def revoke_found(self, name: str, sequence: int) -> RevokeResult:
        """Regenerate the key, if it still has this value."""
        self._end(name)
        return RevokeResult()

    def accepts(self, credential: SecretFields) -> bool | None:
        """Sign a request with the version's key, once; None where it holds none, or another account's."""
        key = key_of(credential)
        if key is None or _text(credential, "account_name") not in (None, self.account):
            return None
        return self.target.accepts(self.group, self.account, key)

    def _end(self, ending: str) -> None:
        for name in KEYS:
            self.target.regenerate_key(self.group, self.account, name, lambda value: key_digest(value) == ending)

    def _digests(self) -> dict[str, str]:
        listed = self.target.keys(self.group, self.account)
        return {key.name: key_digest(key.value) for key in listed if key.name in KEYS}

    def _turn(self, current: SecretFields | None, digests: Mapping[str, str]) -> str:
        """The name of the key to regenerate."""
        if current is not None and self._ended_before(current):
            return KEYS[0] if _text(current, "key_name") == KEYS[0] else KEYS[1]
        return KEYS[0] if self._serving(current, digests) == KEYS[1] else KEYS[1]

    def _ended_before(self, current: SecretFields) -> bool:
        """Whether CURRENT's key was gone when the rotation began, which the guard lets pass after a cut alone."""
        key = key_of(current)
        return bool(self._began) and key is not None and key_digest(key) not in self._began

    def _serving(self, current: SecretFields | None, digests: Mapping[str, str]) -> str | None:
        """The name of the key that CURRENT holds; None where there is no version yet. Raises Invalid."""
        if current is None:
            return None
        if "account_key" not in current:
            problem = "the secret holds no account_key, so nothing tells which key serves"
            raise self._invalid(problem, "Write the key that the consumers use into its field account_key")
        held = key_digest(current["account_key"])
        key_name = next((name for name, digest in digests.items() if digest == held), None)
        if key_name is None:
            problem = "the key that serves is none of its keys: somebody has regenerated it, or it is another account's"
            raise self._invalid(problem, "Write the key that the consumers shall use into the secret's account_key")
        return key_name

    def _check_account(self, fields: SecretFields | None) -> None:
        named = _text(fields, "account_name")
        if named not in (None, self.account):
            problem = f"the secret names another account ({named})"
            raise self._invalid(problem, "Correct account in its rotation, or account_name in the hub")

    def _addresses(self) -> str:
        """A connection string but for its key, with every service's address: it fits any cloud, and private ones."""
        endpoints = self.target.storage_account(self.group, self.account).endpoints
        suffix = (urlsplit(endpoints.get("blob", "")).hostname or "").partition(".blob.")[2]
        parts = ["DefaultEndpointsProtocol=https", f"AccountName={self.account}"]
        parts += [f"EndpointSuffix={suffix}"] if suffix else []
        parts += [f"{word}={endpoints[kind]}" for word, kind in SERVICES.items() if kind in endpoints]
        return ";".join(parts)

    def _named(self) -> str:
        return f"{self.target.name}:{self.account}"

    def _invalid(self, problem: str, hint: str) -> Invalid:
        return Invalid("rotate", self._named(), problem, hint)


def _text(fields: SecretFields | None, name: str) -> str | None:
    """A field that is a name and no value; None where it is missing or empty."""
    return (fields[name].reveal() or None) if fields is not None and name in fields else None


def key_of(fields: SecretFields) -> Sensitive | None:
    """The key that a version holds, if only in its connection string."""
    if key := fields.get("account_key"):
        return key
    connection_string = fields["connection_string"].reveal() if "connection_string" in fields else ""
    match = re.search(r"(?:^|;)AccountKey=([^;]+)", connection_string)
    return Sensitive(match[1]) if match else None


def key_digest(key: Sensitive) -> str:
    """SHA-256 of a key: names it without telling it, since a key is 512 random bits."""
    return hashlib.sha256(key.reveal().encode()).hexdigest()


# --- in the catalogue --------------------------------------------------------------------------------------

ACCOUNT: Final = r"^[a-z0-9]{3,24}$"
GROUP: Final = r"^[A-Za-z0-9_.()-]{0,89}[A-Za-z0-9_()-]$"


class AzureStorageKeySettings(StrategySettings):
    """The two keys of an Azure storage account take turns."""

    targets = frozenset({"azure-resource-manager"})
    claims = ("account",)

    strategy: Literal["azure-storage-key"]
    """How the secret is replaced."""
    target: Line
    """The name of the target whose subscription the account is in."""
    resource_group: Annotated[
        str,
        matching(GROUP, "is not a resource group's name", "Use 1 to 90 letters, digits and _ . - ( )"),
        WithJsonSchema({"type": "string", "pattern": GROUP}),
    ]
    """The resource group that the account is in."""
    account: Annotated[
        str,
        matching(ACCOUNT, "is not a storage account's name", "Use 3 to 24 lower-case letters and digits."),
        WithJsonSchema({"type": "string", "pattern": ACCOUNT}),
    ]
    """The storage account. No other secret may rotate its keys."""

    def open(self, path: str, tools: Tools) -> AzureStorageKey:
        """Two keys of one account."""
        return AzureStorageKey(tools.target(self.target), self.resource_group, self.account)
