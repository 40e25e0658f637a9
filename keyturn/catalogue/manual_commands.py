"""Commands to disable a secret's accounts without Keyturn, built from the catalogue without any value.

Account names may contain any character except control characters, so each place quotes them by its own rules.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keyturn.catalogue.models import Catalogue
from keyturn.strategies.base import StrategySettings


@dataclass(frozen=True)
class ManualCommands:
    place: str
    accounts: tuple[str, ...]
    lines: tuple[str, ...]


def manual_commands(catalogue: Catalogue, path: str) -> ManualCommands:
    """The commands that disable the accounts of the secret at ``path``. Raises NotFound if it is undeclared."""
    rotation = catalogue.secret(path).rotation
    name = getattr(rotation, "target", None)
    lines = tuple(rotation.commands_to_end())
    if name is None:
        return ManualCommands(rotation.strategy, (), lines)
    target, accounts = catalogue.target(name), account_names(rotation)
    disable = DISABLE.get(target.kind)
    if disable and accounts:
        lines += tuple(line for account in accounts for line in disable(target, account))
    elif target.kind in FIND and (role := getattr(rotation, "role", "")):
        lines += tuple(FIND[target.kind](role))
    return ManualCommands(f"{name} ({describe_target(target)})", accounts, lines)


def account_names(rotation: StrategySettings) -> tuple[str, ...]:
    named = [getattr(rotation, key) for key in rotation.claims]
    return tuple(name for value in named for name in ([value] if isinstance(value, str) else value))


def describe_target(target: Any) -> str:
    host, port = getattr(target, "host", None), getattr(target, "port", None)
    parts = [f"{target.kind} at {host}:{port}" if host else target.kind]
    parts += [f"also {node}" for node in getattr(target, "nodes", ())]
    parts += [
        f"{key.replace('_', ' ')} {value}"
        for key in ("database", "url", "endpoint_url", "role_arn", "profile", "project", "tenant", "subscription")
        if (value := getattr(target, key, None))
    ]
    return ", ".join(parts)


def sql_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def sql_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def mysql_text(text: str) -> str:
    """The text in quotes of MySQL and MariaDB, where a backslash escapes."""
    return sql_text(text.replace("\\", "\\\\"))


def _postgresql(_: Any, account: str) -> Iterator[str]:
    yield f"ALTER ROLE {sql_name(account)} NOLOGIN;"
    yield f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {sql_text(account)};"  # noqa: S608  quoted


def _mysql(_: Any, account: str) -> Iterator[str]:
    """An account may have an entry for each host, so one statement builds the other."""
    user = mysql_text(account)
    entries = "GROUP_CONCAT(CONCAT(QUOTE(User), '@', QUOTE(Host)) SEPARATOR ', ')"
    lock = f"COALESCE(CONCAT('ALTER USER ', {entries}, ' ACCOUNT LOCK'), 'DO 0')"
    yield f"SELECT {lock} INTO @lock FROM mysql.user WHERE User = {user};"  # noqa: S608  quoted
    yield "PREPARE lock_account FROM @lock; EXECUTE lock_account;"
    yield f"SELECT CONCAT('KILL ', ID, ';') FROM information_schema.PROCESSLIST WHERE USER = {user};"  # noqa: S608  quoted
    yield "-- Now run each line that the last statement has printed."


def _redis(_: Any, account: str) -> Iterator[str]:
    """``resetpass`` refuses every login like ``off`` does, and can't be reversed by ``on``."""
    user = '"' + account.replace("\\", "\\\\").replace('"', '\\"') + '"'
    yield f"ACL SETUSER {user} resetpass"
    yield f"CLIENT KILL USER {user}"


def _aws_iam(target: Any, account: str) -> Iterator[str]:
    aws = " ".join(["aws", *(["--profile", shlex.quote(target.profile)] if target.profile else []), "iam"])
    user = f"--user-name {shlex.quote(account)}"
    keys = f"{aws} list-access-keys {user} --query 'AccessKeyMetadata[].AccessKeyId' --output text"
    yield f'for key in $({keys}); do {aws} update-access-key {user} --access-key-id "$key" --status Inactive; done'


def _gcp_iam(target: Any, account: str) -> Iterator[str]:
    yield f"gcloud iam service-accounts disable {shlex.quote(account)} --project {shlex.quote(target.project)}"


def _microsoft_graph(_: Any, account: str) -> Iterator[str]:
    app = f"--id {shlex.quote(account)}"
    keys = f"az ad app credential list {app} --query '[].keyId' --output tsv"
    yield f'for key in $({keys}); do az ad app credential delete {app} --key-id "$key"; done'


def _azure_storage(target: Any, account: str) -> Iterator[str]:
    where = f"--account-name {shlex.quote(account)} --subscription {shlex.quote(target.subscription)}"
    for key in ("primary", "secondary"):
        yield f"az storage account keys renew {where} --key {key}"


DISABLE: Final[Mapping[str, Callable[[Any, str], Iterator[str]]]] = {
    "postgresql": _postgresql,
    "mysql": _mysql,
    "redis": _redis,
    "aws-iam": _aws_iam,
    "gcp-iam": _gcp_iam,
    "microsoft-graph": _microsoft_graph,
    "azure-resource-manager": _azure_storage,
}


def _find_in_postgresql(role: str) -> Iterator[str]:
    yield f"SELECT rolname FROM pg_roles WHERE rolname LIKE {sql_text(_made_for(role, 8))};"  # noqa: S608  quoted
    yield '-- Then for each of them: ALTER ROLE "NAME" NOLOGIN;'
    yield "-- and SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'NAME';"


def _find_in_mysql(role: str) -> Iterator[str]:
    yield f"SELECT User, Host FROM mysql.user WHERE User LIKE {mysql_text(_made_for(role, 10))};"  # noqa: S608  quoted
    yield "-- Then for each of them: ALTER USER 'USER'@'HOST' ACCOUNT LOCK; and KILL its connections."


def _made_for(role: str, length: int) -> str:
    """The pattern of the hub's account names for a role; they contain part of its name."""
    return f"v-%-{role[:length]}-%".replace("_", "\\_")


FIND: Final[Mapping[str, Callable[[str], Iterator[str]]]] = {
    "postgresql": _find_in_postgresql,
    "mysql": _find_in_mysql,
}
