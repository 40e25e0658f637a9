"""``python -m local.compose_prepare files|services``: what the containers of docker-compose.yml start from.

``files`` makes keys, passwords and certificates before any server starts; ``services`` fills the servers once
they answer, and gives each container that logs in to the hub a login of its own. Both may run again: what is there
stays as it is. What lets others into a service lies in the directory of its name, what is the service's own below
``servers``: each is a volume, which only those mount whom it is for.
"""

import argparse
import base64
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from keyturn.cli.environment import home_directory
from keyturn.core.errors import Invalid, KeyturnError
from local import environment
from local.home import LoginFiles, Stack
from local.prepare import CONSUMER, NOTARY, REVOKER, WORKER, hub_of, prepare_stack, write_login
from local.support.files import kept_secret, private_directory, write_private

LOGINS: Final = {"worker": WORKER, "serve": WORKER, "revoker": REVOKER, "notary": NOTARY, "trainer": CONSUMER}
"""The volumes of those that log in to the hub, and their roles: each has a secret id of its own."""


def containers() -> Stack:
    """The stack of containers, laid out under KEYTURN_HOME. Raises Invalid where the environment lacks something."""
    variables = {name: os.environ.get(name, "") for name in ("KEYTURN_SERVICES", "AZURE_TENANT_ID", "AZURE_CLIENT_ID")}
    if missing := [name for name, value in variables.items() if not value]:
        problem = f"{', '.join(missing)} not set"
        raise Invalid("prepare", "the containers", problem, "Run this from docker-compose.yml, which sets them")
    services = addresses(variables["KEYTURN_SERVICES"])
    return Stack(
        home_directory(),
        {name: port for name, (_, port) in services.items()},
        variables["AZURE_TENANT_ID"],
        variables["AZURE_CLIENT_ID"],
        {name: host for name, (host, _) in services.items()},
    )


def addresses(text: str) -> dict[str, tuple[str, int]]:
    """``name=host:number``, with spaces between: where each service is reached. Raises Invalid."""
    pairs = [(name, *address.rpartition(":")) for name, _, address in (pair.partition("=") for pair in text.split())]
    if any(not (host and number.isdigit()) for _, host, _, number in pairs):
        problem = "it does not say name=host:number"
        raise Invalid("read", "KEYTURN_SERVICES", problem, "Write openbao=openbao:8200 postgres=postgres:5432 ...")
    return {name: (host, int(number)) for name, host, _, number in pairs}


def make_files(stack: Stack) -> None:
    """Everything that the servers read at their start, and what lets others into them."""
    for service, file in (
        ("openbao", "root.token"),
        ("postgres", "superuser.password"),
        ("azure", "client.secret"),
        ("kubernetes", "token"),
        ("prefect-server", "password"),
    ):
        kept_secret(private_directory(stack.directory(service)) / file)
    private_directory(own(stack, "openbao") / "raft")
    kept_bytes(own(stack, "openbao") / "seal.key", lambda: secrets.token_bytes(32))
    # Prefect's keys are those of Fernet: 32 bytes, in base64.
    kept_bytes(
        own(stack, "prefect-server") / "encryption.key", lambda: base64.urlsafe_b64encode(secrets.token_bytes(32))
    )
    environment.write_policy(stack)
    for service in stack.ports:
        stack.issue_certificate(service, own(stack, service))


def own(stack: Stack, service: str) -> Path:
    """What a service has to itself."""
    return stack.home / "servers" / service


def kept_bytes(file: Path, make: Callable[[], bytes]) -> None:
    """Have something in the file, for its owner alone; what is there stays."""
    if not file.exists():
        write_private(file, make())


def fill_services(stack: Stack) -> None:
    """Hub, database, Prefect and the clouds' first copies; then the logins, and the notary hears of the witnesses."""
    prepare_stack(stack)
    for container, role in LOGINS.items():
        directory = stack.directory(container)
        login = LoginFiles(directory / "hub.role-id", directory / "hub.secret-id")
        if not login.secret_id.exists():
            write_login(login, *hub_of(stack).login_of(role))
    write_private(stack.directory("notary") / "witnesses", environment.witnesses(stack)["KEYTURN_LEDGER_WITNESSES"])


STEPS: Final[dict[str, Callable[[Stack], None]]] = {"files": make_files, "services": fill_services}


def main() -> int:
    """Do one step; 1 where it can't be done."""
    parser = argparse.ArgumentParser(prog="python -m local.compose_prepare", description=__doc__)
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
