"""Sets credentials in the environment of a flow run's process, without passing them through Prefect.

Prefect calls this during its import. It prints and displays the returned result, so the result contains no value.
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
"""Fields of secrets for variables: ``NAME=PATH#FIELD``, separated by commas."""
LEASES: Final = "KEYTURN_SETUP_LEASES"
"""The same for leases of this process; all variables of one path share one credential."""
ALWAYS: Final = "KEYTURN_SETUP_ALWAYS"
"""Also set up processes that run no flow for a worker."""
ENGINES: Final = ("prefect.engine", "prefect.flow_engine")
BOOTSTRAP: Final = "_workspace_runtime_bootstrap.py"
"""Starts an engine in the flow's own environment, and also hooks."""
SPAWNED: Final = "--multiprocessing-fork"
PREPARES: Final = "prefect.runner."
"""Processes that prepare a run become the flow's process later, and are never set up."""
SET_UP_FOR: Final = "KEYTURN_SET_UP_FOR"
"""The flow run id for child processes, which inherit the variables."""
NO_RUN: Final = "-"

_ENTRY: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=([^#\s,]+)#([^#\s,]+)")
_NAME: Final = re.compile(r"(?:^|[,\n])\s*([A-Za-z_][A-Za-z0-9_]*)\s*=")


@dataclass(frozen=True)
class Variable:
    name: str
    path: str
    field: str


@register_hook
def setup_environment(*, ctx: HookContext) -> SetupResult | None:
    """Set the variables in this process, and return the leases when it ends.

    On failure no variable is set, so that no other login replaces it. Raises KeyturnError, which Prefect logs; with
    PREFECT_PLUGINS_STRICT it ends the process.
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
    """Parse one of the two variables. Raises Invalid, which quotes none of it."""
    entries = [entry.strip() for entry in re.split(r"[,\n]", text) if entry.strip()]
    matches = [_ENTRY.fullmatch(entry) for entry in entries]
    if wrong := [number for number, match in enumerate(matches, 1) if match is None]:
        problem = f"entry {wrong[0]} is not of the kind NAME=PATH#FIELD"
        raise Invalid("read", where, problem, "Such as PGUSER=database/creds/ml-reader#username, with commas between")
    return [Variable(*match.groups()) for match in matches if match]


def runs_flow(arguments: Sequence[str]) -> bool:
    """Whether Prefect starts the flow's own process this way, not one that prepares, waits or runs hooks."""
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

    # No replacement, because the flow does not read its environment again.
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
