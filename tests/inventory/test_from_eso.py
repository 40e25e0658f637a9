"""Manifests of External Secrets Operator: a copy holds what the operator writes, or the manifest is listed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from keyturn.catalogue import Catalogue, find_problems, load_catalogue
from keyturn.catalogue.destinations import Destination
from keyturn.cli.app import app
from keyturn.core.sensitive import SecretFields

pytestmark = pytest.mark.sampled(3, of="file")

HERE = Path(__file__).parent / "eso"
PULLED = yaml.safe_load((HERE / "pulled.yaml").read_text())
PUSHED = yaml.safe_load((HERE / "pushed.yaml").read_text())

HUB: dict[str, dict[str, Any]] = {
    "shop/db": {"username": "shop", "password": "p@ss w'ord", "host": "db.example.com", "port": 5432},
    "shop/api": {"username": "api-user", "token": "t/k="},
    "shop/mail": {"token": "mail-token", "tls.crt": "CRT", "tls.key": "KEY"},
    "shop/config": {"db": {"host": "inner.example.com", "ports": [6543]}},
    "teams:shop/key": {"key": "of-the-team"},
}
VAULT = {"vault": {"server": "https://vault.example.com", "path": "secret", "version": "v2"}}
AWS = {"aws": {"service": "SecretsManager", "region": "eu-central-1", "auth": {"jwt": {}}}}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No hub, no stack: nothing is asked of either."""
    for name in ("VAULT_ADDR", "VAULT_NAMESPACE", "KEYTURN_HUB_MOUNT", "KEYTURN_CATALOGUE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))


def manifest(kind: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    """One manifest of the namespace shop."""
    api = "external-secrets.io/v1"
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "shop", **metadata}, "spec": spec}


def store(name: str, provider: Mapping[str, Any]) -> dict[str, Any]:
    """A store of that namespace."""
    return manifest("SecretStore", name, {"provider": provider})


def pulled(name: str, spec: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    """An ExternalSecret that reads the store hub."""
    return manifest("ExternalSecret", name, {"secretStoreRef": {"name": "hub"}, **spec}, **metadata)


def pushed(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A PushSecret of the Secret db into the store cloud."""
    said = {"secretStoreRefs": [{"name": "cloud"}], "selector": {"secret": {"name": "db"}}, **spec}
    return manifest("PushSecret", name, said)


def run(directory: Path, *manifests: dict[str, Any], expected: int = 0) -> tuple[Catalogue, str]:
    """The catalogue that comes of these manifests, and the text that declares its secrets."""
    given, out = directory / "given.yaml", directory / "out"
    given.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": list(manifests)}))
    arguments = ["init", "--from", str(given), "--out", str(out), "--owner", "shop@example.com"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == expected, done.output
    assert find_problems(out, {}) == []
    return load_catalogue(out, {}), (out / "secrets.yaml").read_text()


def copies(catalogue: Catalogue, store_name: str) -> list[tuple[str, Destination]]:
    """Every active copy in a store, with its path."""
    return [
        (path, place)
        for path, secret in catalogue.secrets.items()
        for place in secret.pushed_to
        if place.store == store_name
    ]


def keys_of(text: str) -> dict[str, str]:
    """The data of a Kubernetes Secret that a copy's text becomes."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in json.loads(text).items()}


@pytest.mark.parametrize("case", PULLED, ids=lambda case: case["name"].replace(" ", "-"))
def test_a_secret_of_a_cluster_holds_what_the_operator_writes_or_is_listed(
    case: dict[str, Any], tmp_path: Path
) -> None:
    metadata = {"labels": case["labels"]} if "labels" in case else {}
    catalogue, text = run(tmp_path, store("hub", case.get("store", VAULT)), pulled("one", case["spec"], **metadata))
    places = copies(catalogue, "cluster-shop")
    if left := case.get("left"):
        assert not places
        assert left in next(
            line for line in text.splitlines() if "ExternalSecret shop/one: it is not converted" in line
        )
        return
    data: dict[str, str] = {}
    for path, place in places:
        keys = keys_of(place.shape.render(SecretFields(HUB[path])).reveal())
        assert not keys.keys() & data.keys()
        assert place.merge or len(places) == 1
        data |= keys
    assert data == case["holds"]
    insist_on_words(places, case.get("says", {}))


@pytest.mark.parametrize("case", PUSHED, ids=lambda case: case["name"].replace(" ", "-"))
def test_a_remote_secret_holds_what_the_operator_pushes_or_is_listed(case: dict[str, Any], tmp_path: Path) -> None:
    named = {"user": "username", "pass": "password"}
    data = [{"secretKey": key, "remoteRef": {"key": "shop/db", "property": own}} for key, own in named.items()]
    source, target = pulled("db", case.get("pulled", {"data": data})), case.get("store", AWS)
    catalogue, text = run(tmp_path, store("hub", VAULT), store("cloud", target), source, pushed("out", case["spec"]))
    places = copies(catalogue, "cloud")
    if left := case.get("left"):
        assert not places
        assert left in next(line for line in text.splitlines() if "PushSecret shop/out: it is not converted" in line)
        return
    found = {place.name: place.shape.render(SecretFields(HUB[path])).reveal() for path, place in places}
    assert {
        name: keys_of(found[name]) if isinstance(held, dict) else found[name] for name, held in case["holds"].items()
    } == (case["holds"])
    assert found.keys() == case["holds"].keys()
    insist_on_words(places, case.get("says", {}))


def insist_on_words(places: list[tuple[str, Destination]], says: dict[str, Any]) -> None:
    """What the destinations say besides their shape is this, and nothing more."""
    words = ("update", "deletion", "tags", "annotations", "content_type")
    for _, place in places:
        said = place.model_dump(mode="json", include={*words, "merge"}, exclude_defaults=True)
        assert {key: value for key, value in said.items() if key in words or says.get(key)} == says


# --- which Vault is the hub


def of_vault(name: str, **vault: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A store of a Vault, and what reads shop/api of it into a Secret of the same name."""
    spec = {"secretStoreRef": {"name": name}, "dataFrom": [{"extract": {"key": "shop/api"}}]}
    return store(name, {"vault": {"path": "secret", "version": "v2", **vault}}), pulled(name, spec)


def test_the_vault_of_the_manifests_is_named_first(tmp_path: Path) -> None:
    _, text = run(tmp_path, *of_vault("a", server="https://a.example.com", namespace="teams/shop"))
    assert "# The hub has to be the Vault of a: VAULT_ADDR=https://a.example.com VAULT_NAMESPACE=teams/shop\n" in text


def test_of_two_vaults_none_is_taken_for_the_hub_until_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = (*of_vault("a", server="https://a.example.com"), *of_vault("b", server="https://b.example.com"))
    catalogue, text = run(tmp_path, *both)
    assert not copies(catalogue, "cluster-shop")
    assert text.count("set VAULT_ADDR to that one") == 2
    monkeypatch.setenv("VAULT_ADDR", "https://b.example.com/")
    catalogue, text = run(tmp_path, *both)
    assert [place.name for _, place in copies(catalogue, "cluster-shop")] == ["b"]
    assert "it is read from the Vault https://a.example.com, namespace root" in text


def test_another_namespace_of_the_hub_is_not_read_as_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", "https://a.example.com")
    catalogue, text = run(tmp_path, *of_vault("a", server="https://a.example.com", namespace="team"))
    assert not copies(catalogue, "cluster-shop")
    assert "set VAULT_ADDR and VAULT_NAMESPACE to that one" in text


def test_two_stores_of_one_name_stay_two_places(tmp_path: Path) -> None:
    data = [{"match": {"secretKey": "token", "remoteRef": {"remoteKey": "app"}}}]
    other = {**pushed("out", {"data": data}), "metadata": {"name": "out", "namespace": "stock"}}
    elsewhere = {"aws": {"service": "SecretsManager", "region": "us-east-1"}}
    stores = store("cloud", AWS), {**store("cloud", elsewhere), "metadata": {"name": "cloud", "namespace": "stock"}}
    catalogue, _ = run(tmp_path, *stores, pushed("out", {"data": data}), other)
    assert {name: settings.places for name, settings in catalogue.stores.items()} == {
        "cloud": ("eu-central-1",),
        "cloud-stock": ("us-east-1",),
    }
    assert [place.store for secret in catalogue.secrets.values() for place in secret.pushed_to] == [
        "cloud",
        "cloud-stock",
    ]


def test_a_store_whose_manifest_was_not_given_is_a_question(tmp_path: Path) -> None:
    catalogue, text = run(tmp_path, pulled("one", {"dataFrom": [{"extract": {"key": "shop/api"}}]}))
    assert not copies(catalogue, "cluster-shop")
    assert "is the store hub the hub? Its manifest was not given" in text


def test_nothing_is_pushed_of_a_secret_that_nobody_can_tell_the_content_of(tmp_path: Path) -> None:
    data = [{"match": {"remoteRef": {"remoteKey": "app"}}}]
    target = {"target": {"name": "db", "creationPolicy": "Merge"}}
    keys = [[{"secretKey": key, "remoteRef": {"key": "shop/db", "property": key}}] for key in ("username", "password")]
    several = [pulled(f"part-{number}", {**target, "data": own}) for number, own in enumerate(keys)]
    catalogue, text = run(tmp_path, store("hub", VAULT), store("cloud", AWS), *several, pushed("out", {"data": data}))
    assert not copies(catalogue, "cloud")
    assert "db is made by several ExternalSecrets" in text
    whole = pulled("db", {"dataFrom": [{"extract": {"key": "shop/db"}}]})
    catalogue, text = run(tmp_path, store("cloud", AWS), whole, pushed("out", {"data": data}))
    assert not copies(catalogue, "cloud")
    assert "what its Secret db holds is not known: is the store hub the hub?" in text


@pytest.mark.parametrize(
    "spec",
    [
        {"data": [{"secretKey": "a", "remoteRef": "shop/db", "sourceRef": "other"}]},
        {"data": "shop/db", "target": "made"},
        {"dataFrom": [{"extract": ["shop/db"]}], "target": {"template": "text"}},
        {"data": [{"secretKey": 3, "remoteRef": {"key": {"a": 1}, "property": 5}}], "refreshInterval": {}},
    ],
)
def test_what_is_no_manifest_is_listed_and_ends_nothing(spec: dict[str, Any], tmp_path: Path) -> None:
    sound = pulled("two", {"dataFrom": [{"extract": {"key": "shop/api"}}]})
    catalogue, text = run(tmp_path, store("hub", VAULT), pulled("one", spec), sound)
    assert [place.name for _, place in copies(catalogue, "cluster-shop")] == ["two"]
    assert "ExternalSecret shop/one: it is not converted" in text


def test_the_operators_login_is_listed(tmp_path: Path) -> None:
    data = [{"match": {"secretKey": "token", "remoteRef": {"remoteKey": "app"}}}]
    _, text = run(tmp_path, store("cloud", AWS), pushed("out", {"data": data}))
    assert "its auth is not converted: Keyturn logs in to the store cloud as itself" in text
