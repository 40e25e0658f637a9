"""Contexts: named sets of hub, catalogue and Prefect settings in one file, without secret values.

A context supplies environment variables that are not set. Hub settings apply only to the context's hub, and a login
applies only as a whole. So no login ever reaches another hub.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from keyturn.core.errors import Invalid, KeyturnError, NotFound, Unavailable
from keyturn.core.text.suggest import advice
from keyturn.core.workspaces import CATALOGUE_VARIABLE, VARIABLE

CONFIG: Final = "KEYTURN_CONFIG"
CONTEXT: Final = "KEYTURN_CONTEXT"
ADDRESS: Final = "VAULT_ADDR"

HUB: Final = {
    "hub.address": ADDRESS,
    "hub.namespace": "VAULT_NAMESPACE",
    "hub.ca_file": "VAULT_CACERT",
    "hub.client_cert_file": "VAULT_CLIENT_CERT",
    "hub.client_key_file": "VAULT_CLIENT_KEY",
    "hub.tls_server_name": "VAULT_TLS_SERVER_NAME",
    "hub.insecure_http": "KEYTURN_HUB_INSECURE_HTTP",
    "hub.mount": "KEYTURN_HUB_MOUNT",
    "hub.state_mount": "KEYTURN_HUB_STATE_MOUNT",
    "hub.transit_mount": "KEYTURN_HUB_TRANSIT_MOUNT",
    "hub.lease_token_role": "KEYTURN_HUB_LEASE_TOKEN_ROLE",
    "hub.grant_token_role": "KEYTURN_HUB_GRANT_TOKEN_ROLE",
    "hub.token_addresses": "KEYTURN_HUB_TOKEN_ADDRESSES",
}
LOGIN: Final = {
    "login.method": "KEYTURN_HUB_AUTH",
    "login.mount_path": "KEYTURN_HUB_AUTH_MOUNT_PATH",
    "login.role": "KEYTURN_HUB_AUTH_ROLE",
    "login.jwt_file": "KEYTURN_HUB_AUTH_TOKEN_PATH",
    "login.audience": "KEYTURN_HUB_AUTH_AUDIENCE",
    "login.region": "KEYTURN_HUB_AUTH_REGION",
    "login.header_value": "KEYTURN_HUB_AUTH_HEADER_VALUE",
    "login.role_id_file": "KEYTURN_HUB_ROLE_ID_FILE",
    "login.secret_id_file": "KEYTURN_HUB_SECRET_ID_FILE",
    "login.wrapped_secret_id_file": "KEYTURN_HUB_WRAPPED_SECRET_ID_FILE",
    "login.token_file": "KEYTURN_HUB_TOKEN_FILE",
}
OTHERS: Final = {
    "catalogue": CATALOGUE_VARIABLE,
    "policy": "KEYTURN_POLICY",
    "workspace": VARIABLE,
    "prefect_api_url": "PREFECT_API_URL",
}
SETTINGS: Final = {**HUB, **LOGIN, **OTHERS}
"""The settings of a context, and their environment variables."""
WITHOUT: Final = frozenset({"context", "up", "down", "env"})
"""Commands about contexts or the local stack."""
LIMIT: Final = 1024 * 1024
"""The file's largest size, in bytes."""
SECRET_NAME: Final = re.compile(r"(?i)token|password|passphrase|secret|api_key|auth_string|credential")
SECRET_VALUE: Final = re.compile(r"\b(hv[sbr]|[sbr])\.[A-Za-z0-9_-]{8,}|-----BEGIN|eyJ[A-Za-z0-9_-]{8,}\.")
"""Prefixes of hub tokens, PEM keys and JWTs."""
FILES: Final = ("_file",)

ADDED: Final[dict[str, str]] = {}
"""The variables set here, and the context of each."""


@dataclass(frozen=True)
class Contexts:
    """The contexts file: settings by context, and the current context."""

    file: Path
    named: Mapping[str, Mapping[str, str]]
    current: str = ""
    place: tuple[int, int] | None = None
    """The position of the current context's name in the text."""

    def settings(self, name: str) -> Mapping[str, str]:
        """Return a context's settings. Raises NotFound with a similar name."""
        if name not in self.named:
            hint = advice(name, self.named, f"Declare it in {self.file}")
            raise NotFound("use", f"the context {name}", f"{self.file} has none of that name", hint)
        return self.named[name]


def config_file(env: Mapping[str, str] = os.environ) -> Path:
    """Return KEYTURN_CONFIG, or ``keyturn/config.yaml`` in XDG_CONFIG_HOME, or in ``~/.config``."""
    if named := env.get(CONFIG):
        return Path(named).expanduser()
    home = env.get("XDG_CONFIG_HOME") or ""
    base = Path(home) if home.startswith("/") else Path(env.get("HOME") or "/nowhere") / ".config"
    return base / "keyturn" / "config.yaml"


def read_contexts(env: Mapping[str, str] = os.environ) -> Contexts:
    """Read the file's contexts; none without a file. Raises Invalid, with the line, NotFound or Unavailable."""
    file = config_file(env)
    try:
        text = read_config(file)
    except FileNotFoundError:
        if env.get(CONFIG):
            raise NotFound("read", str(file), "there is no such file", f"{CONFIG} names it") from None
        return Contexts(file, {})
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable("read", str(file), f"it can't be read ({type(error).__name__})", "Check its mode") from None
    return parse_contexts(file, text)


def read_config(file: Path) -> str:
    """Return the file's text. Raises OSError, and Invalid if others than its owner may write it."""
    from keyturn.project.worker_settings import insist_on_mode

    with file.open("rb") as opened:
        insist_on_mode(file, os.fstat(opened.fileno()))
        raw = opened.read(LIMIT + 1)
    if len(raw) > LIMIT:
        raise Invalid("read", str(file), f"it has more than {LIMIT:,} bytes", "It holds a few lines for each context")
    return raw.decode()


def parse_contexts(file: Path, text: str) -> Contexts:
    """Parse the text. Raises Invalid for a malformed context, and for a possible secret."""
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise flaw(file, mark, "it is no YAML", "Correct the line") from None
    top = {}
    for key, node in pairs(file, root) if root is not None else ():
        if key.value not in ("current", "contexts"):
            raise flaw(file, key.start_mark, f"{key.value} is not read", "Write current, and contexts by name")
        top[key.value] = node
    named = {}
    for key, node in pairs(file, top["contexts"]) if "contexts" in top else ():
        named[key.value] = dict(settings_of(file, node))
    current = top.get("current")
    at = (current.start_mark.index, current.end_mark.index) if current else None
    return Contexts(file, named, scalar(file, current) if current else "", at)


def settings_of(file: Path, node: Any, within: str = "") -> Iterator[tuple[str, str]]:
    for key, value in pairs(file, node):
        name = f"{within}{key.value}"
        if any(setting.startswith(f"{name}.") for setting in SETTINGS):
            yield from settings_of(file, value, f"{name}.")
        elif name not in SETTINGS:
            hint = advice(name, SETTINGS, "Write one of those in docs/contexts.md")
            if SECRET_NAME.search(name):
                hint = "No value of a secret is written here: name a file that holds it, such as login.token_file"
            raise flaw(file, key.start_mark, f"{name} is not read", hint)
        else:
            yield name, checked(file, value, name)


def checked(file: Path, node: Any, name: str) -> str:
    """Return a setting's text. Raises Invalid for a secret, and for a relative file path."""
    text = scalar(file, node)
    if SECRET_VALUE.search(text):
        hint = "No value of a secret is written here: put it into a file, name that, and take the value back"
        raise flaw(file, node.start_mark, f"{name} holds what looks like a secret", hint)
    if "://" in text and (urlsplit(text).username or urlsplit(text).password):
        raise flaw(file, node.start_mark, f"{name} holds a login", "Write the address without it")
    if name.endswith(FILES) or name in ("catalogue", "policy"):
        if not text.startswith(("/", "~/")):
            raise flaw(file, node.start_mark, f"{name} is no whole path", "Begin it with / or ~/")
        return str(Path(text).expanduser())
    return text


def pairs(file: Path, node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the keys and values of a mapping. Raises Invalid for anything else, and for a duplicate key."""
    if node.id != "mapping":
        raise flaw(file, node.start_mark, "it is no list of names and values", "See docs/contexts.md")
    names = set()
    for key, value in node.value:
        name = scalar(file, key)
        if name in names:
            raise flaw(file, key.start_mark, f"{name} is there twice", "Take one of the two out")
        names.add(name)
        yield key, value


def scalar(file: Path, node: Any) -> str:
    if node.id != "scalar" or not str(node.value) or not str(node.value).isprintable():
        raise flaw(file, node.start_mark, "a name or a value is expected here", "See docs/contexts.md")
    return str(node.value)


def flaw(file: Path, mark: Any, problem: str, hint: str) -> Invalid:
    """Name the line, but not its content."""
    return Invalid("read", f"{file}:{mark.line + 1}" if mark else str(file), problem, hint)


def chosen(contexts: Contexts, name: str | None, env: Mapping[str, str] = os.environ) -> str:
    """Return the context in use: the option's, KEYTURN_CONTEXT's, or the file's current one; empty for none."""
    return name or env.get(CONTEXT, contexts.current)


def take_context(name: str | None, command: str) -> None:
    """Set the unset variables of the context in use. Raises errors of reading it."""
    if command in WITHOUT and not name:
        return
    contexts = read_contexts()
    if selected := chosen(contexts, name):
        variables = variables_of(contexts.settings(selected), os.environ)
        os.environ.update(variables)
        ADDED.update(dict.fromkeys(variables, selected))


def variables_of(settings: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    return {SETTINGS[name]: settings[name] for name in settings if not reason_against(name, settings, env)}


def reason_against(name: str, settings: Mapping[str, str], env: Mapping[str, str]) -> str:
    """Return why a context's setting does not apply in an environment, or an empty string."""
    if env.get(SETTINGS[name]):
        return f"{SETTINGS[name]} is set"
    if name in OTHERS:
        return ""
    if (address := env.get(ADDRESS)) and address.rstrip("/") != settings.get("hub.address", "").rstrip("/"):
        return f"{ADDRESS} points to another hub"
    if name in LOGIN and (other := own_login(env)):
        return f"{other} is set, which is another login"
    return ""


def own_login(env: Mapping[str, str]) -> str:
    return next((variable for variable in ("VAULT_TOKEN", *LOGIN.values()) if env.get(variable)), "")


def complete_context(incomplete: str) -> list[str]:
    with suppress(KeyturnError):
        return [name for name in read_contexts().named if name.startswith(incomplete)]
    return []
