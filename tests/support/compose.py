"""The compose files as Compose reads them: interpolated, with their anchors resolved."""

import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft7Validator

ROOT: Final = Path(__file__).parents[2]
HOME: Final = "/var/lib/keyturn"
ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104  looked for, not bound to
LOCAL: Final = ROOT / "docker-compose.yml"
PRODUCTION: Final = ROOT / "docker-compose.production.yml"
GIVEN: Final = {
    "KEYTURN_IMAGE": f"registry.example.com/keyturn:0.2.0@sha256:{'3f' * 32}",
    "KEYTURN_REDIS_IMAGE": f"redis:8.0.2-bookworm@sha256:{'4e' * 32}",
    "KEYTURN_HAPROXY_IMAGE": f"haproxy:3.0.11-bookworm@sha256:{'5d' * 32}",
    "KEYTURN_PREFECT_HOST": "prefect.example.com",
    "VAULT_ADDR": "https://vault.example.com:8200",
    "KEYTURN_LEDGER": "postgresql://keyturn@db.example.com/keyturn_ledger",
    "KEYTURN_LEDGER_NAME": "example",
}
"""What an operator says to the production file, at least."""
LOGINS: Final = "/etc/keyturn"
"""Where the logins are, each in a directory, unless an operator says otherwise."""

VARIABLE: Final = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])((?:[^{}]|\{[^}]*\})*))?\}")
"""A variable of Compose, `-` or `?` where something stands behind it, and that."""


def interpolated(text: str, given: Mapping[str, str] = {}) -> str:
    """Compose's own variables filled in: the value given, else the default that the file names."""
    return VARIABLE.sub(lambda match: given.get(match[1]) or (match[3] if match[2] == "-" else ""), text)


def compose_file(file: Path = LOCAL, given: Mapping[str, str] = {}) -> dict[str, Any]:
    """The file's whole content, without what it includes."""
    return dict(yaml.safe_load(interpolated(file.read_text(), given)))


def specification() -> Draft7Validator:
    """The Compose specification's own schema, as the package check-jsonschema carries it."""
    carried = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    return Draft7Validator(json.loads(carried.read_text()))


def options(command: list[str]) -> dict[str, str]:
    """The ``--name=value`` arguments."""
    named = (argument for argument in command if argument.startswith("--") and "=" in argument)
    return dict(argument.removeprefix("--").split("=", 1) for argument in named)


def named_volumes(service: Mapping[str, Any]) -> dict[str, str]:
    """Each named volume's place in the container."""
    mounts = [mount.split(":") for mount in service.get("volumes", ()) if isinstance(mount, str)]
    return {source: target for source, target, *_ in mounts if not source.startswith(".")}


def written_volumes(service: Mapping[str, Any]) -> set[str]:
    """The named volumes that the container may write."""
    return {mount.split(":")[0] for mount in service.get("volumes", ()) if not mount.endswith(":ro")}
