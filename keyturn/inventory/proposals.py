"""Propose how to rotate a secret, by its field names and the targets' accounts.

Each proposal may replace ``strategy: manual``. It has a reason and its open questions. A person decides.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from keyturn.inventory.accounts import AccountSeen, TargetInventory
from keyturn.inventory.hub_inventory import PathSecret

INTERVAL: Final = {"interval": "30d", "grace": "1d"}
TURNS: Final = (("a", "b"), ("1", "2"), ("blue", "green"), ("one", "two"), ("", "clone"))
"""The endings of two alternating accounts' names; the last pair is AWS's convention."""

LOGIN: Final = frozenset({"username", "password"})
USER_NAMES: Final = frozenset(
    ["user", "username", "db_user", "dbuser", "user_name", "login", "pguser", "database_user"]
)
PASSWORD_NAMES: Final = frozenset(
    ["pass", "password", "passwd", "pwd", "db_pass", "db_password", "dbpassword", "pgpassword"]
)
SERVER_NAMES: Final = frozenset(
    ["host", "hostname", "server", "address", "endpoint", "db_host", "pghost", "url", "uri", "dsn", "port"]
)
AWS_KEY: Final = frozenset({"access_key_id", "secret_access_key"})
AWS_NAMES: Final = frozenset({"aws_access_key_id", "aws_secret_access_key", "access_key", "secret_key"})
CERTIFICATE: Final = frozenset({"certificate", "private_key"})
CERTIFICATE_NAMES: Final = frozenset(
    ["certificate", "cert", "crt", "tls.crt", "tls_crt", "public_certificate", "server.crt"]
)
KEY_NAMES: Final = frozenset(["private_key", "key", "tls.key", "tls_key", "server.key"])
AZURE_APP: Final = frozenset({"client_id", "client_secret"})
STORAGE: Final = frozenset({"account_name", "account_key"})
SIGNING: Final = frozenset({"private_key", "kid"})
GOOGLE: Final = "credentials_json"
GOOGLE_KEY_FILE: Final = frozenset({"type", "private_key_id", "client_email"})
OWN_RANDOM: Final = re.compile(
    r"(.*_)?(session|cookie|csrf|jwt|hmac|webhook|signing|encryption|flask|django|app)_?(secret|key)(_key|_base)?"
)
API_KEY: Final = re.compile(r"(.*_)?(api_?key|api_?token|access_?token|auth_?token|bearer|token|pat)")


@dataclass(frozen=True)
class Proposal:
    """A proposal for ``rotation`` with its reason; empty for none.

    ``questions`` are for a person to answer.
    """

    reason: str
    rotation: Mapping[str, Any] = field(default_factory=dict)
    questions: tuple[str, ...] = ()


def propose(secret: PathSecret, targets: Sequence[TargetInventory]) -> Proposal:
    names = frozenset(name.casefold() for name in secret.held.fields)
    return next(made for rule in RULES if (made := rule(secret, names, targets)) is not None)


Rule = Callable[[PathSecret, frozenset[str], Sequence[TargetInventory]], Proposal | None]


def server_login(secret: PathSecret, names: frozenset[str], targets: Sequence[TargetInventory]) -> Proposal | None:
    if not (names & USER_NAMES and names & PASSWORD_NAMES):
        return None
    if not secret.held.fields.keys() >= LOGIN:
        shown = ", ".join(sorted(names & (USER_NAMES | PASSWORD_NAMES)))
        text = f"it is a login, in fields called {shown}: the strategies for accounts write username and password"
        return Proposal(text, questions=("which copies and applications need these names?",))
    at = list(accounts_at(secret, targets))
    if len(at) == 1:
        return account(*at[0])
    if at:
        servers = ", ".join(target.name for target, _ in at)
        return Proposal(
            "it is a login", questions=(f"several servers have its account: which of {servers} is it for?",)
        )
    if unlisted := [target.name for target in targets if target.unread and target.host & named_hosts(secret)]:
        servers = " or ".join(unlisted)
        again = f"Set it up (`keyturn setup target {unlisted[0]} --apply`), then run this again"
        question = f"which of its accounts is it? {again}"
        return Proposal(f"it is a login at {servers}, whose accounts could not be listed", questions=(question,))
    if not names & SERVER_NAMES and "database" not in names:
        return Proposal("it is a login", questions=("where does it log in? Declare the server under targets",))
    text = "it is the login of a server that none of the given targets is, or that has no such account"
    return Proposal(text, questions=("which server is it? Declare it under targets, and run this again",))


def named_hosts(secret: PathSecret) -> frozenset[str]:
    names = ("host", "hostname", "server")
    return frozenset(value.text for name, value in secret.held.fields.items() if name.casefold() in names)


def accounts_at(
    secret: PathSecret, targets: Iterable[TargetInventory]
) -> Iterator[tuple[TargetInventory, AccountSeen]]:
    """Yield the targets with the account, only those of the secret's host where it names one."""
    user = secret.held.fields["username"].text
    hosts = named_hosts(secret)
    having = [(target, target.accounts[user]) for target in targets if user in target.accounts]
    at_host = [(target, login) for target, login in having if target.host & hosts]
    yield from (at_host if hosts else having)


def account(target: TargetInventory, login: AccountSeen) -> Proposal:
    name = login.name
    if (other := partner(name, target)) and (owners := sorted(login.groups & other.groups)):
        users = sorted((name, other.name))
        rotation: dict[str, Any] = {
            "strategy": "alternating-users",
            "target": target.name,
            "users": users,
            "owner_role": owners[0],
            **INTERVAL,
        }
        why = f"{target.name} has {users[0]} and {users[1]}, both members of {owners[0]}: they can alternate"
        questions = (f"they share {', '.join(owners)}: which of these owns what they make?",) if owners[1:] else ()
        return Proposal(why, rotation, questions)
    rotation = {"strategy": "single-user", "target": target.name, "user": name, "accepts_gap": True, **INTERVAL}
    missing = (
        f"{target.name} has {name} and {other.name}, which share no role without login"
        if other
        else f"{target.name} has {name}, and no second account to alternate with"
    )
    why = f"{missing}: its one password can be changed in place"
    gap = (
        "can it bear that logins are refused from the change until the new password is read? Else make a second account"
    )
    return Proposal(why, rotation, (gap,))


def partner(name: str, target: TargetInventory) -> AccountSeen | None:
    """Return the account that can alternate with this one, by their names."""
    by_name = {login.name: login for login in target.accounts.values()}
    for first, second in TURNS:
        for end, other in ((first, second), (second, first)):
            for sign in ("_", "-", ""):
                tail = f"{sign}{end}" if end else ""
                if not name.endswith(tail) or (not sign and not end.isdigit()):
                    continue
                stem = name.removesuffix(tail)
                if (
                    stem
                    and (other_account := by_name.get(f"{stem}{sign}{other}" if other else stem))
                    and other_account.name != name
                ):
                    return other_account
    return None


def redis(secret: PathSecret, names: frozenset[str], targets: Sequence[TargetInventory]) -> Proposal | None:
    hosts = named_hosts(secret)
    servers = [target for target in targets if target.kind == "redis" and target.host & hosts]
    if len(servers) != 1 or not secret.held.fields.keys() >= LOGIN:
        return None
    rotation = {"strategy": "redis-acl", "target": servers[0].name, "user": "USER", **INTERVAL}
    return Proposal(f"its host is that of {servers[0].name}", rotation, ("USER: which ACL user is it?",))


def aws_key(_: PathSecret, names: frozenset[str], targets: Sequence[TargetInventory]) -> Proposal | None:
    if names >= AWS_KEY:
        rotation = {"strategy": "aws-iam-key", "target": target_of("aws-iam", targets), "user": "USER", **INTERVAL}
        return Proposal("its fields are those of an AWS access key", rotation, ("USER: which IAM user's key is it?",))
    if len(names & AWS_NAMES) >= 2:
        return Proposal(other_names("an AWS access key", AWS_KEY), questions=(RENAMED,))
    return None


def azure(_: PathSecret, names: frozenset[str], targets: Sequence[TargetInventory]) -> Proposal | None:
    if names >= AZURE_APP:
        target = target_of("microsoft-graph", targets)
        rotation = {"strategy": "azure-app-secret", "target": target, "application": "APPLICATION", **INTERVAL}
        asks = "is it one of Entra ID? APPLICATION: what is the application (client) id?"
        return Proposal("its fields are those of an application's client secret", rotation, (asks,))
    if names >= STORAGE:
        target = target_of("azure-resource-manager", targets)
        place = {"resource_group": "GROUP", "account": "ACCOUNT"}
        rotation = {"strategy": "azure-storage-key", "target": target, **place, **INTERVAL}
        asks = "GROUP and ACCOUNT: which storage account is it, in which resource group?"
        return Proposal("its fields are those of a storage account's key", rotation, (asks,))
    return None


def google(_: PathSecret, names: frozenset[str], targets: Sequence[TargetInventory]) -> Proposal | None:
    if GOOGLE in names:
        target = target_of("gcp-iam", targets)
        rotation = {"strategy": "gcp-service-account-key", "target": target, "service_account": "ADDRESS", **INTERVAL}
        asks = "ADDRESS: what is the e-mail address of the service account?"
        return Proposal("its field is that of a service account's key file", rotation, (asks,))
    if names >= GOOGLE_KEY_FILE:
        return Proposal(other_names("a service account's key file", {GOOGLE}), questions=(RENAMED,))
    return None


def signing(_: PathSecret, names: frozenset[str], __: Sequence[TargetInventory]) -> Proposal | None:
    if not names >= SIGNING:
        return None
    rotation = {"strategy": "signing-key", "key": "p-256", **INTERVAL}
    return Proposal("its fields are those of a key that signs tokens", rotation, ("is it an EC key on P-256?",))


def certificate(_: PathSecret, names: frozenset[str], __: Sequence[TargetInventory]) -> Proposal | None:
    if not (names & CERTIFICATE_NAMES and names & KEY_NAMES):
        return None
    if not names >= CERTIFICATE:
        return Proposal(other_names("a certificate", CERTIFICATE), questions=(RENAMED,))
    rotation = {"strategy": "certificate", "role": "ROLE", "common_name": "NAME", "ttl": "90d", "grace": "1d"}
    asks = "does the hub's PKI engine sign it? ROLE and NAME: by which role, and for which name?"
    return Proposal("its fields are those of a certificate", rotation, (asks,))


def ssh_key(_: PathSecret, names: frozenset[str], __: Sequence[TargetInventory]) -> Proposal | None:
    if "private_key" not in names and "ssh_private_key" not in names:
        return None
    asks = "which REST API has its public half? See docs/strategies/ssh-key.md"
    return Proposal("it holds a private key", questions=(asks,))


def generated(secret: PathSecret, names: frozenset[str], __: Sequence[TargetInventory]) -> Proposal | None:
    fields = sorted(name for name in secret.held.fields if OWN_RANDOM.fullmatch(name.casefold()))
    if not fields or len(fields) > 10 or not all(map(PLAIN_NAME.fullmatch, fields)):
        return None
    rotation = {
        "strategy": "generated",
        "fields": {name: {"form": "url-safe", "length": 32} for name in fields},
        **INTERVAL,
    }
    why = f"{', '.join(fields)}: by the name a random value that your own applications alone know"
    return Proposal(why, rotation, ("is that so? And do they take a new value while the old one is in use?",))


PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def api_key(secret: PathSecret, names: frozenset[str], __: Sequence[TargetInventory]) -> Proposal | None:
    fields = sorted(name for name in secret.held.fields if API_KEY.fullmatch(name.casefold()))
    if not fields:
        return None
    asks = "which service has issued it? One with a REST API can be asked for keys: docs/strategies/http-api-key.md"
    return Proposal(f"{', '.join(fields)}: by the name a key of some service's", questions=(asks,))


def anything(_: PathSecret, __: frozenset[str], ___: Sequence[TargetInventory]) -> Proposal:
    return Proposal("the names of its fields match no kind of credential")


RULES: Final[Sequence[Rule]] = (
    redis,
    server_login,
    aws_key,
    google,
    azure,
    signing,
    certificate,
    ssh_key,
    generated,
    api_key,
    anything,
)
"""The rules in order of preference."""

RENAMED: Final = "can the applications take the names that the strategy writes?"


def other_names(what: str, wanted: Collection[str]) -> str:
    return f"it looks like {what}, and the strategy for these writes {', '.join(sorted(wanted))}"


def target_of(kind: str, targets: Sequence[TargetInventory]) -> str:
    """Return the only target of a kind, else ``TARGET``."""
    named = [target.name for target in targets if target.kind == kind]
    return named[0] if len(named) == 1 else "TARGET"
