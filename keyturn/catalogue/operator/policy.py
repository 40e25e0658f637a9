"""What the operator of a machine lets any catalogue do there: a YAML file outside it, which ``KEYTURN_POLICY`` names.

Whoever may merge into the catalogue may not write this file. Without it the defaults of ``checks.permissions``
hold, and so do they beside it: it can allow nothing that those refuse altogether.
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
from keyturn.catalogue.operator.limits import LimitSettings
from keyturn.catalogue.operator.own_keys import OwnKeySettings
from keyturn.catalogue.operator.partners import OrganisationName, PartnerSettings
from keyturn.core.errors import Invalid
from keyturn.core.hosts import HostPattern
from keyturn.core.outbound import is_loopback
from keyturn.ledger.signed_notes import PublicKey
from keyturn.settings.fields import Line, Model, matching, refused

VARIABLE: Final = "KEYTURN_POLICY"

PREFIX: Final = "KEYTURN_"
"""What the variables begin with that any catalogue may name."""

OWN: Final = re.compile(
    r"KEYTURN_(ACCESS|AUDIT|CATALOGUE|COMPLETE|CONFIG|CONTEXT|FAILOVER|FAILURE|FILES|FOLLOW|FORWARD|HOME|HUB|LEDGER|LOG|LOOK|MARKS|"
    r"METRICS|NURSERY|PEER|POLICY|PREFECT|RELEASE|RENEWAL|REVOKER|SERVE|SET|SETTINGS|SETUP|SOURCES|TRAIL|WORKER|"
    r"WORKSPACE)(_|\Z)"
)
"""Those of them that Keyturn's own settings read: its logins, its record, whom it reports to, what it sets up."""

CREDENTIAL: Final = re.compile(
    r"PASSW(OR)?D|PASSPHRASE|SECRET|CREDENTIAL|(\A|_)(TOKEN|PWD|(API|ACCESS|PRIVATE|SIGNING)_?KEY|AUTH_STRING|DSN|"
    r"CONNECTION_(STRING|URL))(_|\Z)"
)
"""What the name of a variable has that holds a credential by itself; one that ends in _FILE names a file."""


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
        raise refused("is no public key", "Write what `keyturn catalogue sign` tells: name+hash+base64.") from None
    return text.strip()


MOMENT: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
"""A time in UTC, so that an earlier one comes before it as text, too."""

Moment = Annotated[
    str,
    matching(MOMENT, "is no time in UTC", "Write it as 2026-11-27T12:00:00Z."),
    WithJsonSchema({"type": "string", "pattern": f"^{MOMENT}$"}),
]
VerifierKey = Annotated[str, AfterValidator(_verifier_key), WithJsonSchema({"type": "string", "minLength": 1})]
Account = Annotated[Line, matching(r"[A-Za-z0-9._:/*-]+", "is no pattern of accounts", "Write its id; * is any text.")]


class Scheduler(StrEnum):
    """What starts the runs that are due."""

    PREFECT = "prefect"
    EXTERNAL = "external"
    """Something that Keyturn does not know, such as cron."""


class OperatorsPolicy(Model):
    """What catalogues may do on this machine. What is left out is not narrowed beyond the defaults."""

    hosts: tuple[Host, ...] | None = None
    """Hosts that stores, targets and consumers may be at: names, *.domains, networks, each with :port or without."""
    unencrypted: tuple[Host, ...] = ()
    """Hosts, written as under `hosts`, that entries may reach without TLS: passwords go there in clear."""
    accounts: tuple[Account, ...] | None = None
    """Accounts of AWS, projects of Google Cloud, tenants and subscriptions of Azure, repositories of GitHub that the
    catalogue may name; * is any text."""
    undeclared: tuple[PathPattern, ...] = ()
    """Secrets that no catalogue declares and the `paths` of its syncs may copy, as patterns of their paths. Without
    any, a sync whose `paths` have a wildcard copies declared secrets alone."""
    files: tuple[Directory, ...] = ()
    """Directories of the files that the catalogue may name, such as tokens and CA certificates. Without any, it may
    name CA certificates in its own folder, and no other file."""
    directories: tuple[Directory, ...] = ()
    """Directories that stores of the kind file and consumers of the kind process may write below; without any, none."""
    processes: tuple[Directory, ...] = ()
    """Directories below which pid files lie whose processes consumers may signal; without any, none may be."""
    variables: tuple[Variable, ...] = ()
    """Variables that ${} may name besides those that begin with KEYTURN_; * at the end is any text."""
    signed_by: tuple[VerifierKey, ...] = ()
    """Public keys, as `keyturn catalogue sign` tells them, one of which has to have signed the catalogue; without any
    it need not be signed."""
    signatures: Annotated[int, Field(ge=1)] = 1
    """How many of these keys have to have signed it."""
    signed_after: Moment | None = None
    """What was signed before this time is refused, such as 2026-11-27T12:00:00Z: an older catalogue is not put back."""
    limits: LimitSettings = Field(default_factory=LimitSettings)
    """How much may be asked for within an hour."""
    approvals: ApprovalSettings = Field(default_factory=ApprovalSettings)
    """What a second person has to approve."""
    own_keys: OwnKeySettings = Field(default_factory=OwnKeySettings)
    """When Keyturn's own keys are replaced."""
    scheduler: Scheduler = Scheduler.PREFECT
    """What starts the runs that are due: `prefect`, or `external`, such as cron. Then nobody misses a worker."""
    backups: BackupSettings | None = None
    """Where the hub is backed up to, by whose key and how often."""
    organisation: OrganisationName | None = None
    """What this organisation is called by those that it shares secrets with."""
    partners: dict[OrganisationName, PartnerSettings] = Field(default_factory=dict)
    """Those, by what they are called: nothing goes to their part of a hub that both have not signed for."""

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
        """Whether the catalogue may lead there, as far as this says."""
        return self.hosts is None or any(HostPattern.parse(pattern).covers(host, port) for pattern in self.hosts)

    def allows_unencrypted(self, host: str, port: int) -> bool:
        """Whether the catalogue may send credentials there without TLS."""
        return is_loopback(host) or any(HostPattern.parse(pattern).covers(host, port) for pattern in self.unencrypted)

    def allows_account(self, account: str) -> bool:
        """Whether the catalogue may name this account."""
        return self.accounts is None or any(fnmatchcase(account, pattern) for pattern in self.accounts)

    def allows_variable(self, name: str) -> bool:
        """Whether a catalogue may name this variable."""
        if never_named(name):
            return False
        listed = (fnmatchcase(name, pattern) for pattern in self.variables)
        return name.startswith(PREFIX) or any(listed)


def never_named(variable: str) -> bool:
    """Whether a variable holds what no catalogue may ask for, whatever the operator's file says."""
    holds = CREDENTIAL.search(variable.upper()) and not variable.upper().endswith("_FILE")
    return bool(OWN.match(variable) or holds)
