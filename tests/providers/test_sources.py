"""A client's sources by their names: the hub, other addresses of it, and copies in the catalogue's stores."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from keyturn.catalogue.operator.policy import VARIABLE
from keyturn.client.offline.cache_file import OfflineCache
from keyturn.client.policy import RESTRICTED, CachePolicy
from keyturn.client.sources import StoreSource
from keyturn.core.errors import Invalid, NotFound, Unavailable
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.data_keys import open_envelope
from keyturn.providers.files.store import Files
from keyturn.wiring.sources import SourceOpener, open_client, source_names
from local.support.ports import free_port
from tests.support.lab import Lab, fresh
from tests.support.memory_store import MemoryStore
from tests.support.offline import add_generation
from tests.support.world import World

ROOT = Path(__file__).parents[2]


@pytest.fixture
def env(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("VAULT_TOKEN", world.hub_token)
    return {"VAULT_ADDR": world.hub_address, "VAULT_CACERT": world.hub_ca or ""}


@pytest.fixture
def nobody() -> str:
    return f"https://127.0.0.1:{free_port()}"


@pytest.fixture
def path(lab: Lab) -> str:
    path = f"{fresh()}/database"
    lab.hub.write(path, SecretFields({"password": "first"}), cas=0)
    return path


def declared(tmp_path: Path, env: dict[str, str], *destinations: dict[str, Any], **secret: Any) -> Files:
    """A catalogue with one secret, ``shop/database``, and a store of files; named in the environment."""
    folder, directory = tmp_path / "catalogue", tmp_path / "copies"
    folder.mkdir()
    places = [{"store": "copies", **place} for place in destinations]
    about = {"owner": "shop@example.com", "classification": "internal", "rotation": {"strategy": "manual"}}
    entry = {**about, "destinations": places, **secret}
    stores = {"copies": {"kind": "file", "directory": str(directory)}}
    (folder / "all.yaml").write_text(yaml.safe_dump({"stores": stores, "secrets": {"shop/database": entry}}))
    env |= {"KEYTURN_CATALOGUE": str(folder), VARIABLE: os.environ[VARIABLE]}
    return Files("copies", directory=str(directory))


def test_the_hub_and_a_replica_by_its_address(env: dict[str, str], path: str, nobody: str) -> None:
    address = env["VAULT_ADDR"]
    with open_client(env=env) as client:
        assert client.get(path).source == "hub"
    with open_client(["hub", address], env={**env, "VAULT_ADDR": nobody}) as client:
        assert client.get(path).source == address.removeprefix("https://")
        assert client.field(path, "password").reveal() == "first"


def test_the_environment_names_them() -> None:
    assert source_names({}) == ["hub"]
    assert source_names({"KEYTURN_SOURCES": "hub, https://replica:8200 ,aws,"}) == [
        "hub",
        "https://replica:8200",
        "aws",
    ]


def test_a_copy_stands_in_for_a_hub_that_is_away(tmp_path: Path, env: dict[str, str], nobody: str) -> None:
    store = declared(tmp_path, env, {"name": "of-the-shop"})
    text = Sensitive('{"password": "copied"}')
    store.write("of-the-shop", text, OwnershipTags("shop/database", 4, "0" * 64), None)
    with open_client(["hub", "copies"], env={**env, "VAULT_ADDR": nobody}) as client:
        secret = client.get("shop/database")
        assert (secret["password"].reveal(), secret.version, secret.source) == ("copied", 4, "copies")
        # It has no copy of this one, which says nothing of whether there is one.
        with pytest.raises(Unavailable, match="hub"):
            client.get("shop/other")


def test_a_store_alone_has_no_more_than_the_catalogue_says(tmp_path: Path, env: dict[str, str]) -> None:
    declared(tmp_path, env, {"name": "whole"})
    with open_client(["copies"], env=env) as client, pytest.raises(NotFound, match="declares no whole copy"):
        client.get("shop/other")


@pytest.mark.parametrize(
    "place", [{"field": "password"}, {"template": "x={password}"}, {"fields": ["password"]}, {"update": "create-only"}]
)
def test_what_is_a_part_or_is_not_kept_the_same_stands_in_for_nothing(
    tmp_path: Path, env: dict[str, str], place: dict[str, Any]
) -> None:
    store = declared(tmp_path, env, {"name": "part", **place})
    store.write("part", Sensitive('{"password": "old"}'), OwnershipTags("shop/database", 4, "0" * 64), None)
    with open_client(["copies"], env=env) as client, pytest.raises(NotFound, match="declares no whole copy"):
        client.get("shop/database")


def test_a_source_of_ones_own_stands_beside_names(env: dict[str, str], path: str, lab: Lab) -> None:
    store = MemoryStore("memory")
    store.put_by_hand("copy", "x")
    with open_client([StoreSource(store, {path: "copy"}), "hub"], env=env) as client:
        assert client.get(path).source == "memory"


def test_a_name_that_nobody_declares_is_refused_at_once(tmp_path: Path, env: dict[str, str]) -> None:
    declared(tmp_path, env)
    with pytest.raises(NotFound, match="Did you mean copies"):
        open_client(["hub", "copy"], env=env)
    del env["KEYTURN_CATALOGUE"]
    with pytest.raises(Invalid, match="KEYTURN_CATALOGUE"):
        open_client(["hub", "copies"], env=env)
    with pytest.raises(Invalid, match="VAULT_ADDR"):
        open_client(["hub"], env={}).get("a")


def test_what_is_restricted_outlives_no_outage(
    tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.client.offline.cache_file.guard_memory", lambda: None)
    declared(tmp_path, env, {"name": "whole"}, classification="restricted")
    with open_client(["copies"], env=env) as client:
        assert client.policy_of("shop/database") == RESTRICTED
        assert client.policy_of("shop/other") == CachePolicy()
    add_generation(tmp_path / "key")
    offline = OfflineCache(tmp_path / "offline", lambda: open_envelope(f"file:{tmp_path / 'key'}"))
    with open_client(["hub"], env=env, offline=offline) as client:
        assert client.policy_of("shop/database") == RESTRICTED
    with open_client(["hub"], env=env, catalogue=Path(env["KEYTURN_CATALOGUE"])) as client:
        assert client.policy_of("shop/database") == RESTRICTED
    own = CachePolicy(resurrect_ttl=60)
    with open_client(["copies"], env=env, policies={"shop/*": own}) as client:
        assert client.policy_of("shop/database") == own


def test_a_name_loads_no_more_than_it_needs(env: dict[str, str]) -> None:
    code = (
        "import sys; from keyturn.wiring.sources import SourceOpener; SourceOpener(('hub',))(); "
        "print(*{'boto3', 'pydantic', 'yaml', 'keyturn.catalogue'} & {*sys.modules})"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**env, "PATH": ""}, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == ""


def test_opening_is_done_in_each_process_that_reads(env: dict[str, str]) -> None:
    opener = SourceOpener(("hub",), env=env)
    assert opener()[0] is not opener()[0]
