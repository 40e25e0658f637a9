"""The example's whole job in a hub that only `keyturn setup hub --apply` has set up, with the least rights."""

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.core.errors import Denied
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from local.openbao import OpenBao
from tests.hub_setup.site import Empty, as_environment
from tests.revocation.eight import Eight, opened
from tests.support.consumer import Consumer
from tests.support.lab import Declared, Lab, logs_in
from tests.support.world import World

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

EXAMPLE = Path(__file__).parents[2] / "deployments" / "catalogue"
DATABASE, API_KEYS = "ml-training/database", "ml-training/api-keys"
DECOY = "ml-training/warehouse-admin"
LOGIN = ("KEYTURN_HUB_ROLE_ID_FILE", "KEYTURN_HUB_SECRET_ID_FILE")


def keyturn(*words: str, ends: int = 0) -> Result:
    """Run one command in this process, which ends so."""
    done = CliRunner().invoke(app, list(words))
    # No worker runs in these tests: `status` says that this is unknown.
    assert done.exit_code in ({1, 5} if words[0] == "status" else {ends}), f"{words}\n{done.output}"
    return done


@dataclass
class Job:
    """The example's catalogue with a section `hub:`, an empty hub, real servers and emulators for all that it names."""

    empty: Empty
    world: World
    eight: Eight
    directory: Path
    monkeypatch: pytest.MonkeyPatch
    accounts: Declared
    state: Mapping[str, Mapping[str, Any]]

    def put_first_values(self) -> None:
        """What people put into a hub: what its targets are administered with, what signs notices, first versions."""
        for path, data in self.state.items():
            self.empty.hub.write_state(path, data, cas=0)
        self.empty.hub.write(DATABASE, SecretFields(self.accounts.first | {"database": "ml"}), cas=0)
        first = {"inference_key": "first", "webhook_signing_key": "first"}
        self.empty.hub.write(API_KEYS, SecretFields(first), cas=0)
        self.empty.hub.write(DECOY, SecretFields({"username": "decoy", "password": "first"}), cas=0)

    def reader(self) -> VaultHub:
        """The hub with the login of the environment."""
        return VaultHub(HubSettings.from_environment())

    def become(self, role: str | None) -> None:
        """Log in with what `keyturn setup credentials` wrote for this role, or as the administrator."""
        for name in (*LOGIN, "VAULT_TOKEN"):
            self.monkeypatch.delenv(name, raising=False)
        if role is None:
            self.monkeypatch.setenv("VAULT_TOKEN", self.empty.server.root_token)
            return
        for name, file in zip(LOGIN, ("role-id", "secret-id"), strict=True):
            self.monkeypatch.setenv(name, str(self.directory / role / file))

    def fields(self, path: str) -> dict[str, Any]:
        """What the hub serves."""
        data: dict[str, Any] = self.empty.read(f"secret/data/{path}")["data"]
        return data

    def copies(self, path: str) -> dict[str, Any]:
        """What each store serves of it, and everything old that it still gives."""
        name = path.replace("ml-training/", "ml-").replace("ml-database", "ml-database-credentials")
        stores = {place.name: place for place in self.eight.places}
        return {store: stores[store].ask(name) for store in ("aws", "azure", "gcp")}

    def lets_in(self, fields: dict[str, Any]) -> bool:
        """Whether the database takes this login."""
        return logs_in(self.world, fields["username"], fields["password"])


@pytest.fixture
def job(
    empty: Empty, openbao: OpenBao, world: World, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Job]:
    """It, with nothing set up yet."""
    keys = {name: f"whsec_{secrets.token_hex(24)}" for name in ("trainer", "inference")}
    (tmp_path / "stores").mkdir()
    # With the tests' own login, which the environment has no more then.
    accounts, admin = lab.alternating(), lab.admin().reveal()
    as_environment(empty, tmp_path, monkeypatch)
    with ExitStack() as stack:
        eight = stack.enter_context(opened(openbao, tmp_path / "stores"))
        urls = {name: stack.enter_context(Consumer(Sensitive(key))).url for name, key in keys.items()}
        for name, value in leading_to(eight, world, urls).items():
            monkeypatch.setenv(name, value)
        write_catalogue(tmp_path / "catalogue", accounts)
        first = {f"webhooks/{name}": {"key": key} for name, key in keys.items()}
        yield Job(empty, world, eight, tmp_path, monkeypatch, accounts, {"targets/ml-postgres": admin, **first})


def write_catalogue(directory: Path, accounts: Declared) -> None:
    """The example's files, for the accounts and the servers of this test, and what is to be set up in the hub."""
    owner, (first, second) = accounts.owner, accounts.users
    others = {
        "users: [ml_trainer_a, ml_trainer_b]": f"users: [{first}, {second}]",
        "owner_role: ml_trainer ": f"owner_role: {owner} ",
        "namespace: ml": "namespace: apps",
        "sslmode: verify-full": "sslmode: disable",
    }
    directory.mkdir()
    for file in EXAMPLE.glob("*.yaml"):
        text = file.read_text()
        for before, after in others.items():
            text = text.replace(before, after)
        (directory / file.name).write_text(text)
    logins = {"keyturn-worker": "worker", "keyturn-revoker": "revoker", "trainer": "consumer:trainer"}
    entries = {
        name: {"kind": "approle", "login": login, "addresses": ["127.0.0.0/8"]} for name, login in logins.items()
    }
    reader = {
        "kind": "database-role",
        "connection": "ml",
        "creation": [
            "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'",
            f'GRANT {owner} TO "{{{{name}}}}"',
        ],
        "revocation": ['DROP ROLE IF EXISTS "{{name}}"'],
    }
    engine = {"ml": {"kind": "database", "target": "ml-postgres"}, "ml-reader": reader}
    (directory / "hub.yaml").write_text(yaml.safe_dump({"hub": {**entries, **engine}}))


def leading_to(eight: Eight, world: World, urls: Mapping[str, str]) -> dict[str, str]:
    """What the example's catalogue asks the environment for."""
    settings: dict[str, Mapping[str, Any]] = {place.name: place.settings for place in eight.places}
    azure, cluster = settings["azure"], settings["kubernetes"]
    return {
        "KEYTURN_AWS_ENDPOINT": settings["aws"]["endpoint_url"],
        "KEYTURN_AZURE_VAULT_URL": azure["vault_url"],
        "KEYTURN_AZURE_CA_FILE": azure["ca_file"],
        "KEYTURN_AZURE_AUTHORITY": azure["authority"],
        "KEYTURN_GCP_PROJECT": settings["gcp"]["project"],
        "KEYTURN_GCP_ENDPOINT": settings["gcp"]["endpoint"],
        "KEYTURN_KUBERNETES_SERVER": cluster["server"],
        "KEYTURN_KUBERNETES_CA_FILE": cluster["ca_file"],
        "KEYTURN_KUBERNETES_TOKEN_FILE": cluster["token_file"],
        "KEYTURN_POSTGRES_HOST": world.host,
        "KEYTURN_POSTGRES_PORT": str(world.port),
        **{f"KEYTURN_{name.upper()}_URL": url for name, url in urls.items()},
    }


def test_the_examples_whole_job_runs_under_a_hub_that_was_set_up_so(job: Job) -> None:
    keyturn("setup", "hub", ends=3)
    keyturn("setup", "hub", "--apply", "--yes", ends=1)  # the engine's connection waits for what lies in the hub
    job.put_first_values()
    keyturn("setup", "hub", "--apply", "--yes")
    assert "0 done" in keyturn("setup", "hub", "--apply", "--yes").output
    keyturn("setup", "hub")
    for role in ("keyturn-worker", "keyturn-revoker", "trainer"):
        keyturn("setup", "credentials", role, "--place", "test", "--directory", str(job.directory / role))

    job.become("keyturn-worker")
    before = job.fields(DATABASE)
    keyturn("rotate", DATABASE, "--now", "--local")
    keyturn("rotate", API_KEYS, "--now", "--local")
    keyturn("sync", "--local")
    rotated = job.fields(DATABASE)
    assert rotated["username"] != before["username"]
    assert job.lets_in(rotated)
    assert all(rotated["password"] in given[""] for given in job.copies(DATABASE).values())
    status = json.loads(keyturn("status", "--json").stdout)
    assert {secret["path"]: secret["error"] for secret in status["secrets"]} == dict.fromkeys(
        (DATABASE, API_KEYS, DECOY), ""
    )

    job.become("keyturn-revoker")
    reports = str(job.directory / "reports")
    keyturn("revoke", DATABASE, "--reason", "leaked in a test", "--local", "--yes", "--report", reports)
    replaced = job.fields(DATABASE)
    assert not job.lets_in(rotated)
    assert not job.lets_in(before)
    assert job.lets_in(replaced)
    assert all(replaced["password"] in given[""] for given in job.copies(DATABASE).values())

    job.become("trainer")
    with pytest.raises(Denied):
        job.reader().read(API_KEYS.replace("api-keys", "others"))
    assert job.reader().read(DATABASE)

    job.become(None)
    job.empty.root.write_data("auth/approle/role/trainer", data={"token_policies": "root"})
    assert "drift" in keyturn("setup", "hub", ends=3).output
    keyturn("setup", "hub", "--apply", "--yes")
    keyturn("setup", "hub")
