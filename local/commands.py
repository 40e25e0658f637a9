"""``keyturn up``, ``down``, ``env`` and ``demo``: the local stack."""

import os
import shlex
from typing import Annotated

import typer

from keyturn.cli.environment import (
    home_directory,
    leading_elsewhere,
    settle_catalogue,
    stack_environment,
)
from keyturn.cli.failures import naming_file
from keyturn.cli.local_stack import SERVICE_COLUMNS, service_row, stack_data
from keyturn.cli.options import CatalogueOption, FailureUrlOption, JsonOption
from keyturn.cli.output import note, write_json, write_table, write_text
from local import stack as local
from local.home import Stack, opened


def up(catalogue: CatalogueOption = None, failure_url: FailureUrlOption = None, as_json: JsonOption = False) -> None:
    """Start the local stack, all of it on loopback.

    A hub, a database, three clouds, a cluster, Prefect and two applications. It is stored in KEYTURN_HOME, .keyturn by
    default. What runs already is left alone. Where anything fails, what this command started is stopped.
    """
    home = home_directory()
    settle_catalogue(catalogue)
    if failure_url:
        os.environ["KEYTURN_FAILURE_URL"] = failure_url
    with naming_file(home):
        stack = local.up(home, fill_stack, note)
    services = local.status(home)
    if as_json:
        write_json({"stack": stack_data(stack, services)})
    else:
        write_table(SERVICE_COLUMNS, map(service_row, services))
        note(f"Prefect UI: {stack.url('prefect-server')}")
        note("next: keyturn status, keyturn rotate ml-training/database --now")


def fill_stack(stack: Stack) -> None:
    """Fill the hub, the database and the clouds, and register with Prefect."""
    from local.prepare import prepare_stack

    note("filling the hub, the database and the clouds, and registering with Prefect")
    prepare_stack(stack)


def down(
    delete: Annotated[bool, typer.Option("--delete", help="Then delete everything that it holds, for good.")] = False,
) -> None:
    """Stop the local stack.

    What it holds stays, and is there again after `keyturn up`.
    """
    home = home_directory()
    with naming_file(home):
        (local.remove if delete else local.down)(home, note)


def env(as_json: JsonOption = False) -> None:
    """Print the local stack's environment for a shell.

    Use it so: eval "$(keyturn env)". It is for the local stack alone: the client secret in it opens nothing
    but the stack's own Azure emulator. Variables that lead to another hub or cloud are unset.
    """
    stack = opened(home_directory())
    variables = stack_environment(stack)
    unset = [name for name in leading_elsewhere() if name not in variables]
    if as_json:
        return write_json({"export": variables, "unset": unset})
    lines = [f"unset {name}" for name in unset]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    return write_text("\n".join(lines))


def demo(
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print every step and the output of every command.")
    ] = False,
) -> None:
    """Start the local stack, rotate and revoke live credentials in it, and stop it again.

    Applications keep working meanwhile. KEYTURN_HOME names the stack's directory, .keyturn by default; with KEEP=1
    in the environment the stack keeps running.
    """
    from local.demo import main

    if code := main(verbose=verbose):
        raise typer.Exit(code)
