"""Credentials of the hub's database engine, one per process, under a job's rights."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyturn.client.client import SecretClient
from keyturn.client.sources import HubSource
from keyturn.core.errors import Denied, Invalid, Missing, NotFound
from keyturn.core.ports.engines import IssuedLease
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import AppRoleLogin, TokenLogin
from tests.support.engines import OverPostgreSQL
from tests.support.hooks import eventually
from tests.support.lab import Lab, fresh
from tests.support.sampling import examples

DOCUMENT = Path(__file__).parents[2] / "docs" / "client.md"
pytestmark = pytest.mark.sampled(2, of="file")

PROCESSES = 3
EACH = examples(6, 70)


def rights(role: str) -> str:
    """A job's policy as the guide has it."""
    (policy,) = re.findall(r"```hcl\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return str(policy).replace("ml-reader", role)


@pytest.fixture(scope="module")
def role(lab: Lab) -> str:
    """A role that jobs share."""
    return OverPostgreSQL(lab).dynamic("1h", "24h")


@pytest.fixture
def token(lab: Lab, role: str, tmp_path: Path) -> Callable[..., Path]:
    """A job's login, in a file."""

    def made(**how: str) -> Path:
        name, file = fresh(), tmp_path / fresh()
        lab.root.sys.create_or_update_policy(name, rights(role))
        file.write_text(lab.root.auth.token.create(policies=[name], **how)["auth"]["client_token"])
        file.chmod(0o600)
        return file

    return made


@pytest.fixture
def client(lab: Lab, token: Callable[..., Path]) -> Iterator[SecretClient]:
    """A job's, with no more rights than it needs."""
    settings = HubSettings(lab.world.hub_address, login=TokenLogin(file=str(token())))
    with closing(VaultHub(settings)) as hub, SecretClient([HubSource(hub)], poll=0) as client:
        yield client


def left(lab: Lab, lease_id: str) -> float:
    standing = lab.database.lease(lease_id)
    return standing.left.total_seconds() if standing else 0


def test_a_job_logs_in_with_an_account_of_its_own_which_is_gone_behind_it(
    client: SecretClient, lab: Lab, role: str
) -> None:
    with client.lease(f"database/creds/{role}") as credential, client.lease(f"database/creds/{role}") as other:
        login, account = credential.fields, credential["username"].reveal()
        assert lab.logs_in(login)
        assert account != other["username"].reveal()
        assert eventually(lambda: 0 < left(lab, credential.lease_id) <= 900)
        assert timedelta() < credential.expires_at - datetime.now(UTC) < timedelta(minutes=61)
        credential.renew()
        assert lab.logs_in(login)
    assert not lab.logs_in(login)
    assert lab.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", account) == []
    assert lab.hub.leases(f"database/creds/{role}") == []


@pytest.mark.attack
def test_an_incident_ends_it_and_it_says_so(client: SecretClient, lab: Lab, role: str) -> None:
    heard: list[str] = []
    with client.lease(f"database/creds/{role}", on_change=lambda changed: heard.append(changed.ended)) as credential:
        lab.hub.revoke_lease(credential.lease_id)
        with pytest.raises(Missing, match=f"database/creds/{role}/.*it was revoked"):
            credential.renew()
        assert eventually(lambda: heard), "by whichever thread has asked the hub first"
        assert len(heard) == 1
        assert lab.hub.leases(f"database/creds/{role}") == [], "no other is taken in its place"


@pytest.mark.attack
def test_a_path_that_gives_no_lease_and_a_role_that_is_not_the_jobs_are_refused(
    client: SecretClient, lab: Lab, role: str
) -> None:
    with pytest.raises(Denied, match="database/creds/another"):
        client.lease("database/creds/another")
    for path in ("auth/token/lookup-self", "sys/mounts", f"database/creds/../{role}", ""):
        with pytest.raises(Invalid):
            client.lease(path)
    whole = SecretClient([HubSource(lab.hub)], poll=0)
    with pytest.raises(Invalid, match="what is read there has none"):
        whole.lease("secret/data/ml-training/database")
    with pytest.raises(NotFound):
        whole.lease("database/creds/nobody")


def test_the_hub_renews_it_for_as_long_as_is_asked_and_its_longest_life_allows(lab: Lab) -> None:
    role = OverPostgreSQL(lab).dynamic("10m", "1h")
    lease = lab.hub.issue_lease(f"database/creds/{role}")
    assert (lease.ttl, lease.renewable) == (timedelta(minutes=10), True)
    for wanted, given in ((timedelta(minutes=2), 120), (timedelta(days=1), 3600), (timedelta(), 600)):
        lease = lab.hub.renew_lease(lease, wanted)
        assert given - 30 <= lease.ttl.total_seconds() <= given
        assert lab.logs_in(lease.fields)
    lab.hub.revoke_lease(lease.lease_id)
    with pytest.raises(NotFound):
        lab.hub.renew_lease(lease, timedelta())


class Job:
    """An AppRole whose tokens live for half an hour, and can't be renewed."""

    def __init__(self, lab: Lab, role: str, directory: Path) -> None:
        name, approle = fresh(), lab.root.auth.approle
        lab.root.sys.create_or_update_policy(name, rights(role))
        approle.create_or_update_approle(name, token_policies=[name], token_ttl="30m", token_type="batch")
        files = [directory / "role-id", directory / "secret-id"]
        files[0].write_text(approle.read_role_id(name)["data"]["role_id"])
        files[1].write_text(approle.generate_secret_id(name)["data"]["secret_id"])
        self.settings = HubSettings(lab.world.hub_address, login=AppRoleLogin(str(files[0]), str(files[1])))


def test_it_outlives_the_login_that_took_it(lab: Lab, role: str, tmp_path: Path) -> None:
    with (
        closing(VaultHub(Job(lab, role, tmp_path).settings)) as hub,
        SecretClient([HubSource(hub)], poll=0) as client,
        client.lease(f"database/creds/{role}", ttl=3600) as credential,
    ):
        first, taken = credential.fields, hub._calls.login_life
        assert credential.expires_at - datetime.now(UTC) < timedelta(minutes=30), "it ends with the login"
        credential.renew()
        assert credential.fields == first
        taken.ends_at = time.monotonic() + 60
        credential.renew()
        assert hub._calls.login_life is not taken, "it has logged in anew"
        assert credential.fields != first
        assert credential.expires_at - datetime.now(UTC) > timedelta(minutes=20)
        assert lab.logs_in(credential.fields)
        assert lab.logs_in(first), "what is connected with it is left alone"
    assert lab.hub.leases(f"database/creds/{role}") == []


CHILD = f"""
import sys, time
from contextlib import ExitStack
from keyturn.client.client import SecretClient
from keyturn.client.sources import HubSource
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings

client = SecretClient(lambda: [HubSource(VaultHub(HubSettings.from_environment()))], poll=0)
held = [client.lease(sys.argv[1]) for _ in range({EACH})]
print("\\n".join(credential["username"].reveal() for credential in held), flush=True)
sys.stdin.read()
"""


@pytest.mark.attack
def test_many_processes_share_a_role_and_a_killed_ones_lease_expires(
    lab: Lab, role: str, token: Callable[..., Path]
) -> None:
    path = f"database/creds/{role}"
    environment = {**os.environ, "VAULT_ADDR": lab.world.hub_address, "KEYTURN_HUB_TOKEN_FILE": str(token())}
    command = [sys.executable, "-c", CHILD, path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    processes = [subprocess.Popen(command, **pipes) for _ in range(PROCESSES)]  # type: ignore[call-overload]
    try:
        accounts = [{process.stdout.readline() for _ in range(EACH)} for process in processes]
        assert len(set.union(*accounts)) == PROCESSES * EACH
        assert len(lab.hub.leases(path)) == PROCESSES * EACH
        processes[0].communicate()
        processes[1].send_signal(signal.SIGTERM)
        assert [process.wait(60) for process in processes[:2]] == [0, -signal.SIGTERM]
        processes[2].kill()
        processes[2].wait()
        leases = lab.hub.leases(path)
        assert len(leases) == EACH
        for lease_id in leases:
            assert 0 < left(lab, lease_id) <= 900, "in that time the hub ends it"
            lab.hub.renew_lease(IssuedLease(lease_id, SecretFields({}), timedelta(), True), timedelta(seconds=1))
        assert eventually(lambda: lab.hub.leases(path) == [], 60)
        remaining = {name + "\n" for (name,) in lab.sql("SELECT rolname FROM pg_roles")}
        assert not remaining & set.union(*accounts)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
