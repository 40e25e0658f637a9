"""`keyturn init` finds every copy in existing stores and changes nothing."""

import base64
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import hvac
import pytest
import requests
import yaml
from typer.testing import CliRunner, Result

from keyturn.catalogue import find_problems, load_catalogue
from keyturn.cli.app import app
from local.openbao import OpenBao
from local.prepare import DATABASE
from local.support.ports import free_port
from tests.inventory import estate as estates
from tests.inventory.estate import Estate
from tests.revocation.eight import certificates, cluster, made, second_vault
from tests.support import sampling
from tests.support.lab import Lab
from tests.support.mounts import make_kv
from tests.support.world import World

pytestmark = pytest.mark.sampled(3, of="file")

PATHS, COPIES, STALE, DECOYS = (300, 120, 12, 24) if sampling.deep() else (60, 24, 6, 12)
OWNER = "platform@example.com"


@pytest.fixture(scope="module")
def estate(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """The estate, filled."""
    with estates.opened(world, tmp_path_factory.mktemp("estate")) as opened:
        estates.fill(opened, PATHS, COPIES, STALE, DECOYS)
        yield opened


@pytest.fixture
def output(estate: Estate, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the catalogue goes; the environment leads to the estate."""
    point_at(world, estate.mount, tmp_path, monkeypatch)
    (tmp_path / "stores.yaml").write_text(yaml.safe_dump({"stores": estate.stores()}))
    return tmp_path / "catalogue"


def point_at(world: World, mount: str, directory: Path, environment: pytest.MonkeyPatch) -> None:
    """Let this process's environment lead to a mount of the hub, and to no stack and no catalogue."""
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        environment.delenv(name)
    environment.delenv("KEYTURN_CATALOGUE", raising=False)
    environment.setenv("VAULT_ADDR", world.hub_address)
    environment.setenv("VAULT_TOKEN", world.hub_token)
    environment.setenv("KEYTURN_HUB_MOUNT", mount)
    environment.setenv("KEYTURN_HOME", str(directory / "no-stack"))


def drawn() -> str:
    """A value that nobody comes upon twice."""
    return f"{secrets.token_urlsafe(24)}9aZ"


@dataclass
class Small:
    """A mount of the hub, and a directory with copies."""

    root: hvac.Client
    mount: str
    directory: Path

    @property
    def output(self) -> Path:
        """Where the catalogue goes."""
        return self.directory / "catalogue"

    def write(self, path: str, **fields: Any) -> dict[str, Any]:
        """One more version of a secret."""
        self.root.secrets.kv.v2.create_or_update_secret(path, fields, mount_point=self.mount)
        return fields

    def copy(self, name: str, text: str) -> None:
        """What somebody has put into the store."""
        (self.directory / "copies" / name).write_text(text)

    def token(self, paths: Mapping[str, list[str]]) -> str:
        """A login that may do this and nothing else."""
        name = f"init-{secrets.token_hex(4)}"
        self.root.sys.create_or_update_policy(name, {"path": {path: {"capabilities": c} for path, c in paths.items()}})
        return str(self.root.auth.token.create(policies=[name], no_default_policy=False)["auth"]["client_token"])


def keyturn(*arguments: str) -> Result:
    """Run one command in this process."""
    return CliRunner().invoke(app, arguments)


def init(output: Path, *more: str, code: int = 0) -> Any:
    """Draft a catalogue; its data."""
    stores = ["--stores", str(output.parent / "stores.yaml")]
    done = keyturn("init", "--out", str(output), "--owner", OWNER, *stores, "--json", *more)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if done.stdout else done


def test_every_copy_is_found_and_none_wrongly_and_a_plan_adopts_them_and_overwrites_nothing(
    estate: Estate, output: Path
) -> None:
    told = init(output)
    found = {(copy["store"], copy["name"]): copy["path"] for copy in told["copies"]}
    assert found == {place: path for place, (path, _) in estate.copies.items()}
    assert len(told["secrets"]) == PATHS + 2
    asked = {(asked["store"], asked["name"]): asked for asked in told["questions"]}
    assert asked.keys() >= estate.stale.keys()
    for place, path in estate.stale.items():
        assert (asked[place]["path"], "holds version 1 of this secret" in asked[place]["question"]) == (path, True)
    assert {*found, *asked} - estate.copies.keys() - estate.stale.keys() <= estate.decoys

    assert find_problems(output, os.environ) == []
    declared = load_catalogue(output, os.environ).secrets
    assert {str(secret.rotation.strategy) for secret in declared.values()} == {"manual"}
    planned = keyturn("plan", "--all", "--json", "--catalogue", str(output))
    assert planned.exit_code == 0, planned.output
    items = json.loads(planned.stdout)["items"]
    assert {(item["store"], item["name"]): item["action"] for item in items} == dict.fromkeys(estate.copies, "adopt")
    assert {item["why"].partition("; it holds the same ")[2] for item in items} == {
        "value",
        "JSON object in another spelling",
    }


def test_applying_it_changes_no_value(estate: Estate, output: Path) -> None:
    before = {place: served(estate, place) for place in (*estate.copies, *estate.stale, *estate.decoys)}
    init(output)
    done = keyturn("apply", "--auto", "--json", "--catalogue", str(output))
    assert done.exit_code == 0, done.output
    assert {place: served(estate, place) for place in before} == before
    again = init(output, "--force")
    assert {(copy["store"], copy["name"]) for copy in again["copies"]} == estate.copies.keys()
    planned = json.loads(keyturn("plan", "--json", "--catalogue", str(output)).stdout)
    assert planned["items"] == []


def served(estate: Estate, place: tuple[str, str]) -> Any:
    """What an application reads there; of JSON, what it says."""
    store, name = place
    text = next(cloud for cloud in estate.clouds if cloud.name == store).read(name)
    try:
        return json.loads(text)
    except ValueError:
        return text


# --- small hubs


@pytest.fixture
def small(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    """A mount of its own, and a store that is a directory."""
    root, mount = world.root(), f"kv-{secrets.token_hex(4)}"
    make_kv(root, mount)
    point_at(world, mount, tmp_path, monkeypatch)
    (tmp_path / "copies").mkdir()
    files = {"kind": "file", "directory": str(tmp_path / "copies")}
    (tmp_path / "stores.yaml").write_text(yaml.safe_dump({"stores": {"files": files}}))
    yield Small(root, mount, tmp_path)
    root.sys.disable_secrets_engine(mount)


def test_the_file_says_how_each_copy_is_made_and_names_what_it_is_not_sure_of(small: Small) -> None:
    strong = small.write("ml/db", username="trainer", password=drawn(), host="db.example.com")
    small.write("ml/key", api_key=drawn())
    small.copy("db-password", strong["password"])
    small.copy("db-all", json.dumps(strong))
    small.copy("db-some", json.dumps({"PGUSER": "trainer", "PGPASSWORD": strong["password"]}))
    small.copy("ml-key", drawn())
    told = init(small.output)
    text = (small.output / "secrets.yaml").read_text()
    assert "- { store: files, name: db-password, field: password, adopt: true } # it holds the same value" in text
    assert "- { store: files, name: db-all, adopt: true } # it holds the same value; the first apply writes it" in text
    assert "name: db-some, fields: { PGUSER: username, PGPASSWORD: password }, adopt: true }" in text
    assert (
        "    # question: files:ml-key: it differs: its name is that of this secret, and it holds another value" in text
    )
    assert len(told["copies"]) == 3
    for value in strong.values():
        assert value in ("trainer", "db.example.com") or value not in text
    assert "trainer" not in text.replace("ml_trainer", "")


@pytest.mark.attack
def test_an_unreadable_secret_is_reported_and_not_as_absent(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    small.write("open/db", value=drawn())
    small.write("closed/db", value=drawn())
    small.write("hidden/deep/db", value=drawn())
    paths = {f"{small.mount}/metadata/*": ["list", "read"], f"{small.mount}/data/open/*": ["read"]}
    paths |= {f"{small.mount}/metadata/hidden/*": ["deny"]}
    monkeypatch.setenv("VAULT_TOKEN", small.token(paths))
    told = init(small.output, code=1)
    assert told["secrets"] == ["open/db"]
    assert {unread["name"] for unread in told["unread"]} == {"closed/db", "hidden/"}
    text = (small.output / "secrets.yaml").read_text()
    assert "# Could not be read, and may hold anything:" in text
    assert "#   closed/db: it could not be read: the hub denies it" in text
    assert "#   hidden/: it could not be listed: the hub denies it" in text
    assert "#   namespaces: not checked whether it has some (the hub denies it)" in text


def test_where_nothing_can_be_listed_nothing_is_written(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    small.write("ml/db", value=drawn())
    monkeypatch.setenv("VAULT_TOKEN", small.token({f"{small.mount}/data/*": ["read"]}))
    refused = init(small.output, code=1)
    assert ("the hub denies it" in refused.stderr, small.output.exists()) == (True, False)


def test_a_part_of_the_hub_is_looked_at_alone_and_one_that_is_not_there_is_told(small: Small) -> None:
    small.write("ml/db", value=drawn())
    small.write("shop/db", value=drawn())
    assert init(small.output, "--below", "ml")["secrets"] == ["ml/db"]
    assert "the hub has nothing there" in init(small.output, "--below", "mll", code=1).stderr


def test_what_a_catalogue_can_not_declare_is_left_out_and_told(small: Small) -> None:
    for path in ("app", "app/db", "with space/x"):
        small.write(path, value=drawn())
    small.write("gone", value=drawn())
    small.root.secrets.kv.v2.delete_latest_version_of_secret("gone", mount_point=small.mount)
    make_kv(small.root, f"{small.mount}-more")
    small.root.sys.enable_secrets_engine("kv", path=f"{small.mount}-old", options={"version": "1"})
    told = init(small.output)
    for mount in (f"{small.mount}-more", f"{small.mount}-old"):
        small.root.sys.disable_secrets_engine(mount)
    assert told["secrets"] == ["app/db"]
    assert {left["path"] for left in told["commented_out"]} == {"app", "with space/x"}
    left = {left["name"]: left["why"] for left in told["not_declared"]}
    assert left["gone"] == "its newest version, 1, is deleted"
    assert left[f"{small.mount}-more/"].endswith(f"give --mount NAME={small.mount}-more")
    assert left[f"{small.mount}-old/"].startswith("it is KV version 1")
    assert find_problems(small.output, os.environ) == []


def test_a_mount_of_version_1_is_not_taken_for_an_empty_one(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    small.root.sys.enable_secrets_engine("kv", path=f"{small.mount}-old", options={"version": "1"})
    monkeypatch.setenv("KEYTURN_HUB_MOUNT", f"{small.mount}-old")
    done = keyturn("init", "--out", str(small.output), "--owner", OWNER)
    small.root.sys.disable_secrets_engine(f"{small.mount}-old")
    assert (done.exit_code, (small.output / "secrets.yaml").exists()) == (1, False)
    assert "KV version 1" in done.stderr


def test_a_mount_that_is_not_there_is_not_taken_for_an_empty_one(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYTURN_HUB_MOUNT", f"{small.mount}-none")
    refused = init(small.output, code=1)
    assert ("the hub has no such mount" in refused.stderr, small.output.exists()) == (True, False)


@pytest.mark.attack
def test_no_value_is_shown_or_written(small: Small) -> None:
    before, shared, login = drawn(), drawn(), {"username": f"u-{drawn()}", "password": drawn(), "host": f"h-{drawn()}"}
    small.write("ml/db", **login)
    small.write("ml/old", value=before)
    small.write("ml/old", value=drawn())
    for name in ("one", "two"):
        small.write(f"shared/{name}", value=shared)
    copies = {
        "ml-db": json.dumps(login),
        "user": login["username"],
        "ml-old": before,
        "shared": f"{shared}",
        "x": drawn(),
    }
    copies |= {"part": json.dumps({"password": login["password"], "more": drawn()}), "space": f"{login['password']} "}
    for name, text in copies.items():
        small.copy(name, text)
    stores = ["--stores", str(small.directory / "stores.yaml")]
    shown = [keyturn("init", "--out", str(small.output), "--owner", OWNER, *stores, *more) for more in ([], ["--json"])]
    assert [done.exit_code for done in shown] == [0, 0]
    written = [file.read_text() for file in small.output.iterdir()]
    everything = "".join([*written, *(done.stdout + done.stderr for done in shown)])
    assert len(json.loads(shown[1].stdout)["questions"]) >= 4
    for value in (before, shared, *login.values(), copies["x"]):
        assert value not in everything
        assert base64.b64encode(value.encode()).decode() not in everything


@pytest.mark.attack
def test_an_edited_file_is_not_overwritten(small: Small) -> None:
    small.write("ml/db", value=drawn())
    init(small.output)
    small.write("ml/more", value=drawn())
    assert init(small.output)["secrets"] == ["ml/db", "ml/more"]
    file = small.output / "secrets.yaml"
    file.write_text(file.read_text().replace("confidential", "restricted"))
    edited = file.read_text()
    refused = init(small.output, code=1)
    assert "secrets.yaml was written or edited by hand" in refused.stderr
    assert file.read_text() == edited
    init(small.output, "--force")
    assert "restricted" not in file.read_text()


def test_what_a_person_declares_in_another_file_stays_theirs(small: Small) -> None:
    for path in ("ml/db", "ml/more"):
        small.write(path, value=drawn())
    small.output.mkdir()
    own = {"owner": "ml@example.com", "classification": "internal", "rotation": {"strategy": "manual"}}
    (small.output / "mine.yaml").write_text(yaml.safe_dump({"secrets": {"ml/db": own}}))
    told = init(small.output)
    assert told["secrets"] == ["ml/more"]
    assert {"name": "ml/db", "why": "it is declared already"} in told["not_declared"]
    assert load_catalogue(small.output, os.environ).secret("ml/db").owner == "ml@example.com"


def test_a_store_that_does_not_answer_stops_no_other(small: Small) -> None:
    value = drawn()
    small.write("ml/db", value=value)
    small.copy("ml-db", value)
    silent = {
        "kind": "vault",
        "address": f"http://127.0.0.1:{free_port()}",
        "token_file": str(small.directory / "token"),
    }
    (small.directory / "token").write_text("none")
    stores = yaml.safe_load((small.directory / "stores.yaml").read_text())["stores"]
    (small.directory / "stores.yaml").write_text(yaml.safe_dump({"stores": {**stores, "silent": silent}}))
    told = init(small.output, code=1)
    assert [copy["name"] for copy in told["copies"]] == ["ml-db"]
    assert [unread["name"] for unread in told["unread"]] == ["silent"]


def test_owners_and_classes_are_those_that_the_hub_names(small: Small) -> None:
    small.write("ml/db", value=drawn())
    custom = {"owner": "ml@example.com", "classification": "Restricted"}
    small.root.secrets.kv.v2.update_metadata("ml/db", mount_point=small.mount, custom_metadata=custom)
    init(small.output)
    secret = load_catalogue(small.output, os.environ).secret("ml/db")
    assert (secret.owner, str(secret.classification)) == ("ml@example.com", "restricted")


@pytest.mark.attack
def test_nothing_is_written_to_the_hub(small: Small, world: World) -> None:
    small.write("ml/db", value=drawn())
    paths = {f"{small.mount}/metadata/*": ["list", "read"], f"{small.mount}/metadata": ["list"]}
    paths |= {f"{small.mount}/data/*": ["read"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAULT_TOKEN", small.token(paths))
        assert init(small.output)["secrets"] == ["ml/db"]


# --- other kinds of stores


def test_clusters_parameters_and_other_vaults_are_looked_at_alike(
    estate: Estate, small: Small, openbao: OpenBao, tmp_path: Path
) -> None:
    fields = small.write("ml/db", username="trainer", password=drawn(), port=5432)
    pki = certificates(made(tmp_path / "pki"))
    parameters: Any = boto3.Session().client(
        "ssm", estates.REGION, endpoint_url=estate.clouds[0].settings["endpoint_url"]
    )
    parameters.put_parameter(Name=f"/{small.mount}/pw", Value=fields["password"], Type="SecureString")
    with cluster(tmp_path, pki) as kubernetes, second_vault(openbao, tmp_path) as vault:
        put_secret(kubernetes.settings, "database", fields)
        put_secret(kubernetes.settings, "binary", {"keystore": b"\xff\xfe\x00"})
        copy = {"path": "team/db", "secret": fields, "mount_point": vault.settings["mount"]}
        small.root.secrets.kv.v2.create_or_update_secret(**copy)
        ssm = {**estate.clouds[0].settings, "kind": "aws-parameter-store"}
        stores = {"cluster": dict(kubernetes.settings), "plant": dict(vault.settings), "ssm": ssm}
        (tmp_path / "stores.yaml").write_text(yaml.safe_dump({"stores": stores}))
        told = init(small.output, code=1)
        planned = keyturn("plan", "--all", "--json", "--catalogue", str(small.output))
    assert {(copy["store"], copy["name"]) for copy in told["copies"]} == {
        ("cluster", "database"),
        ("plant", "team/db"),
        ("ssm", f"/{small.mount}/pw"),
    }
    assert [unread["name"] for unread in told["unread"]] == ["cluster:binary"]
    assert {item["action"] for item in json.loads(planned.stdout)["items"]} == {"adopt"}


def put_secret(settings: Mapping[str, Any], name: str, data: Mapping[str, Any]) -> None:
    """A Secret that somebody has made, whose values are texts, as all are in a cluster."""
    encoded = {
        key: base64.b64encode(value if isinstance(value, bytes) else str(value).encode()) for key, value in data.items()
    }
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "data": {key: text.decode() for key, text in encoded.items()},
    }
    url = f"{settings['server']}/api/v1/namespaces/{settings['namespace']}/secrets"
    token = Path(settings["token_file"]).read_text().strip()
    answer = requests.post(
        url, json=manifest, headers={"Authorization": f"Bearer {token}"}, verify=settings["ca_file"], timeout=30
    )
    answer.raise_for_status()


# --- accounts of databases


def test_two_accounts_of_one_group_may_take_turns_and_the_proposal_is_one_that_loads(small: Small, lab: Lab) -> None:
    declared = lab.alternating()
    first, second = declared.users
    lab.user(second, declared.owner)
    host, port = lab.world.host, lab.world.port
    small.write("ml/db", username=first, password=drawn(), host=host, port=port)
    small.write("ml/other", username=first, password=drawn())
    server = f"pg={host}:{port}/{DATABASE}"
    told = init(small.output, "--postgresql", server)
    (proposed, doubled) = told["proposals"]
    assert proposed["strategy"] == doubled["strategy"] == "alternating-users"
    assert f"both members of {declared.owner}" in proposed["reason"]
    assert "ml/other would take the same account" in " ".join(proposed["questions"])
    file = small.output / "secrets.yaml"
    taken = re.sub(
        r"rotation: \{ strategy: manual \}\n +# proposal: .*\n +# rotation:", "rotation:", file.read_text(), count=1
    )
    file.write_text(taken)
    assert find_problems(small.output, os.environ) == []
    rotation: Any = load_catalogue(small.output, os.environ).secret("ml/db").rotation
    assert (rotation.strategy, rotation.users) == ("alternating-users", tuple(sorted((first, second))))


def test_a_server_that_lets_nobody_in_is_told(small: Small) -> None:
    small.write("ml/db", username="trainer", password=drawn(), host="127.0.0.1")
    told = init(small.output, "--postgresql", f"none-{secrets.token_hex(4)}=127.0.0.1:{free_port()}/ml", code=1)
    assert ["accounts could not be listed" in unread["why"] for unread in told["unread"]] == [True]
    assert told["proposals"][0]["strategy"] is None
    assert "keyturn setup target none-" in told["unread"][0]["why"], "its admin is not in the hub yet"
