"""`keyturn follow` and `keyturn get` as people and supervisors run them, against a real hub and the local AWS."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from keyturn.core.sensitive import SecretFields
from keyturn.ledger.entries import parse_leaf
from keyturn.providers.ledger.sqlite import SqliteLedger
from local.emulators.aws import LocalAws
from local.openbao import OpenBao
from local.support.ports import free_port
from tests.cli.command import SCRIPT, one_line, run_keyturn, surroundings
from tests.support.lab import Lab, fresh
from tests.support.world import REGION, World

pytestmark = pytest.mark.sampled(10, of="file")

PATIENCE = 60


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as server:
        yield server


@dataclass
class Shop:
    """One folder of the hub that a catalogue pushes to the local AWS."""

    lab: Lab
    aws: LocalAws
    folder: str
    catalogue: Path
    env: dict[str, str]

    def declare(self, **sync: Any) -> None:
        store = {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": self.aws.endpoint_url}
        pushed = {"paths": [f"{self.folder}/*"], "stores": ["aws"], **sync}
        text = yaml.safe_dump({"stores": {"aws": store}, "syncs": {"all": pushed}})
        new = self.catalogue / "new"
        new.write_text(text)
        new.replace(self.catalogue / "all.yaml")

    def write(self, name: str, **fields: Any) -> str:
        path = f"{self.folder}/{name}"
        info = self.lab.hub.describe(path)
        self.lab.hub.write(path, SecretFields(fields), cas=info.version if info else 0)
        return path

    def served(self, name: str) -> Any:
        """The copy's fields; None where there is none."""
        client = self.client()
        try:
            return json.loads(client.get_secret_value(SecretId=name)["SecretString"])
        except client.exceptions.ResourceNotFoundException:
            return None
        finally:
            client.close()

    def client(self) -> Any:
        """The SDK's own, which knows nothing of Keyturn."""
        read = ConfigParser()
        read.read(self.aws.credentials)
        key = read[read.sections()[0]]
        session = boto3.Session(key["aws_access_key_id"], key["aws_secret_access_key"], region_name=REGION)
        return session.client("secretsmanager", endpoint_url=self.aws.endpoint_url)

    @contextmanager
    def following(self, *options: str, ends_with: signal.Signals = signal.SIGTERM) -> Iterator[Path]:
        """`keyturn follow` from its ready line on; what it says. It ends well by the signal."""
        said = self.catalogue.parent / f"follow-{fresh()}.txt"
        with said.open("wb") as out:
            child = subprocess.Popen([*SCRIPT, "follow", *options], stdout=out, stderr=out, env=self.env)
        try:
            until(lambda: "ready: " in said.read_text() or child.poll() is not None)
            yield said
            child.send_signal(ends_with)
            assert child.wait(PATIENCE) == 0, said.read_text()
        finally:
            child.kill()
            child.wait()
        assert said.read_text().splitlines()[-1] == "ended"


@pytest.fixture
def shop(lab: Lab, world: World, aws: LocalAws, tmp_path: Path) -> Shop:
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    env = surroundings(
        tmp_path / "no-stack",
        VAULT_ADDR=world.hub_address,
        VAULT_TOKEN=world.hub_token,
        KEYTURN_CATALOGUE=str(catalogue),
        AWS_SHARED_CREDENTIALS_FILE=str(aws.credentials),
        AWS_CONFIG_FILE=str(aws.directory / "no-config"),
        AWS_EC2_METADATA_DISABLED="true",
    )
    made = Shop(lab, aws, fresh(), catalogue, env)
    made.declare()
    return made


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- follow


def test_a_change_in_the_audit_file_reaches_aws_and_sigterm_ends_it_well(
    shop: Shop, openbao: OpenBao, tmp_path: Path
) -> None:
    options = (f"--audit-file={openbao.audit_log}", f"--position={tmp_path / 'position'}")
    with shop.following(*options) as said:
        path = shop.write("a", value="first")
        until(lambda: shop.served(path) == {"value": "first"})
        shop.write("a", value="second")
        until(lambda: shop.served(path) == {"value": "second"})
    told = said.read_text()
    assert f"{path}: aws:{path} updated\n" in told
    assert "first" not in told
    assert "second" not in told
    shop.write("a", value="while nobody followed")
    with shop.following(*options):
        until(lambda: shop.served(path) == {"value": "while nobody followed"})


def test_without_an_audit_file_the_hub_is_asked_and_ctrl_c_ends_it_well(shop: Shop, tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    before = shop.write("before", value="1")
    with shop.following("--poll=1s", f"--alive-file={alive}", ends_with=signal.SIGINT) as said:
        until(lambda: shop.served(before) == {"value": "1"})
        path = shop.write("a", value="1")
        until(lambda: shop.served(path) == {"value": "1"})
        assert alive.exists()
    assert "ready: asking the hub every 1s" in said.read_text()


def test_a_catalogue_that_changes_is_read_again_and_a_broken_one_is_not_taken(shop: Shop) -> None:
    with shop.following("--poll=1s") as said:
        first = shop.write("a", value="1")
        until(lambda: shop.served(first))
        (shop.catalogue / "more.yaml").write_text("secrets: 1\n")
        second = shop.write("b", value="1")
        until(lambda: shop.served(second))
        assert "the one before is kept" in said.read_text()
        (shop.catalogue / "more.yaml").unlink()
        shop.declare(name="renamed-{name}")
        shop.write("c", value="1")
        until(lambda: shop.served("renamed-c"))


def test_an_audit_file_that_is_not_there_is_told_and_waited_for(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    path = shop.write("a", value="1")
    with shop.following(f"--audit-file={file}") as said:
        until(lambda: "error: follow" in said.read_text())
        file.touch()
        until(lambda: shop.served(path) == {"value": "1"})
    assert said.read_text().count("error: ") == 1


@pytest.mark.parametrize("poll", ["0s", "often", "-1s"])
def test_a_poll_that_is_no_duration_is_wrong_usage(shop: Shop, poll: str) -> None:
    done = run_keyturn("follow", f"--poll={poll}", env=shop.env)
    assert done.returncode == 2
    assert "such as 5s" in done.stderr


def test_a_hub_that_refuses_the_login_is_told(shop: Shop) -> None:
    with shop.following("--poll=1s") as said:
        pass
    assert "ready: " in said.read_text()
    shop.env["VAULT_TOKEN"] = "no-such-token"
    with shop.following("--poll=1s") as said:
        until(lambda: "the hub denies the token" in said.read_text())


# --- get


def told(shop: Shop, *arguments: str, code: int = 0) -> Any:
    done = run_keyturn("get", *arguments, "--json", env=shop.env)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_versions_and_fingerprints_are_shown_and_no_value(shop: Shop) -> None:
    paths = [shop.write("a", value="the-value"), shop.write("b", value="the-value")]
    run_keyturn("sync", "--local", env=shop.env)
    done = run_keyturn("get", *paths, env=shop.env)
    assert done.returncode == 0, done.stderr
    rows = [row.split() for row in done.stdout.splitlines() if "hub" in row]
    assert [row[:3] for row in rows] == [[path, "hub", "1"] for path in paths]
    assert rows[0][3] != rows[1][3], "equal values of two secrets are not told as such"
    assert "the-value" not in done.stdout + done.stderr
    assert "the-value" not in json.dumps(told(shop, *paths))


def test_a_value_is_printed_only_where_it_is_asked_for(shop: Shop) -> None:
    path, other = shop.write("a", value="one", port=5432), shop.write("b", value="two")
    done = run_keyturn("get", path, "--field=port", "--reveal", env=shop.env)
    assert (done.returncode, done.stdout) == (0, "5432\n")
    whole = run_keyturn("get", path, "--reveal", env=shop.env)
    assert json.loads(whole.stdout) == {"value": "one", "port": 5432}
    several = told(shop, other, path, "--field=value", "--reveal")
    assert [secret["value"] for secret in several["secrets"]] == ["two", "one"]
    assert run_keyturn("get", path, other, "--reveal", env=shop.env).returncode == 2


def test_each_value_that_is_printed_is_in_the_ledger_first_and_none_is_without_it(shop: Shop, tmp_path: Path) -> None:
    path, other = shop.write("a", value="the-value", port=5432), shop.write("b", value="the-value")
    kept = shop.env | {"KEYTURN_LEDGER": str(tmp_path / "ledger.db")}
    shown = run_keyturn("get", path, other, "--field=value", "--reveal", "--json", env=kept)
    assert shown.stdout.count("the-value") == 2
    run_keyturn("get", path, env=kept)
    run_keyturn("get", f"{shop.folder}/none", "--reveal", env=kept)
    ledger = SqliteLedger(tmp_path / "ledger.db", "any", patience=1)
    entries = [parse_leaf(leaf).entry for _, leaf in ledger.leaves(1, 100)]
    ledger.close()
    assert [(one.action, one.secret, one.version, one.note) for one in entries] == [
        ("reveal", path, 1, "field value"),
        ("reveal", other, 1, "field value"),
    ]
    assert "keyturn get" in entries[0].run
    assert len(entries[0].fingerprint) == 64
    nowhere = shop.env | {"KEYTURN_LEDGER": "/proc/nowhere/ledger.db"}
    refused = run_keyturn("get", path, "--reveal", env=nowhere)
    one_line(refused, "the ledger")
    assert "the-value" not in refused.stdout + refused.stderr


def test_the_copies_in_a_store_are_compared_by_their_fingerprints(shop: Shop) -> None:
    path, changed = shop.write("a", value="1"), shop.write("b", value="1")
    with shop.following("--poll=1s"):
        until(lambda: shop.served(path) and shop.served(changed))
    client = shop.client()
    client.put_secret_value(SecretId=changed, SecretString=json.dumps({"value": "by hand"}))
    client.close()
    here = {one["path"]: one for one in told(shop, path, changed)["secrets"]}
    there = {one["path"]: one for one in told(shop, path, changed, "--from=aws")["secrets"]}
    assert there[path] == {**here[path], "place": f"aws:{path}"}
    assert there[changed]["fingerprint"] != here[changed]["fingerprint"]
    assert there[changed]["version"] is None
    field = told(shop, changed, "--from=aws", "--field=value", "--reveal")["secrets"][0]
    assert field["value"] == "by hand"


def test_what_can_not_be_read_is_told_by_itself(shop: Shop) -> None:
    path = shop.write("a", value="1")
    there = told(shop, f"{shop.folder}/none", path, code=1)
    assert [one["path"] for one in there["secrets"]] == [path]
    assert [(one["name"], one["error"]) for one in there["errors"]] == [(f"hub:{shop.folder}/none", "NotFound")]
    one_line(run_keyturn("get", path, "--field=valeu", env=shop.env), "Did you mean value?")
    one_line(run_keyturn("get", "elsewhere/a", "--from=aws", env=shop.env), "not pushed to aws")
    one_line(run_keyturn("get", path, "--from=azure", env=shop.env), "azure")
