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
    "KEYTURN_CATALOGUE_DIRECTORY": "/etc/keyturn/catalogue",
    "KEYTURN_POLICY_FILE": "/etc/keyturn/policy.yaml",
    "KEYTURN_CA_FILE": "/etc/keyturn/ca.pem",
    "KEYTURN_PREFECT_HOST": "prefect.example.com",
    "KEYTURN_PREFECT_LOGIN": "/etc/keyturn/prefect",
    "KEYTURN_WORKER_LOGIN": "/etc/keyturn/worker",
    "KEYTURN_REVOKER_LOGIN": "/etc/keyturn/revoker",
    "KEYTURN_NOTARY_LOGIN": "/etc/keyturn/notary",
    "KEYTURN_SERVE_LOGIN": "/etc/keyturn/serve",
    "KEYTURN_AUDIT_DIRECTORY": "/var/log/hub",
    "VAULT_ADDR": "https://vault.example.com:8200",
    "KEYTURN_LEDGER": "postgresql://keyturn@db.example.com/keyturn_ledger",
    "KEYTURN_LEDGER_NAME": "example",
}
"""What an operator says to the production file."""

VARIABLE: Final = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])((?:[^{}]|\{[^}]*\})*))?\}")


class Refused(ValueError):
    """What Compose says of a variable that has to be set."""


def interpolated(text: str, given: Mapping[str, str] = {}) -> str:
    """Compose's own variables filled in: the value given, else the default that the file names. Raises Refused."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if kind == "?" and not given.get(name):
            raise Refused(f"required variable {name} is missing a value: {rest}")
        return given.get(name) or ("" if kind != "-" else rest)

    return VARIABLE.sub(value, text)


def compose_file(file: Path = LOCAL, given: Mapping[str, str] = {}) -> dict[str, Any]:
    """The file's whole content. Raises Refused."""
    return dict(yaml.safe_load(interpolated(file.read_text(), given)))


def specification() -> Draft7Validator:
    """The Compose specification's own schema, as the package check-jsonschema carries it."""
    carried = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    return Draft7Validator(json.loads(carried.read_text()))


def options(command: list[str]) -> dict[str, str]:
    """The ``--name=value`` arguments."""
    return dict(argument.removeprefix("--").split("=", 1) for argument in command if argument.startswith("--"))


def named_volumes(service: Mapping[str, Any]) -> dict[str, str]:
    """Each named volume's place in the container."""
    mounts = [mount.split(":") for mount in service.get("volumes", ()) if isinstance(mount, str)]
    return {source: target for source, target, *_ in mounts if not source.startswith(".")}


def written_volumes(service: Mapping[str, Any]) -> set[str]:
    """The named volumes that the container may write."""
    return {mount.split(":")[0] for mount in service.get("volumes", ()) if not mount.endswith(":ro")}
