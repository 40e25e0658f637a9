"""Operator mistakes: each gives one clear error, changes nothing, and can be corrected.

Each is shown as ``keyturn rotate PATH --now --local`` shows it.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from keyturn.cli.app import app
from local.support.ports import free_port
from tests.faults.shell import Shell
from tests.rotation.helpers import worker
from tests.support.lab import Declared, Lab, fresh

pytestmark = pytest.mark.sampled(4, of="file")

Show = Callable[..., list[str]]


@dataclass(frozen=True)
class Mistake:
    """What is wrong, and what is said.

    ``staged`` tells that the candidate waits in the hub until it is mended, ``elsewhere`` that it waits in vain.
    """

    error: str
    remedy: str
    rotation: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)
    staged: bool = True
    elsewhere: bool = False


NOBODY = fresh()

MISTAKES = {
    "an owner role that does not exist": Mistake(
        "set the password of pg:{user}: a role that the catalogue names does not exist",
        "Create the owner role first",
        rotation={"owner_role": NOBODY},
    ),
    "an admin without the right to alter": Mistake(
        "set the password of pg:{user}: the admin role may not do that",
        "Give the admin role CREATEROLE, and `GRANT {user} TO <admin> WITH ADMIN OPTION`",
        target={"admin": f"targets/pg/{NOBODY}"},
    ),
    "a database that does not exist": Mistake(
        f"log in to pg:keyturn_admin: there is no database {NOBODY}",
        "Correct the target's database",
        target={"database": NOBODY},
    ),
    "a wrong port": Mistake(
        "log in to pg:keyturn_admin: the server does not answer",
        "Check the target's host and port",
        target={"port": free_port()},
        elsewhere=True,
    ),
    "a strategy that there is not": Mistake(
        "all.yaml:{line}: secrets.{path}.rotation.strategy: must be one of alternating-users, ",
        "Did you mean alternating-users?",
        rotation={"strategy": "alternating-user"},
        staged=False,
    ),
    "a password policy that can't be met": Mistake(
        "all.yaml:{line}: secrets.{path}.rotation.password: ",
        "Raise length, or allow more characters.",
        rotation={"password": {"length": 8}},
        staged=False,
    ),
}


@pytest.fixture
def show(lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Show:
    """Runs the command; its exit code, and what it says of an error."""
    monkeypatch.setenv("VAULT_ADDR", lab.world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", lab.world.hub_token)
    shell = Shell(lab, tmp_path)

    def shown(secret: Declared, **target: Any) -> list[str]:
        catalogue = shell.catalogue(secret, target=target)
        with pytest.raises(SystemExit) as ended:
            app(["rotate", secret.path, "--now", "--local", f"--catalogue={catalogue}"], prog_name="keyturn")
        said = capsys.readouterr()
        assert (said.out == "") == bool(ended.value.code)
        lines = [line for line in said.err.splitlines() if not line.startswith(("using ", "running "))]
        return [str(ended.value.code), *lines]

    return shown


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_error_with_its_remedy_and_mending_it_is_enough(lab: Lab, show: Show, what: str) -> None:
    mistake, right = MISTAKES[what], lab.alternating()
    if what.startswith("an admin") and not lab.hub.read_state(f"targets/pg/{NOBODY}"):
        lab.hub.write_state(
            f"targets/pg/{NOBODY}", {"username": NOBODY, "password": lab.user(NOBODY, right.owner)}, cas=0
        )
    wrong = dataclasses.replace(right, data={**right.data, "rotation": right.data["rotation"] | mistake.rotation})
    code, error, remedy = show(wrong, **mistake.target)
    assert code == "1"
    assert error.startswith("error: ")
    for part in mistake.error.split("{line}"):
        assert part.format(user=right.users[1], path=right.path) in error
    assert remedy.startswith("remedy: ")
    assert mistake.remedy.format(user=right.users[1]) in remedy

    record = worker(lab, right).record()
    assert lab.current(right) == right.first
    assert lab.logs_in(right.first)
    assert lab.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", right.users[1]) == []
    assert (record.candidate is not None) == mistake.staged
    assert show(right)[0] == "0"
    assert lab.current(right)["username"] == right.users[1]
    if record.candidate:
        used = lab.current(right)["password"] == record.candidate["password"].reveal()
        assert used != mistake.elsewhere
    assert lab.logs_in(lab.current(right))


def test_a_token_that_may_only_read_is_told_which_path_its_policy_lacks(
    lab: Lab, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, policy = lab.alternating(), fresh()
    own = ("data/ledger", "data/limits/*", "metadata/limits/*")
    writes = (f'path "keyturn/{place}" {{ capabilities = ["create", "read", "update", "patch"] }}' for place in own)
    rules = ['path "*" { capabilities = ["read", "list"] }', *writes]
    lab.root.sys.create_or_update_policy(policy, "\n".join(rules))
    token = lab.root.auth.token.create(policies=[policy])["auth"]["client_token"]
    with monkeypatch.context() as reading:
        reading.setenv("VAULT_TOKEN", token)
        code, error, remedy = show(secret)
    path = f"candidates/{secret.path}/"
    assert code == "1"
    assert error.startswith(f"error: {secret.path}, stage: write keyturn/{path}")
    assert error.endswith(": the hub denies it (KT204)")
    assert remedy.startswith(f"remedy: Give this identity's policy the path keyturn/data/{path}")
    assert lab.current(secret) == secret.first
    assert show(secret)[0] == "0"
