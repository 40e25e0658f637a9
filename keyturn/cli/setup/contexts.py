"""Contexts: which hub, catalogue and Prefect server a name stands for, in one file; never the value of a secret.

What a context says stands for environment variables that are not set. Two kinds of them go together: what is about
the hub counts only for that hub, and a login is taken whole, so that no login is ever shown to another hub.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from keyturn.core.errors import Invalid, NotFound, Unavailable
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
"""What a context may say, and the variable that it stands for."""

WITHOUT: Final = frozenset({"context", "up", "down", "env"})
"""The commands that are about contexts, or about the local stack."""

LIMIT: Final = 1024 * 1024
"""Bytes of the file."""

SECRET_NAME: Final = re.compile(r"(?i)token|password|passphrase|secret|api_key|auth_string|credential")
SECRET_VALUE: Final = re.compile(r"\b(hv[sbr]|[sbr])\.[A-Za-z0-9_-]{8,}|-----BEGIN|eyJ[A-Za-z0-9_-]{8,}\.")
"""How tokens of the hub, keys in PEM and JWTs begin."""
FILES: Final = ("_file",)

ADDED: Final[dict[str, str]] = {}
"""The variables that were set here, and the context that each is from."""


@dataclass(frozen=True)
class Contexts:
    """The file: its contexts by name, each with settings by their names, and which one is in use."""

    file: Path
    named: Mapping[str, Mapping[str, str]]
    current: str = ""
    place: tuple[int, int] | None = None
    """Where the current one's name stands in the text."""

    def settings(self, name: str) -> Mapping[str, str]:
        """What a context says. Raises NotFound with the one likely meant."""
        if name not in self.named:
            hint = advice(name, self.named, f"Declare it in {self.file}")
            raise NotFound("use", f"the context {name}", f"{self.file} has none of that name", hint)
        return self.named[name]


def config_file(env: Mapping[str, str] = os.environ) -> Path:
    """KEYTURN_CONFIG, or ``keyturn/config.yaml`` in XDG_CONFIG_HOME, or in ``~/.config``."""
    if named := env.get(CONFIG):
        return Path(named).expanduser()
    home = env.get("XDG_CONFIG_HOME") or ""
    base = Path(home) if home.startswith("/") else Path(env.get("HOME") or "/nowhere") / ".config"
    return base / "keyturn" / "config.yaml"


def read_contexts(env: Mapping[str, str] = os.environ) -> Contexts:
    """The file's contexts; none where there is no file. Raises Invalid, naming the line, and Unavailable."""
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
    """Its text. Raises OSError, and Invalid where others than its owner may write it: they could lead a login away."""
    from keyturn.project.worker_settings import insist_on_mode

    with file.open("rb") as opened:
        insist_on_mode(file, os.fstat(opened.fileno()))
        raw = opened.read(LIMIT + 1)
    if len(raw) > LIMIT:
        raise Invalid("read", str(file), f"it has more than {LIMIT:,} bytes", "It holds a few lines for each context")
    return raw.decode()


def parse_contexts(file: Path, text: str) -> Contexts:
    """What the text says. Raises Invalid for what is no context, and for what is, or seems to be, a secret."""
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
    """The settings of one context, by their names."""
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
    """A setting's text. Raises Invalid for a secret, and for a file that is no whole path."""
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
    """The keys and values of a mapping. Raises Invalid for anything else, and for a key that is there twice."""
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
    """A text, a number or a word. Raises Invalid for anything else."""
    if node.id != "scalar" or not str(node.value) or not str(node.value).isprintable():
        raise flaw(file, node.start_mark, "a name or a value is expected here", "See docs/contexts.md")
    return str(node.value)


def flaw(file: Path, mark: Any, problem: str, hint: str) -> Invalid:
    """The line, but nothing that stands in it."""
    return Invalid("read", f"{file}:{mark.line + 1}" if mark else str(file), problem, hint)


def chosen(contexts: Contexts, name: str | None, env: Mapping[str, str] = os.environ) -> str:
    """Which one is in use: the option's, KEYTURN_CONTEXT's, the file's current one; empty for none."""
    if name:
        return name
    return env.get(CONTEXT, contexts.current)


def take_context(name: str | None, command: str) -> None:
    """Set the variables that the context in use stands for, and that are not set. Raises what can't be read."""
    if command in WITHOUT and not name:
        return
    contexts = read_contexts()
    if selected := chosen(contexts, name):
        variables = variables_of(contexts.settings(selected), os.environ)
        os.environ.update(variables)
        ADDED.update(dict.fromkeys(variables, selected))


def variables_of(settings: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    """The variables that a context adds to an environment, whose own go before them."""
    return {SETTINGS[name]: settings[name] for name in settings if not reason_against(name, settings, env)}


def reason_against(name: str, settings: Mapping[str, str], env: Mapping[str, str]) -> str:
    """Why a setting of a context does not count in an environment; empty where it does."""
    if env.get(SETTINGS[name]):
        return f"{SETTINGS[name]} is set"
    if name in OTHERS:
        return ""
    if (address := env.get(ADDRESS)) and address.rstrip("/") != settings.get("hub.address", "").rstrip("/"):
        return f"{ADDRESS} leads to another hub"
    if name in LOGIN and (other := own_login(env)):
        return f"{other} is set, which is another login"
    return ""


def own_login(env: Mapping[str, str]) -> str:
    """The variable by which an environment has a login of its own; empty where it has none."""
    return next((variable for variable in ("VAULT_TOKEN", *LOGIN.values()) if env.get(variable)), "")


def complete_context(incomplete: str) -> list[str]:
    """The names that a shell offers; none where the file can't be read."""
    from contextlib import suppress

    from keyturn.core.errors import KeyturnError

    with suppress(KeyturnError):
        return [name for name in read_contexts().named if name.startswith(incomplete)]
    return []
