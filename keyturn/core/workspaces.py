"""A workspace's name, and what a Prefect server that several of them share knows one by.

The workspace `default` has the names that there were before workspaces had any.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.core.errors import Invalid

VARIABLE: Final = "KEYTURN_WORKSPACE"
CATALOGUE_VARIABLE: Final = "KEYTURN_CATALOGUE"
"""The variable that names the directory of the catalogue."""
DEFAULT: Final = "default"
HOUSE: Final = "keyturn"
"""What the names of the workspace `default` begin with."""

SECRET, LEDGER, INCIDENT, ALERT = "secret", "ledger", "incident", "alert"
"""What events are about."""

_LEGAL: Final = re.compile(r"(?!target(-|\Z))(?!(.*-)?consumer(-|\Z))[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
"""As Prefect takes a block's name.

A name that begins with ``target-`` looks like a target's limit. In the hub, the policy of the consumer ``worker`` in
the workspace ``red`` has the name that the worker's policy of a workspace ``red-consumer`` would have.
"""


@dataclass(frozen=True)
class WorkspaceNames:
    """One catalogue with its hub, as it is called on a Prefect server. Raises Invalid for what is no name."""

    name: str = DEFAULT

    def __post_init__(self) -> None:
        if not _LEGAL.fullmatch(self.name):
            hint = (
                "Use up to 32 small letters, digits and - between them, without the word consumer; not target, target-…"
            )
            raise Invalid("use", f"workspace {self.name!r}", "it is no name of a workspace", hint)

    @staticmethod
    def from_environment(env: Mapping[str, str]) -> "WorkspaceNames":
        """The one that KEYTURN_WORKSPACE names."""
        return WorkspaceNames(env.get(VARIABLE) or DEFAULT)

    @staticmethod
    def of_pool(pool: str) -> "WorkspaceNames":
        """The one whose work pool has that name. Raises Invalid for a pool of somebody else."""
        if pool == HOUSE:
            return WorkspaceNames()
        if not pool.startswith(f"{HOUSE}-") or pool == f"{HOUSE}-{DEFAULT}":
            hint = "`keyturn bootstrap` makes the pool keyturn, or with --workspace NAME the pool keyturn-NAME"
            raise Invalid("serve", f"the work pool {pool}", "it is no workspace's", hint)
        return WorkspaceNames(pool.removeprefix(f"{HOUSE}-"))

    @property
    def own(self) -> str:
        """What all of its names begin with; its pool and the tag of its runs are called so."""
        return HOUSE if self.name == DEFAULT else f"{HOUSE}-{self.name}"

    @property
    def called(self) -> str:
        """How it is named to people."""
        return "Keyturn" if self.name == DEFAULT else f"Keyturn {self.name}"

    @property
    def option(self) -> str:
        """What commands that go to Prefect are given behind the rest, a space first; empty for the default one."""
        return "" if self.name == DEFAULT else f" --workspace {self.name}"

    def deployment(self, flow: str) -> str:
        """The name of a flow's deployment."""
        return flow if self.name == DEFAULT else f"{flow}-{self.name}"

    def deployed(self, flow: str) -> str:
        """The same as Prefect looks it up: with the flow's name before it."""
        return f"{flow}/{self.deployment(flow)}"

    def automation(self, does: str) -> str:
        """The name of an automation."""
        return f"{self.own}: {does}"

    def limit(self, target: str) -> str:
        """The name of the concurrency limit of a target."""
        return f"{self.own}-target-{target}"

    def resource(self, kind: str, name: str) -> str:
        """What an event is about: something of that kind, or with `*` for its name all of it."""
        return f"{self.own}.{kind}.{name}"

    def artifact(self, key: str) -> str:
        """The key of an artifact, under which the UI keeps the history of one subject."""
        return key if self.name == DEFAULT else f"{self.name}-{key}"
