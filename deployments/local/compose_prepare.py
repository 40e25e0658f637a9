"""``python -m deployments.local.compose_prepare files|services``: what the containers of docker-compose.yml start from.

``files`` makes keys, passwords and certificates before any server starts; ``services`` fills the servers once
they answer. Both may run again: what is there stays as it is.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Callable
from typing import Final

from deployments.local.home import Stack
from deployments.local.prepare import CONSUMER, CONSUMERS, prepare_stack
from deployments.local.support.files import kept_secret, private_directory, write_private
from keyturn.cli.environment import home_directory
from keyturn.core.errors import Invalid, KeyturnError


def containers() -> Stack:
    """The stack of containers, laid out under KEYTURN_HOME. Raises Invalid where the environment lacks something."""
    variables = {name: os.environ.get(name, "") for name in ("KEYTURN_PORTS", "AZURE_TENANT_ID", "AZURE_CLIENT_ID")}
    if missing := [name for name, value in variables.items() if not value]:
        problem = f"{', '.join(missing)} not set"
        raise Invalid("prepare", "the containers", problem, "Run this from docker-compose.yml, which sets them")
    return Stack(
        home_directory(), ports(variables["KEYTURN_PORTS"]), variables["AZURE_TENANT_ID"], variables["AZURE_CLIENT_ID"]
    )


def ports(text: str) -> dict[str, int]:
    """``name=number`` pairs, between spaces: where each service listens on the loopback that all share."""
    pairs = [pair.partition("=") for pair in text.split()]
    if any(not number.isdigit() for _, _, number in pairs):
        raise Invalid("read", "KEYTURN_PORTS", "it is not name=number pairs", "Write openbao=8200 postgres=5432 ...")
    return {name: int(number) for name, _, number in pairs}


def make_files(stack: Stack) -> None:
    """Everything that the servers read at their start, each in the directory of the one that reads it."""
    kept_secret(private_directory(stack.directory("openbao")) / "root.token")
    private_directory(stack.directory("openbao") / "raft")
    seal = stack.directory("openbao") / "seal.key"
    if not seal.exists():
        write_private(seal, secrets.token_bytes(32))
    kept_secret(private_directory(stack.directory("postgres")) / "superuser.password")
    kept_secret(private_directory(stack.directory("azure")) / "client.secret")
    kept_secret(private_directory(stack.directory("kubernetes")) / "token")
    for service in stack.ports:
        stack.issue_certificate(service)


def fill_services(stack: Stack) -> None:
    """Hub, database, Prefect and the clouds' first copies; then each application gets a login of its own to read."""
    prepare_stack(stack)
    login = stack.login_files(CONSUMER)
    for consumer in CONSUMERS:
        write_private(stack.directory(consumer) / "hub.role-id", login.role_id.read_text())
        write_private(stack.directory(consumer) / "hub.secret-id", login.secret_id.read_text())


STEPS: Final[dict[str, Callable[[Stack], None]]] = {"files": make_files, "services": fill_services}


def main() -> int:
    """Do one step; 1 where it can't be done."""
    parser = argparse.ArgumentParser(prog="python -m deployments.local.compose_prepare", description=__doc__)
    parser.add_argument("step", choices=STEPS)
    step = parser.parse_args().step
    try:
        STEPS[step](containers())
    except KeyturnError as error:
        sys.stderr.write(f"{step}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
