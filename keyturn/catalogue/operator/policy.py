"""The operator's policy for catalogues on a machine: a YAML file outside them, which ``KEYTURN_POLICY`` names.

Authors of the catalogue must not be able to write this file. The defaults of ``checks.permissions`` always apply: it
can allow nothing that they forbid.
"""

import os
import re
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from keyturn.catalogue.freezes import PathPattern
from keyturn.catalogue.operator.approvals import ApprovalSettings
from keyturn.catalogue.operator.backups import BackupSettings
from keyturn.catalogue.operator.hourly_limits import LimitSettings
from keyturn.catalogue.operator.own_keys import OwnKeySettings
from keyturn.catalogue.operator.partners import OrganisationName, PartnerSettings
from keyturn.core.clear_text import is_loopback
from keyturn.core.errors import Invalid
from keyturn.core.hosts import HostPattern
from keyturn.ledger.signed_notes import PublicKey
from keyturn.settings.credential_files import CredentialFileSettings
from keyturn.settings.fields import Line, Model, matching, refused
from keyturn.settings.requests import ShortName

VARIABLE: Final = "KEYTURN_POLICY"

PREFIX: Final = "KEYTURN_"

OWN: Final = re.compile(
    r"KEYTURN_(ACCESS|AUDIT|CATALOGUE|COMPLETE|CONFIG|CONTEXT|FAILOVER|FAILURE|FILES|FOLLOW|FORWARD|HOME|HUB|LEDGER|LOG|LOOK|MARKS|"
    r"METRICS|NURSERY|PEER|POLICY|PREFECT|RELEASE|RENEWAL|REVOKER|SERVE|SET|SETTINGS|SETUP|SOURCES|TRAIL|WORKER|"
    r"WORKSPACE)(_|\Z)"
)
"""Exceptions: variables of Keyturn's own settings, such as logins, records, reports and setup."""

CREDENTIAL: Final = re.compile(
    r"PASSW(OR)?D|PASSPHRASE|SECRET|CREDENTIAL|(\A|_)(TOKEN|PWD|(API|ACCESS|PRIVATE|SIGNING)_?KEY|AUTH_STRING|DSN|"
    r"CONNECTION_(STRING|URL))(_|\Z)"
)
"""Parts of variable names that hold a credential; names that end in _FILE hold a path."""


def _host(text: str) -> str:
    try:
        HostPattern.parse(text)
    except ValueError:
        remedy = "Write db.example.com, *.example.com, 10.1.0.0/16, and :port behind it where only that is meant."
        raise refused("is no pattern of hosts", remedy) from None
    return text


def _directory(text: str) -> str:
    if not os.path.isabs(text) or os.path.normpath(text) != text.rstrip("/"):
        raise refused("is no whole path of a directory", "Begin with /, and write no part . or ..")
    return text


def _variable(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*\*?", text):
        raise refused("is no variable's name", "Write its name, or the beginning of several with * at its end.")
    if never_named(text):
        raise refused("is a variable that no catalogue may name", "Give the value its own, such as KEYTURN_DB_HOST.")
    return text


Host = Annotated[str, AfterValidator(_host), WithJsonSchema({"type": "string", "minLength": 1})]
Directory = Annotated[str, AfterValidator(_directory), WithJsonSchema({"type": "string", "pattern": "^/"})]
Variable = Annotated[str, AfterValidator(_variable), WithJsonSchema({"type": "string", "minLength": 1})]


def _verifier_key(text: str) -> str:
    try:
        PublicKey.parse(text)
    except Invalid:
        raise refused("is no public key", "Write what `keyturn catalogue sign` prints: name+hash+base64.") from None
    return text.strip()


MOMENT: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
"""A time in UTC, whose text order is the time order."""

Moment = Annotated[
    str,
    matching(MOMENT, "is no time in UTC", "Write it as 2026-11-27T12:00:00Z."),
    WithJsonSchema({"type": "string", "pattern": f"^{MOMENT}$"}),
]
VerifierKey = Annotated[str, AfterValidator(_verifier_key), WithJsonSchema({"type": "string", "minLength": 1})]
Account = Annotated[Line, matching(r"[A-Za-z0-9._:/*-]+", "is no pattern of accounts", "Write its id; * is any text.")]


class Scheduler(StrEnum):
    """The program that starts due runs."""

    PREFECT = "prefect"
    EXTERNAL = "external"
    """A program unknown to Keyturn, such as cron."""


class OperatorsPolicy(Model):
    """The permissions of catalogues on this machine. Missing keys keep the defaults."""

    hosts: tuple[Host, ...] | None = None
    """Allowed hosts of stores, targets and consumers: names, *.domains or networks, optionally with :port."""
    unencrypted: tuple[Host, ...] = ()
    """Hosts, as under `hosts`, that entries may reach without TLS: passwords are sent unencrypted."""
    accounts: tuple[Account, ...] | None = None
    """AWS accounts, Google Cloud projects, Azure tenants and subscriptions, and GitHub repositories that the catalogue
    may name; * is any text."""
    undeclared: tuple[PathPattern, ...] = ()
    """Undeclared secrets that the `paths` of syncs may copy, as patterns of their paths. By default, a sync whose
    `paths` have a wildcard copies only declared secrets."""
    files: tuple[Directory, ...] = ()
    """Directories of files that the catalogue may name, such as tokens and CA certificates. By default, only CA
    certificates in its own folder."""
    directories: tuple[Directory, ...] = ()
    """Directories below which stores of kind file and consumers of kind process may write; none by default."""
    processes: tuple[Directory, ...] = ()
    """Directories of pid files whose processes consumers may signal; none by default."""
    credential_files: dict[ShortName, CredentialFileSettings] = Field(default_factory=dict)
    """Files with accounts as lines that targets of the kind credential-file may name; none by default."""
    variables: tuple[Variable, ...] = ()
    """Variables that ${} may name in addition to those with the prefix KEYTURN_; a final * is any text."""
    signed_by: tuple[VerifierKey, ...] = ()
    """Public keys, as `keyturn catalogue sign` prints them; one must have signed the catalogue. By default, no
    signature is needed."""
    signatures: Annotated[int, Field(ge=1)] = 1
    """The number of these keys that must have signed it."""
    signed_after: Moment | None = None
    """The earliest time of a signature, such as 2026-11-27T12:00:00Z: older ones are refused, so an old catalogue can't
    return."""
    limits: LimitSettings = Field(default_factory=LimitSettings)
    """Limits on requests within an hour."""
    approvals: ApprovalSettings = Field(default_factory=ApprovalSettings)
    """Actions that a second person must approve."""
    own_keys: OwnKeySettings = Field(default_factory=OwnKeySettings)
    """The times at which Keyturn's own keys are replaced."""
    scheduler: Scheduler = Scheduler.PREFECT
    """The program that starts due runs: `prefect`, or `external`, such as cron. With external, a missing worker is not
    reported."""
    backups: BackupSettings | None = None
    """The backups of the hub: place, keys and interval."""
    organisation: OrganisationName | None = None
    """This organisation's name at its partners."""
    partners: dict[OrganisationName, PartnerSettings] = Field(default_factory=dict)
    """The partners by name: without both signatures, nothing is copied to their part of a hub."""

    @model_validator(mode="after")
    def _named_where_it_shares(self) -> Self:
        if self.partners and (self.organisation is None or self.organisation in self.partners):
            raise refused(
                "names partners, and not this organisation apart from them", "Say what it is called.", "organisation"
            )
        return self

    @model_validator(mode="after")
    def _enough_keys(self) -> Self:
        if self.signatures > max(1, len({PublicKey.parse(key).key for key in self.signed_by})):
            remedy = "Name more under signed_by, or ask for fewer."
            raise refused("there are fewer keys than that", remedy, "signatures")
        return self

    def allows_host(self, host: str, port: int) -> bool:
        return self.hosts is None or any(HostPattern.parse(pattern).covers(host, port) for pattern in self.hosts)

    def allows_unencrypted(self, host: str, port: int) -> bool:
        return is_loopback(host) or any(HostPattern.parse(pattern).covers(host, port) for pattern in self.unencrypted)

    def allows_account(self, account: str) -> bool:
        return self.accounts is None or any(fnmatchcase(account, pattern) for pattern in self.accounts)

    def allows_variable(self, name: str) -> bool:
        if never_named(name):
            return False
        listed = (fnmatchcase(name, pattern) for pattern in self.variables)
        return name.startswith(PREFIX) or any(listed)


def never_named(variable: str) -> bool:
    """Whether the variable is forbidden regardless of the operator's file."""
    holds = CREDENTIAL.search(variable.upper()) and not variable.upper().endswith("_FILE")
    return bool(OWN.match(variable) or holds)
