"""The quick setup of the guide, followed literally on fresh servers while an application works."""

import json
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from keyturn.core.sensitive import SecretFields
from local.emulators.aws import LocalAws
from local.openbao import OpenBao
from local.postgres import PostgreSQL
from local.prepare import DATABASE, database
from local.support.ports import free_port
from tests.cli.command import ROOT, run_keyturn
from tests.hub_setup.site import Empty, as_environment, empty_hub
from tests.manual.lines import lines_of
from tests.support.at_work import AtWork, Day, existing_account, ordinary_day
from tests.support.lab import Declared, Lab
from tests.support.local_aws import become, use
from tests.support.prefect_server import PrefectServer
from tests.support.world import REGION, TOKEN_VARIABLE, World

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

PATH = "ml-training/database"
NAME = "ml_trainer"
QUEUES = ("default", "emergency", "notary")
MAY_ASK = {"Statement": [{"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": "*"}]}
LOCKED = "others hold locks"


@dataclass
class Site:
    """A company with a hub, a database, a cloud and a Prefect server, none of which knows Keyturn yet."""

    directory: Path
    empty: Empty
    lab: Lab
    aws: LocalAws
    prefect: PrefectServer
    patch: pytest.MonkeyPatch
    given: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What a process of Keyturn's has."""
        return {**os.environ, "PYTHONPATH": str(ROOT), **self.prefect.environment, **self.given}

    def here(self, text: str) -> str:
        """The guide's places in this directory."""
        for place, moved in (("/etc/keyturn", "etc"), ("/var/lib/keyturn", "lib"), ("/run", "")):
            text = text.replace(f"{place}/", f"{self.directory / moved}/")
        return text

    def follow(self, line: str) -> str:
        """One line of the guide; what it says. It is run again where the guide says so."""
        words = shlex.split(self.here(line))
        if words[0] == "export":
            self.given.update((name, value) for name, _, value in (word.partition("=") for word in words[1:]))
            return ""
        begin = words.index("keyturn")
        own = dict(word.split("=", 1) for word in words[:begin])
        for _ in range(20):
            done = run_keyturn(*words[begin + 1 :], env={**self.environment, **own})
            if LOCKED not in done.stderr:
                break
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def site(openbao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with ExitStack() as stack:
        empty = stack.enter_context(empty_hub(openbao, tmp_path))
        postgres = stack.enter_context(PostgreSQL(tmp_path / "postgres", free_port(), durable=False))
        aws = stack.enter_context(LocalAws(tmp_path / "aws", free_port()))
        prefect = PrefectServer(tmp_path / "prefect")
        prefect.start()
        stack.callback(prefect.stop)
        as_environment(empty, tmp_path, monkeypatch)
        monkeypatch.delenv("KEYTURN_CATALOGUE")
        use(aws, monkeypatch)
        with database(postgres.host, postgres.port, postgres.superuser_password) as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE}")
        (tmp_path / "postgres-password").write_text(postgres.superuser_password)
        (tmp_path / "postgres-password").chmod(0o600)
        where = (postgres.host, postgres.port, postgres.superuser_password, "")
        monkeypatch.setenv(TOKEN_VARIABLE, openbao.root_token)
        lab = stack.enter_context(Lab(World(openbao.address, openbao.root_token, *where, openbao.ca_file)))
        lab.hub = empty.hub
        yield Site(tmp_path, empty, lab, aws, prefect, monkeypatch)


def existing_secret(site: Site) -> Declared:
    """The application's account, and the version of its secret that the company's hub has had for years."""
    site.empty.root.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    declared = existing_account(site.lab, NAME)
    site.empty.hub.write(PATH, SecretFields(declared.first), cas=0)
    return declared


def write_catalogue(site: Site, declared: Declared) -> None:
    """The guide's catalogue, with this site's addresses and accounts."""
    (block,) = re.findall(r"```yaml\n(.*?)```", quick_setup(), re.DOTALL)
    content: dict[str, Any] = yaml.safe_load(block)
    content["stores"]["aws"] |= {"region": REGION, "endpoint_url": site.aws.endpoint_url}
    content["targets"]["ml-postgres"] = {**declared.targets["pg"], "admin": content["targets"]["ml-postgres"]["admin"]}
    accounts = {"users": declared.users, "owner_role": declared.owner}
    content["secrets"][PATH]["rotation"] |= accounts
    for login in content["hub"].values():
        login["addresses"] = ["127.0.0.0/8"]
    catalogue = site.directory / "etc" / "catalogue"
    catalogue.mkdir(parents=True)
    (catalogue / "all.yaml").write_text(json.dumps(content))


def quick_setup() -> str:
    text = (ROOT / "docs" / "own-vault-and-clouds.md").read_text()
    return re.split(r"(?m)^## ", text.partition("\n## Quick setup\n")[2])[0]


def lines_of_the_guide() -> list[list[str]]:
    """Return the commands of each block of the quick setup."""
    blocks = re.findall(r"```console\n(.*?)```", quick_setup(), re.DOTALL)
    return [[line.removeprefix("$ ") for line in block.splitlines()] for block in blocks]


def test_seven_commands_make_an_installation_that_is_ready_and_no_query_fails(site: Site) -> None:
    declared = existing_secret(site)
    write_catalogue(site, declared)
    setting_up, working = lines_of_the_guide()
    typed = [line for line in (*setting_up, *working) if not line.startswith("export")]
    assert typed == lines_of("own-vault-and-clouds.md")[: len(typed)]
    day = Day(NAME, f"{NAME}_kept")
    with AtWork(ordinary_day(site.lab, PATH, day)) as application, ExitStack() as workers:
        for line in setting_up:
            site.follow(line)
            application.goes_on()
        day.version = 0  # it connects anew
        application.goes_on()
        site.follow(next(line for line in setting_up if "setup target" in line))
        policies = site.directory / "etc" / "policies"
        become(site.aws, [(policies / "store-aws.json").read_text(), json.dumps(MAY_ASK)], site.patch)
        *exports, rotating, signing, looking = working
        for line in exports:
            site.follow(line)
        site.patch.delenv("VAULT_TOKEN")
        site.prefect.settle({})
        # One is enough here; the guide has a login of its own for each.
        first, *others = QUEUES
        workers.enter_context(site.prefect.another_worker("keyturn", first, site.environment, *others))
        site.follow(rotating)
        application.goes_on()
        current = site.empty.hub.read(PATH)
        assert current
        assert current.fields["username"].reveal() == f"{NAME}_b"
        site.follow(signing)
        verdict = site.follow(looking).splitlines()[-1]
        assert verdict.startswith("READY as worker"), verdict
        application.goes_on()
