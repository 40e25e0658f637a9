"""Credentials in the environment of a flow run's process, from its beginning on: nothing of them passes Prefect.

Prefect calls this while it is imported. It prints and shows what a plugin hands it, so nothing is handed over.
"""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Final

from prefect.plugins import HookContext, SetupResult, register_hook

from keyturn.core.errors import Invalid, KeyturnError, NotFound, unexpected
from keyturn.core.sensitive import Sensitive
from keyturn.project import RUN

if TYPE_CHECKING:
    from keyturn.client.credentials import Credential

SECRETS: Final = "KEYTURN_SETUP_SECRETS"
"""The variable that says which fields of secrets become which variables: ``NAME=PATH#FIELD``, with commas between."""
LEASES: Final = "KEYTURN_SETUP_LEASES"
"""The same of credentials that the hub's engines make for this process alone: all of one path are one credential."""
ALWAYS: Final = "KEYTURN_SETUP_ALWAYS"
"""The variable that says that processes which run no flow for a worker are set up too."""
ENGINES: Final = ("prefect.engine", "prefect.flow_engine")
"""The modules that run a flow for a worker, by which Prefect starts the process that is the flow's own."""
BOOTSTRAP: Final = "_workspace_runtime_bootstrap.py"
"""The file by which it starts one of them in an environment of the flow's own, and others for hooks."""
SPAWNED: Final = "--multiprocessing-fork"
PREPARES: Final = "prefect.runner."
"""What prepares a run writes its environment to a file, and becomes the flow's process: it is never set up."""
SET_UP_FOR: Final = "KEYTURN_SET_UP_FOR"
"""Names the flow run to a process's children, which have its variables and take no credentials of their own."""
NO_RUN: Final = "-"

_ENTRY: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=([^#\s,]+)#([^#\s,]+)")
_NAME: Final = re.compile(r"(?:^|[,\n])\s*([A-Za-z_][A-Za-z0-9_]*)\s*=")


@dataclass(frozen=True)
class Variable:
    """A variable of the environment, and which field it gets."""

    name: str
    path: str
    field: str


@register_hook
def setup_environment(*, ctx: HookContext) -> SetupResult | None:
    """Set the variables in this process, and give the leases back at its end.

    Where that fails, none of them is set, so that no other login is used in its place. Raises KeyturnError, which
    Prefect logs; with PREFECT_PLUGINS_STRICT it ends the process.
    """
    run = os.environ.get(RUN) or NO_RUN
    if not _is_wanted(os.environ, run, sys.orig_argv):
        return None
    names = _names(os.environ)
    try:
        values = _read(os.environ)
    except KeyturnError as error:
        _unset(names)
        raise error from None
    except Exception as error:  # noqa: BLE001 - Prefect logs what it says, and it may hold a value
        _unset(names)
        raise unexpected(error) from None
    os.environ.update({name: value.reveal() for name, value in values.items()}, **{SET_UP_FOR: run})
    return SetupResult(env={}, note=f"Keyturn has set {', '.join(sorted(values))}")


def variables(text: str, where: str) -> list[Variable]:
    """What one of the two variables says. Raises Invalid, and repeats nothing of it."""
    entries = [entry.strip() for entry in re.split(r"[,\n]", text) if entry.strip()]
    matches = [_ENTRY.fullmatch(entry) for entry in entries]
    if wrong := [number for number, match in enumerate(matches, 1) if match is None]:
        problem = f"entry {wrong[0]} is not of the kind NAME=PATH#FIELD"
        raise Invalid("read", where, problem, "Such as PGUSER=database/creds/ml-reader#username, with commas between")
    return [Variable(*match.groups()) for match in matches if match]


def runs_flow(arguments: Sequence[str]) -> bool:
    """Whether Prefect starts the process in which a flow runs so: others prepare it, wait for it, or run its hooks."""
    pairs = [*pairwise(arguments)]
    started = any(before == "-m" and module in ENGINES for before, module in pairs)
    booted = any(file.endswith(BOOTSTRAP) and operation == "engine" for file, operation in pairs)
    return started or booted or SPAWNED in arguments


def _is_wanted(environment: Mapping[str, str], run: str, arguments: Sequence[str]) -> bool:
    configured = any(environment.get(name) for name in (SECRETS, LEASES))
    always = environment.get(ALWAYS, "").lower() in ("1", "true")
    prepares = any(argument.startswith(PREPARES) for argument in arguments)
    chosen = not prepares if always else run != NO_RUN and runs_flow(arguments)
    return configured and chosen and environment.get(SET_UP_FOR) != run


def _names(environment: Mapping[str, str]) -> list[str]:
    """The variables that are asked for, also where an entry is wrong."""
    texts = (environment.get(name, "") for name in (SECRETS, LEASES))
    return [match[1] for text in texts for match in _NAME.finditer(text)]


def _read(environment: Mapping[str, str]) -> dict[str, Sensitive]:
    secrets = variables(environment.get(SECRETS, ""), SECRETS)
    leases = variables(environment.get(LEASES, ""), LEASES)
    names = [each.name for each in (*secrets, *leases)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise Invalid("read", f"{SECRETS} and {LEASES}", f"{twice[0]} is set twice", "Name each variable once")
    return {**_secrets(secrets), **_leases(leases)}


def _secrets(wanted: Sequence[Variable]) -> dict[str, Sensitive]:
    if not wanted:
        return {}
    from keyturn.wiring.process_client import process_client

    client = process_client()
    secrets = client.get_many([variable.path for variable in wanted])
    return {each.name: _field(secrets[each.path].fields, each) for each in wanted}


def _leases(wanted: Sequence[Variable]) -> dict[str, Sensitive]:
    taken: list[Credential] = []
    values: dict[str, Sensitive] = {}
    try:
        for path, group in groupby(sorted(wanted, key=lambda each: each.path), lambda each: each.path):
            values |= _lease(path, [*group], taken)
    except BaseException:
        for credential in taken:
            credential.close()
        raise
    return values


def _lease(path: str, wanted: Sequence[Variable], taken: "list[Credential]") -> dict[str, Sensitive]:
    from keyturn.wiring.process_client import process_client

    def ended(credential: "Credential") -> None:
        _unset(each.name for each in wanted)

    # It is not replaced: nobody would look for another one in the environment.
    credential = process_client().lease(path, replaced=False, on_change=ended)
    taken.append(credential)
    fields = credential.fields
    return {each.name: _field(fields, each) for each in wanted}


def _field(fields: Mapping[str, Sensitive], variable: Variable) -> Sensitive:
    if variable.field not in fields:
        hint = f"It has {', '.join(sorted(fields))}"
        raise NotFound("read", variable.path, f"it has no field {variable.field}", hint)
    return fields[variable.field]


def _unset(names: Iterable[str]) -> None:
    for name in names:
        os.environ.pop(name, None)
