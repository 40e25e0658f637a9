"""A workspace's name, and its names on a shared Prefect server.

The workspace `default` keeps the names from before workspaces existed.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.core.errors import Invalid

VARIABLE: Final = "KEYTURN_WORKSPACE"
CATALOGUE_VARIABLE: Final = "KEYTURN_CATALOGUE"
"""The variable with the catalogue's directory."""
DEFAULT: Final = "default"
HOUSE: Final = "keyturn"
"""Name prefix of the workspace `default`."""

SECRET, LEDGER, INCIDENT, ALERT = "secret", "ledger", "incident", "alert"
"""Subjects of events."""

_LEGAL: Final = re.compile(r"(?!target(-|\Z))(?!(.*-)?consumer(-|\Z))[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
"""Valid as a Prefect block name.

A name with ``target-`` looks like a target's limit. In the hub, the policy of the consumer ``worker`` in the workspace
``red`` would share its name with the worker's of a workspace ``red-consumer``.
"""


@dataclass(frozen=True)
class WorkspaceNames:
    """One catalogue with its hub, as named on a Prefect server. Raises Invalid for an invalid name."""

    name: str = DEFAULT

    def __post_init__(self) -> None:
        if not _LEGAL.fullmatch(self.name):
            hint = (
                "Use up to 32 small letters, digits and - between them, without the word consumer; not target, target-…"
            )
            raise Invalid("use", f"workspace {self.name!r}", "it is no name of a workspace", hint)

    @staticmethod
    def from_environment(env: Mapping[str, str]) -> "WorkspaceNames":
        """The workspace in KEYTURN_WORKSPACE."""
        return WorkspaceNames(env.get(VARIABLE) or DEFAULT)

    @staticmethod
    def of_pool(pool: str) -> "WorkspaceNames":
        """The workspace with this work pool. Raises Invalid for any other pool."""
        if pool == HOUSE:
            return WorkspaceNames()
        if not pool.startswith(f"{HOUSE}-") or pool == f"{HOUSE}-{DEFAULT}":
            hint = (
                "`keyturn setup prefect --apply` makes the pool keyturn, or with --workspace NAME the pool keyturn-NAME"
            )
            raise Invalid("serve", f"the work pool {pool}", "it is no workspace's", hint)
        return WorkspaceNames(pool.removeprefix(f"{HOUSE}-"))

    @property
    def own(self) -> str:
        """The prefix of all its names, also the name of its pool and of its runs' tag."""
        return HOUSE if self.name == DEFAULT else f"{HOUSE}-{self.name}"

    @property
    def called(self) -> str:
        """Its name for people."""
        return "Keyturn" if self.name == DEFAULT else f"Keyturn {self.name}"

    @property
    def option(self) -> str:
        """The option for Prefect commands, with a leading space; empty for the default."""
        return "" if self.name == DEFAULT else f" --workspace {self.name}"

    def deployment(self, flow: str) -> str:
        """The name of a flow's deployment."""
        return flow if self.name == DEFAULT else f"{flow}-{self.name}"

    def deployed(self, flow: str) -> str:
        """The deployment's lookup name in Prefect: with the flow's name before it."""
        return f"{flow}/{self.deployment(flow)}"

    def automation(self, does: str) -> str:
        """The name of an automation."""
        return f"{self.own}: {does}"

    def limit(self, target: str) -> str:
        """The name of a target's concurrency limit."""
        return f"{self.own}-target-{target}"

    def resource(self, kind: str, name: str) -> str:
        """Return an event's subject; the name `*` matches all of that kind."""
        return f"{self.own}.{kind}.{name}"

    def artifact(self, key: str) -> str:
        """Return an artifact's key, under which the UI keeps a subject's history."""
        return key if self.name == DEFAULT else f"{self.name}-{key}"

    def secret_artifact(self, path: str) -> str:
        """Return the unique key of a secret's page, such as ``secret-ml-training--database``."""
        key = f"{SECRET}-{path.replace('/', '--')}"
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*(/[a-z0-9]+(-[a-z0-9]+)*)*", path):
            key = f"{slug(key)}---{hashlib.sha256(path.encode()).hexdigest()[:12]}"
        return self.artifact(key)


def slug(key: str) -> str:
    """A key as Prefect accepts it."""
    return re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
