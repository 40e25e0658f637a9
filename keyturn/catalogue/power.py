"""What a line of the catalogue can't reach, whoever merged it: others' entries of the hub, hosts, accounts and files.

It is asked of the models that are made, on every load, also where the catalogue was checked whole before. Much of it
holds whatever the operator's file says: see :mod:`keyturn.catalogue.operators_policy`.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from keyturn.catalogue.operators_policy import VARIABLE, OperatorsPolicy
from keyturn.catalogue.problems import KeyPath
from keyturn.core.errors import Invalid
from keyturn.core.hosts import refuses_host
from keyturn.core.outbound import is_loopback
from keyturn.settings.directories import cache_directory, sources_directory, state_directory
from keyturn.settings.trail import trail_directory

Flaw = tuple[KeyPath, str, str]
"""Where in the entry, what is wrong, and the remedy."""

Models = Mapping[str, Mapping[str, Any]]
"""Everything that is made, by section and name."""

OWN_PLACES: Final = {
    "targets": (("admin",), "targets"),
    "grants": (("admin",), "grant-admins"),
    "consumers": (("signing_key", "login"), "webhooks"),
}
"""For each section the keys that name entries of the hub's state mount, and the folder that they lie in."""

LEADING: Final = ("stores", "targets", "consumers", "access_logs", "hub", "keys", "grants")
"""The sections that name hosts, accounts and files."""

FILES: Final = ("directory", "kubeconfig")
"""Keys that name files or directories, besides those that end in _file."""

PID_FILE: Final = "pid_file"
"""The key that names whose process is signalled, which takes the operator's word."""

REDIRECTS: Final = "allowed_redirect_uris"
"""The key that says where a browser brings a login's code, which opens the hub as whoever logs in."""

PORTS: Final = {"https": 443, "http": 80, "ldaps": 636, "ldap": 389}

DEVICES: Final = ("/proc", "/sys", "/dev")
"""What is no file: nothing that a catalogue names lies below."""

SYSTEM: Final = (
    "/bin",
    "/boot",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/sbin",
    "/usr",
    "/var/spool",
    "/var/lib",
    "/var/run/secrets",
    "/run/secrets",
    "/run/systemd",
)
"""Where nothing is written unless the operator's file allows it under `directories`."""

HOME: Final = (
    ".ssh",
    ".aws",
    ".azure",
    ".config/gcloud",
    ".config/gh",
    ".docker",
    ".gnupg",
    ".kube",
    ".prefect",
    ".vault-token",
    ".bao-token",
    ".netrc",
    ".pgpass",
    ".git-credentials",
    ".postgresql",
)
"""Below the user's home, what logs this machine or its user in somewhere."""

LOGINS: Final = (
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "PGPASSFILE",
    "VAULT_CLIENT_KEY",
    "KEYTURN_LEDGER_SPOOL",
    VARIABLE,
)
"""Variables that name a file which is this process's own."""

WITHOUT_TLS: Final[Mapping[str, tuple[object, ...]]] = {
    "sslmode": ("disable", "allow", "prefer"),
    "tls": (False, "disable"),
}
"""The settings, and their values with which a connection may have no TLS."""

OWN_FILES: Final = ("KEYTURN_HUB_", "KEYTURN_REVOKER_", "KEYTURN_FAILURE_", "KEYTURN_FORWARD_", "KEYTURN_METRICS_")
"""What variables begin with that name Keyturn's own files, where they end in _FILE."""


@dataclass(frozen=True)
class Surroundings:
    """Where a catalogue is loaded: what the operator allows, the environment, and the catalogue's own directory."""

    policy: OperatorsPolicy
    env: Mapping[str, str]
    directory: Path


def find_flaws(made: Models, around: Surroundings) -> Iterator[tuple[str, str, Flaw]]:
    """Everything that entries ask for and may not have: the section, the entry's name, and what of it."""
    files = FileRules.of(made, around)
    for section in LEADING:
        for name, model in made[section].items():
            flaws = (_other_place(section, name, model), _hosts(model, around), _accounts(model, around))
            yield from ((section, name, flaw) for part in (*flaws, files.find_flaws(model)) for flaw in part)


# --- entries of the hub ------------------------------------------------------------------------------------


def _other_place(section: str, name: str, model: Any) -> Iterator[Flaw]:
    """Another entry's credential is sent to no host of this one's own."""
    keys, folder = OWN_PLACES.get(section, ((), ""))
    own = f"{folder}/{name}"
    for key, path in ((key, getattr(model, key, None)) for key in keys):
        if path is not None and path != own and not path.startswith(f"{own}/"):
            message = f"it may only be read from the hub at {own} or below: what lies elsewhere is another's"
            place = f"{own}/login" if key == "login" else own
            yield (key,), message, f"Write {place}, and move the entry there in Keyturn's own mount of the hub."


# --- hosts and accounts ------------------------------------------------------------------------------------


def _hosts(model: Any, around: Surroundings) -> Iterator[Flaw]:
    """No host that gives out credentials, and none that the operator's file leaves out."""
    for path, host, port in _places(model):
        if why := refuses_host(host):
            yield path, f"no catalogue may lead to this host: {why}", "Name the host that is meant."
        elif not around.policy.allows_host(host, port):
            remedy = f"Let the operator add it to `hosts` in {around.env.get(VARIABLE)}, or name another."
            yield path, "the operator's file does not allow this host", remedy
        elif (key := _without_tls(model)) and not around.policy.allows_unencrypted(host, port):
            remedy = f"Use TLS, or let the operator's file ({VARIABLE}) list {host} under `unencrypted`."
            yield (key,), f"credentials may go to {host} without TLS", remedy


def _places(model: Any) -> Iterator[tuple[KeyPath, str, int]]:
    """Every host that the settings name, and its port; a socket's directory is this machine."""
    for key, value in model:
        if isinstance(value, str) and "://" in value:
            parts = urlsplit(value)
            yield (key,), parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
        elif key == "host":
            yield from (((key,), _machine(host), model.port) for host in value.split(","))
        elif key == REDIRECTS:
            for index, page in enumerate(value):
                parts = urlsplit(page)
                if not is_loopback(host := parts.hostname or ""):
                    yield (key, index), host, parts.port or PORTS[parts.scheme]
        elif key == "nodes":
            for index, node in enumerate(value):
                host, _, port = node.rpartition(":")
                yield (key, index), host, int(port)
        elif key == "endpoint" and value:
            host, _, port = value.rpartition(":")
            yield (key,), host, int(port)


def _without_tls(model: Any) -> str:
    """The setting that lets credentials go without TLS; empty where none does."""
    weak = ((key, getattr(model, key, None)) for key in WITHOUT_TLS)
    return next((key for key, value in weak if value in WITHOUT_TLS[key]), "")


def _machine(host: str) -> str:
    return "localhost" if host.startswith(("/", "@")) else host


def _accounts(model: Any, around: Surroundings) -> Iterator[Flaw]:
    """No account of somebody else's in a cloud, where the operator's file says which are ours."""
    for path, account in getattr(model, "accounts", {}).items():
        if not around.policy.allows_account(account):
            remedy = f"Let the operator add it to `accounts` in {around.env.get(VARIABLE)}, or name another."
            yield path, f"the operator's file does not allow the account {account}", remedy


# --- files -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileRules:
    """Which files and directories this machine lets the catalogue name. All paths are whole, with links followed."""

    allowed: tuple[str, ...] | None
    own: frozenset[str]
    logins: tuple[str, ...]
    catalogue: str
    written: frozenset[str]
    processes: tuple[str, ...] = ()

    @staticmethod
    def of(made: Models, around: Surroundings) -> "FileRules":
        """The rules for the entries of a catalogue: ``written`` are the directories that copies and notices lie in."""
        home = os.path.expanduser("~")
        writing = (*made["stores"].values(), *made["consumers"].values(), *made["access_logs"].values())
        directories = (getattr(entry, "directory", None) for entry in writing)
        allowed = around.policy.directories
        return FileRules(
            None if allowed is None else tuple(map(_real, allowed)),
            frozenset(map(_real, _own_files(around.env))),
            (*(_real(os.path.join(home, part)) for part in HOME), *_own_directories(around.env)),
            _real(str(around.directory)),
            frozenset(_real(directory) for directory in directories if directory),
            tuple(map(_real, around.policy.processes)),
        )

    def find_flaws(self, model: Any) -> Iterator[Flaw]:
        """No file that logs Keyturn or its user in, and none that the operator's file leaves out."""
        for key, value in model:
            if not isinstance(value, str) or not (key.endswith("_file") or key in FILES):
                continue
            parts = value.split(os.pathsep) if key == "kubeconfig" else [value]
            if why := next((why for part in parts if (why := self._refuses(key, part))), None):
                yield (key,), *why

    def _refuses(self, key: str, path: str) -> tuple[str, str] | None:
        real, writes = _real(path), key == "directory"
        if real in self.own or (writes and any(os.path.dirname(own) == real for own in self.own)):
            return "it is a file of Keyturn's own, or beside one", "Name another place."
        if _below(real, DEVICES) or (_below(real, self.logins) and not self._is_kubeconfig(key, real)):
            return "no catalogue may name what lies there", "Keep the file in a directory of its own."
        if key != "ca_file" and _below(real, (self.catalogue,)):
            return "it lies in the catalogue's directory", "Keep it where the catalogue's authors can't write."
        if not writes and _below(real, self.written):
            return "this catalogue has files written there", "Keep it where no copy and no notice is written."
        if key == PID_FILE and not _below(real, self.processes):
            remedy = "Let the operator add its directory to `processes`, or say directory and no pid_file."
            return "the operator's file does not allow to signal processes of this directory", remedy
        return self._refuses_place(real, writes)

    def _refuses_place(self, real: str, writes: bool) -> tuple[str, str] | None:
        if self.allowed is not None and not _below(real, self.allowed):
            return "the operator's file does not allow this place", "Let the operator add it to `directories`."
        if self.allowed is None and writes and (real == "/" or _below(real, SYSTEM)):
            remedy = "Choose a directory of its own, or let the operator's file allow it under `directories`."
            return "no copies are written to a directory of the system", remedy
        return None

    @staticmethod
    def _is_kubeconfig(key: str, real: str) -> bool:
        return key == "kubeconfig" and _below(real, (_real("~/.kube"),))


def _real(path: str) -> str:
    return os.path.realpath(os.path.expanduser(path))


def _below(path: str, directories: tuple[str, ...] | frozenset[str]) -> bool:
    return any(path == directory or path.startswith(directory.rstrip("/") + "/") for directory in directories)


def _own_files(env: Mapping[str, str]) -> Iterator[str]:
    """The files that log this process in, and those that it writes what it did to."""
    for name, value in env.items():
        own = name.startswith(OWN_FILES) and name.endswith("_FILE") and not name.endswith("CA_FILE")
        if value and (own or name in LOGINS):
            yield value
    if (ledger := env.get("KEYTURN_LEDGER")) and "://" not in ledger:
        yield from (ledger, f"{ledger}.spool")


def _own_directories(env: Mapping[str, str]) -> Iterator[str]:
    """Where Keyturn keeps its state and its cache, who has read what, and its own code."""
    yield _real(str(Path(__file__).parents[1]))
    reads = (partial(trail_directory, env), partial(sources_directory, env))
    for place in (state_directory, cache_directory, *reads):
        try:
            yield _real(str(place()))
        except Invalid:
            continue
