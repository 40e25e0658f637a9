"""Limits of what a catalogue may name: hub entries, hosts, accounts and files.

They are checked on every load. Many apply regardless of the operator's file: see
:mod:`keyturn.catalogue.operator.policy`.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from keyturn.catalogue.files.problems import KeyPath
from keyturn.catalogue.files.signature import FILE as SIGNATURE
from keyturn.catalogue.files.signature import covered_files
from keyturn.catalogue.operator.policy import VARIABLE, OperatorsPolicy
from keyturn.core.clear_text import is_loopback, leaves_in_clear
from keyturn.core.errors import Invalid
from keyturn.core.hosts import refuses_host
from keyturn.settings.directories import cache_directory, sources_directory, state_directory
from keyturn.settings.fields import Model
from keyturn.settings.hub_login import SERVICE_ACCOUNT_TOKEN
from keyturn.settings.stores import StoreBase
from keyturn.settings.trail import trail_directory

Flaw = tuple[KeyPath, str, str]
"""The path in the entry, the message and the remedy."""

Models = Mapping[str, Mapping[str, Any]]

OWN_PLACES: Final = {
    "targets": (("admin",), "targets"),
    "grants": (("admin",), "grant-admins"),
    "consumers": (("signing_key", "login"), "webhooks"),
}
"""For each section, the keys that name entries of the hub's state mount, and their folder."""

LEADING: Final = ("stores", "targets", "consumers", "access_logs", "hub", "keys", "grants", "routes")

FILES: Final = ("directory", "kubeconfig")
"""Keys that name files or directories, in addition to those that end in _file."""

CA_FILE: Final = "ca_file"

PID_FILE: Final = "pid_file"
"""The key of a process to signal, which needs the operator's permission."""

REDIRECTS: Final = "allowed_redirect_uris"
"""The key of the pages that receive a login's code, which opens the hub for that person."""

NESTED: Final = ("login", "exchange", "identity")
"""Keys whose mappings may name further hosts and files."""

PORTS: Final = {"https": 443, "http": 80, "ldaps": 636, "ldap": 389}

DEVICES: Final = ("/proc", "/sys", "/dev")
"""Directories of devices: a catalogue may name nothing below them."""

CODE: Final = (
    "/bin",
    "/boot",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/run/systemd",
    "/sbin",
    "/snap",
    "/usr",
    "/var/run/secrets",
    "/run/secrets",
    "/var/spool",
)
"""Directories of system programs and settings: never written, regardless of the operator's file."""

HOME_CODE: Final = (
    ".bashrc.d",
    ".config",
    ".ipython",
    ".jupyter",
    ".local/bin",
    ".local/lib",
    ".local/share/systemd",
    "bin",
)

CODE_PARTS: Final = re.compile(
    r"\.(bashrc\.d|config|git|ipython|jupyter|ssh)|__pycache__|autostart|bin|cgi-bin|cron\.[a-z]+|dist-packages|"
    r"init\.d|libexec|profile\.d|python[0-9][0-9.]*|rc[0-9]?\.d|sbin|site-packages|systemd"
)
"""Names of directories from which programs load code or logins, at any level of a path."""

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
    ".npmrc",
    ".pgpass",
    ".pypirc",
    ".git-credentials",
    ".postgresql",
)
"""Below the user's home: credentials of this machine or its user."""

WITHIN: Final = re.compile(r"(?<=[=,;&?\s\"'])~?/[^=,;&?\s\"']+")
"""Paths within a variable's value, such as that of sslkey in the ledger's address."""

CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
"""The variable with the directory in which systemd places a unit's credentials."""

PLAIN_HTTP: Final = "insecure_http"
WITHOUT_TLS: Final[Mapping[str, tuple[object, ...]]] = {
    "sslmode": ("disable", "allow", "prefer"),
    "tls": (False, "disable"),
}


@dataclass(frozen=True)
class Surroundings:
    policy: OperatorsPolicy
    env: Mapping[str, str]
    directory: Path


def find_flaws(made: Models, around: Surroundings) -> Iterator[tuple[str, str, Flaw]]:
    files = FileRules(made, around)
    for section in LEADING:
        for name, model in made[section].items():
            flaws = (_other_place(section, name, model), _hosts(model, around), _accounts(model, around))
            yield from ((section, name, flaw) for part in (*flaws, files.find_flaws(model)) for flaw in part)
    yield from _credential_files(made, around)


# --- entries of the hub ------------------------------------------------------------------------------------


def _other_place(section: str, name: str, model: Any) -> Iterator[Flaw]:
    """An entry never sends another entry's credential to its own host."""
    keys, folder = OWN_PLACES.get(section, ((), ""))
    own = f"{folder}/{name}"
    for key, path in ((key, getattr(model, key, None)) for key in keys):
        if path is not None and path != own and not path.startswith(f"{own}/"):
            message = f"it may only be read from the hub at {own} or below: other paths belong to others"
            place = f"{own}/login" if key == "login" else own
            yield (key,), message, f"Write {place}, and move the entry there in Keyturn's own mount of the hub."


# --- hosts and accounts ------------------------------------------------------------------------------------


def _hosts(model: Any, around: Surroundings) -> Iterator[Flaw]:
    for path, host, port in _places(model):
        if why := refuses_host(host):
            yield path, f"no catalogue may use this host: {why}", "Name the host that is meant."
        elif not around.policy.allows_host(host, port):
            remedy = f"Let the operator add it to `hosts` in {around.env.get(VARIABLE)}, or name another."
            yield path, "the operator's file does not allow this host", remedy
        elif (key := _without_tls(model)) and not around.policy.allows_unencrypted(host, port):
            remedy = f"Use TLS, or let the operator's file ({VARIABLE}) list {host} under `unencrypted`."
            yield (key,), f"credentials may go to {host} without TLS", remedy


def _places(model: Any) -> Iterator[tuple[KeyPath, str, int]]:
    """Yields path, host and port of every host; a socket's directory is this machine."""
    for key, value in model:
        if isinstance(value, str) and "://" in value:
            parts = urlsplit(value)
            yield (key,), parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
        elif key in NESTED and isinstance(value, Model):
            yield from (((key, *path), host, port) for path, host, port in _places(value))
        elif key == "host":
            yield from (
                ((key,), "localhost" if host.startswith(("/", "@")) else host, model.port or _usual_port(model))
                for host in value.split(",")
            )
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


def _usual_port(model: Any) -> int:
    """That of a directory, the only host whose port need not be said."""
    return PORTS["ldaps" if model.tls == "ldaps" else "ldap"]


def _without_tls(model: Any) -> str:
    """The key by which credentials may travel in clear. A notice, which is signed, holds none."""
    urls = (value for _, value in model if isinstance(value, str) and "://" in value)
    if getattr(model, PLAIN_HTTP, False) and not hasattr(model, "signing_key") and any(map(leaves_in_clear, urls)):
        return PLAIN_HTTP
    weak = ((key, getattr(model, key, None)) for key in WITHOUT_TLS)
    return next((key for key, value in weak if value in WITHOUT_TLS[key]), "")


def _accounts(model: Any, around: Surroundings) -> Iterator[Flaw]:
    for path, account in getattr(model, "accounts", {}).items():
        if not around.policy.allows_account(account):
            remedy = f"Let the operator add it to `accounts` in {around.env.get(VARIABLE)}, or name another."
            yield path, f"the operator's file does not allow the account {account}", remedy


def _credential_files(made: Models, around: Surroundings) -> Iterator[tuple[str, str, Flaw]]:
    """A catalogue names a file and accounts in it; which ones there are, the operator says."""
    allowed, where = around.policy.credential_files, f"the operator's file ({VARIABLE})"
    files = {name: model.file for name, model in made["targets"].items() if model.kind == "credential-file"}
    for name, file in files.items():
        if file not in allowed:
            remedy = f"Let {where} describe it under credential_files, or name another."
            yield "targets", name, (("file",), "the operator's file has no credential file of this name", remedy)
    for path, secret in made.get("secrets", {}).items():
        place = allowed.get(files.get(getattr(secret.rotation, "target", ""), ""))
        users = (getattr(secret.rotation, "user", None), *getattr(secret.rotation, "users", ()))
        for user in filter(None, users if place else ()):
            if place and not place.allows(user):
                remedy = f"Let {where} add it to `accounts` of this file, or name another."
                message = f"the operator's file does not let a catalogue rotate {user} there"
                yield "secrets", path, (("rotation",), message, remedy)


# --- files -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileRules:
    """The files and directories that the catalogue may name, as absolute paths with links resolved.

    The operator gives ``files`` and ``directories``. ``logins`` are Keyturn's directories and its user's credentials,
    ``code`` directories of programs, ``written`` those that the catalogue writes.
    """

    made: Models
    around: Surroundings

    @cached_property
    def files(self) -> tuple[str, ...]:
        return tuple(map(_real, self.around.policy.files))

    @cached_property
    def directories(self) -> tuple[str, ...]:
        return tuple(map(_real, self.around.policy.directories))

    @cached_property
    def processes(self) -> tuple[str, ...]:
        return tuple(map(_real, self.around.policy.processes))

    @cached_property
    def own(self) -> frozenset[str]:
        return frozenset(map(_real, _own_files(self.around)))

    @cached_property
    def logins(self) -> tuple[str, ...]:
        return (*map(_of_home, HOME), *_own_directories(self.around.env))

    @cached_property
    def code(self) -> tuple[str, ...]:
        return tuple(_code(self.around.env))

    @cached_property
    def catalogue(self) -> str:
        return _real(str(self.around.directory))

    @cached_property
    def written(self) -> frozenset[str]:
        writing = (self.made[section] for section in ("stores", "consumers", "access_logs"))
        return frozenset(_real(entry.directory) for section in writing for entry in section.values() if _writes(entry))

    def find_flaws(self, model: Any) -> Iterator[Flaw]:
        for key, value in model:
            if key in NESTED and isinstance(value, Model):
                yield from (((key, *path), message, remedy) for path, message, remedy in self.find_flaws(value))
            names_file = key.endswith("_file") or (key in FILES and key not in getattr(model, "WORDS", ()))
            if not isinstance(value, str) or not names_file:
                continue
            refuses = self._refuses_writing if key == "directory" and _writes(model) else partial(self._refuses, key)
            parts = value.split(os.pathsep) if key == "kubeconfig" else [value]
            if why := next((why for part in parts if (why := refuses(_real(part)))), None):
                yield (key,), *why

    def _refuses(self, key: str, real: str) -> tuple[str, str] | None:
        if why := self._refuses_own(real, key):
            return why
        if _below(real, self.written):
            return "this catalogue has files written there", "Keep it where no copy and no notice is written."
        if key == PID_FILE and not _below(real, self.processes):
            remedy = "Let the operator add its directory to `processes`, or say directory and no pid_file."
            return "the operator's file does not allow to signal processes of this directory", remedy
        if _below(real, (self.catalogue,)) and key != CA_FILE:
            return "it is in the catalogue's directory", "Keep it where the catalogue's authors can't write."
        if _below(real, (self.catalogue,)):
            remedy = "Rename it, and the folders above it, to begin with another character than a dot."
            return None if self._is_covered(real) else ("a catalogue's signature covers no hidden file", remedy)
        if key != PID_FILE and not _below(real, self.files):
            where = "Keep it in the catalogue's folder, or let" if key == CA_FILE else "Let"
            remedy = f"{where} the operator's file ({VARIABLE}) list its directory under `files`."
            return f"the operator's file lists no directory under `files` that contains {real}", remedy
        return None

    def _is_covered(self, real: str) -> bool:
        """Whether a signature covers this file of the catalogue's folder: by its name, or by that of a link to it."""
        place = os.path.relpath(real, self.catalogue)
        if place != SIGNATURE and not any(part.startswith(".") for part in place.split(os.sep)):
            return True
        files = (os.path.join(self.catalogue, name) for name in covered_files(Path(self.catalogue)))
        return any(_real(file) == real for file in files)

    def _refuses_writing(self, real: str) -> tuple[str, str] | None:
        if any(os.path.dirname(own) == real for own in self.own):
            return "it is one of Keyturn's own files, or next to one", "Name another place."
        if why := self._refuses_own(real, "directory"):
            return why
        if _below(real, self.code) or any(map(CODE_PARTS.fullmatch, real.split("/"))) or real == _working_directory():
            return "programs are loaded from there, so nothing is written to it", "Choose a directory for data alone."
        if _below(real, (self.catalogue,)):
            return "it is in the catalogue's directory", "Keep it where the catalogue's authors can't write."
        if not _below(real, self.directories):
            remedy = f"Let the operator's file ({VARIABLE}) list it under `directories`."
            return "the operator's file lists no directory under `directories` that contains it", remedy
        return None

    def _refuses_own(self, real: str, key: str) -> tuple[str, str] | None:
        """The reason for a file of Keyturn or its user, regardless of the operator's file."""
        if real in self.own and key != CA_FILE:
            return "it is one of Keyturn's own files, or next to one", "Name another place."
        is_kubeconfig = key == "kubeconfig" and _below(real, (_of_home(".kube"),))
        if _below(real, DEVICES) or (_below(real, self.logins) and not is_kubeconfig):
            return "no catalogue may name files there", "Keep the file in its own directory."
        return None


def _writes(entry: Any) -> bool:
    """Whether Keyturn writes to the entry's directory: logs of clouds are only read."""
    read_only = not isinstance(entry, StoreBase) and entry.kind.endswith("-files")
    return bool(getattr(entry, "directory", None)) and not read_only


def _real(path: str) -> str:
    return os.path.realpath(os.path.expanduser(path))


def _of_home(part: str) -> str:
    return _real(os.path.join("~", part))


def _below(path: str, directories: Iterable[str]) -> bool:
    return any(path == directory or path.startswith(directory.rstrip("/") + "/") for directory in directories)


def _own_files(around: Surroundings) -> Iterator[str]:
    """Files of Keyturn, of Prefect and of the clouds' SDKs, as named by variables that catalogues may not name."""
    yield SERVICE_ACCOUNT_TOKEN
    for name, value in around.env.items():
        if not around.policy.allows_variable(name):
            yield from (part for part in value.split(os.pathsep) if part.startswith(("/", "~")))
            yield from WITHIN.findall(value)
            yield from [value] if os.path.isfile(value) else []
    if (ledger := around.env.get("KEYTURN_LEDGER")) and "://" not in ledger:
        yield from (ledger, f"{ledger}.spool")


def _own_directories(env: Mapping[str, str]) -> Iterator[str]:
    yield _real(str(Path(__file__).parents[2]))
    yield from [_real(env[CREDENTIALS])] if env.get(CREDENTIALS) else []
    reads = (partial(trail_directory, env), partial(sources_directory, env))
    for place in (state_directory, cache_directory, *reads):
        try:
            yield _real(str(place()))
        except Invalid:
            continue


def _working_directory() -> str:
    """The directory from which `python -m` loads modules; empty if it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _code(env: Mapping[str, str]) -> Iterator[str]:
    yield from CODE
    yield from map(_of_home, HOME_CODE)
    yield from map(_real, (sys.prefix, sys.base_prefix, *(path for path in sys.path if path)))
    yield from (_real(part) for part in env.get("PATH", "").split(os.pathsep) if part)
