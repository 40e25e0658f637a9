"""CloudTrail of AWS: reads of secrets and parameters, and decryptions of their values.

Sources: "CloudTrail record contents", "Log Secrets Manager events with CloudTrail", "How Parameter Store uses KMS".
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from keyturn.access_log.hub_reads import parse_time
from keyturn.access_log.sources.copy_names import CopyNames, CopyPlace
from keyturn.access_log.sources.object_log import ObjectLog
from keyturn.access_log.sources.objects import Directory, Document, ObjectStore
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import SourceOpening

HINT: Final = "Deliver the trail's files there, and let this user read them"

SECRETS: Final = "secretsmanager.amazonaws.com"
PARAMETERS: Final = "ssm.amazonaws.com"
KEYS: Final = "kms.amazonaws.com"

KINDS: Final[Mapping[str, str]] = {SECRETS: "aws-secrets-manager", PARAMETERS: "aws-parameter-store"}
"""The kind of store of each service."""

CONTEXTS: Final[Mapping[str, str]] = {"SecretARN": SECRETS, "PARAMETER_ARN": PARAMETERS}
"""Members of an encryption context that name the decrypted secret."""

SUFFIX: Final = re.compile(r"-[A-Za-z0-9]{6}\Z")
"""The suffix of a secret's name in an ARN."""

ARN: Final = re.compile(r"arn:[^:]*:[^:]*:([^:]*):([^:]*):(.*)")
ACCOUNT: Final = re.compile(r"[0-9]{12}")
BY_AMAZON: Final = ".amazonaws.com"
"""The suffix of an AWS service's address."""


class _Issuer(Struct):
    arn: str = ""


class _SessionContext(Struct):
    session_issuer: _Issuer | None = field(name="sessionIssuer", default=None)


class _UserIdentity(Struct):
    type: str = ""
    arn: str = ""
    account_id: str = field(name="accountId", default="")
    principal_id: str = field(name="principalId", default="")
    invoked_by: str = field(name="invokedBy", default="")
    session_context: _SessionContext | None = field(name="sessionContext", default=None)


class _Event(Struct):
    time: str = field(name="eventTime", default="")
    source: str = field(name="eventSource", default="")
    name: str = field(name="eventName", default="")
    region: str = field(name="awsRegion", default="")
    account: str = field(name="recipientAccountId", default="")
    address: str = field(name="sourceIPAddress", default="")
    agent: str | None = field(name="userAgent", default="")
    error: str = field(name="errorCode", default="")
    identity: _UserIdentity = field(name="userIdentity", default_factory=_UserIdentity)
    parameters: dict[str, Any] | None = field(name="requestParameters", default=None)


_DECODER: Final = msgspec.json.Decoder(_Event)


class CloudTrailReads:
    """Reads CloudTrail's records.

    A principal is the ARN of the role or user, a login is its session's name.
    """

    def __init__(self, opening: SourceOpening) -> None:
        self._copies = CopyNames(opening.stores, "aws")

    def accesses(self, record: bytes) -> Sequence[Access]:
        """Return the secrets and parameters that a call read or was denied. Raises ValueError."""
        event = _DECODER.decode(record)
        names_of = _ASKED.get((event.source, event.name))
        if names_of is None:
            return ()
        identity, at = event.identity, parse_time(event.time)
        return [
            Access(
                at=at,
                system=place.system,
                path=place.path,
                version=None,
                principal=_principal(identity),
                source="" if event.address.endswith(BY_AMAZON) else event.address,
                denied=bool(event.error),
                login=_session(identity),
                agent=event.agent or "",
                root=identity.type == "Root",
            )
            for service, name in names_of(event)
            if (place := self._place(event, service, name))
        ]

    def _place(self, event: _Event, service: str, name: str) -> CopyPlace:
        """Find the copy by name or ARN, perhaps of another account."""
        region, account = event.region, event.account
        if (arn := ARN.fullmatch(name)) is not None:
            region, account, name = arn.groups()
        kind = KINDS[service]
        names = _names(service, name)
        return self._copies.find(lambda system: _fits(system, kind, region, account), *names)


def _names(service: str, name: str) -> tuple[str, ...]:
    """The possible names of the requested copy, likeliest first."""
    if service == SECRETS:
        bare = name.removeprefix("secret:")
        return (bare, SUFFIX.sub("", bare))
    bare = name.removeprefix("parameter").partition(":")[0]
    return (bare, bare[1:] if bare.startswith("/") else f"/{bare}")


def _fits(system: tuple[str, ...], kind: str, region: str, account: str) -> int:
    """How well a store matches, perhaps without a known account."""
    of_kind, of_region, of_account, *_ = (*system, "", "", "")
    if (of_kind, of_region) != (kind, region):
        return 0
    if not ACCOUNT.fullmatch(of_account):
        return 1
    return 2 * (of_account == account)


def _secret(event: _Event) -> list[tuple[str, str]]:
    name = (event.parameters or {}).get("secretId")
    return [(SECRETS, name)] if isinstance(name, str) and name else []


def _parameter(event: _Event) -> list[tuple[str, str]]:
    name = (event.parameters or {}).get("name")
    return [(PARAMETERS, name)] if isinstance(name, str) and name else []


def _parameters(event: _Event) -> list[tuple[str, str]]:
    names = (event.parameters or {}).get("names")
    return [(PARAMETERS, name) for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _below(event: _Event) -> list[tuple[str, str]]:
    """All parameters below a path, unnamed in the record."""
    path = (event.parameters or {}).get("path")
    return [(PARAMETERS, f"{path.rstrip('/')}/*")] if isinstance(path, str) and path else []


def _decrypted(event: _Event) -> list[tuple[str, str]]:
    """Values decrypted directly with KMS, not by services."""
    if event.identity.invoked_by or event.address.endswith(BY_AMAZON):
        return []
    context = (event.parameters or {}).get("encryptionContext")
    if not isinstance(context, dict):
        return []
    named = ((service, context.get(key)) for key, service in CONTEXTS.items())
    return [(service, name) for service, name in named if isinstance(name, str) and name]


_ASKED: Final = {
    (SECRETS, "GetSecretValue"): _secret,
    (PARAMETERS, "GetParameter"): _parameter,
    (PARAMETERS, "GetParameterHistory"): _parameter,
    (PARAMETERS, "GetParameters"): _parameters,
    (PARAMETERS, "GetParametersByPath"): _below,
    (KEYS, "Decrypt"): _decrypted,
}
"""Calls that return values. BatchGetSecretValue is logged as several GetSecretValue."""


def _principal(identity: _UserIdentity) -> str:
    issuer = identity.session_context.session_issuer if identity.session_context else None
    role = issuer.arn if issuer else ""
    return role or identity.arn or identity.invoked_by or identity.principal_id or identity.account_id


def _session(identity: _UserIdentity) -> str:
    """The session name, which is the last part of the ARN."""
    return identity.arn.rpartition("/")[2] if identity.type == "AssumedRole" else ""


def open_cloudtrail(opening: SourceOpening, store: ObjectStore, hint: str = HINT) -> ObjectLog:
    """Open a trail in this store."""
    return ObjectLog(opening.name, opening.pace, store, Document(), CloudTrailReads(opening), hint)


def open_trail_files(opening: SourceOpening, *, directory: str) -> ObjectLog:
    """Open a trail in a local directory."""
    return open_cloudtrail(opening, Directory(Path(directory).expanduser()))
