"""An estate as it has grown: a mount of the hub, three clouds with copies that people have made, and what misleads."""

import base64
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import boto3
import hvac
import pytest
from azure.keyvault.secrets import SecretClient
from google.cloud.secretmanager_v1 import SecretManagerServiceClient

from local.emulators import azure_key_vault
from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.deployments.emulators.test_gcp_secret_manager import connected, running
from tests.providers.azure.test_store import CLIENT_SECRET, DIRECTORY, credential_for
from tests.revocation.eight import certificates, made
from tests.support import local_aws
from tests.support.mounts import make_kv
from tests.support.world import World

REGION: Final = "eu-central-1"
PROJECT: Final = "keyturn-inventory"

Put = Callable[[str, str], Any]


@dataclass
class Cloud:
    """One store: its settings, how somebody without Keyturn writes there and reads, and what it calls a path."""

    name: str
    settings: Mapping[str, Any]
    put: Put
    read: Callable[[str], str]
    spell: Callable[[str], str]


@dataclass
class Estate:
    """The hub's mount, and the clouds. ``copies`` are what is to be found: path and form, by store and name."""

    root: hvac.Client
    mount: str
    clouds: list[Cloud]
    copies: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    stale: dict[tuple[str, str], str] = field(default_factory=dict)
    decoys: set[tuple[str, str]] = field(default_factory=set)

    def write(self, path: str, fields: Mapping[str, Any]) -> None:
        """One more version of a secret of the hub."""
        self.root.secrets.kv.v2.create_or_update_secret(path, dict(fields), mount_point=self.mount)

    def stores(self) -> dict[str, Any]:
        """The catalogue's stores."""
        return {cloud.name: {**cloud.settings, "writes_per_second": 100_000} for cloud in self.clouds}


@contextmanager
def opened(world: World, directory: Path) -> Iterator[Estate]:
    """Empty: a mount of its own, and three local clouds, to which this process's environment leads."""
    root, mount = world.root(), f"kv-{secrets.token_hex(4)}"
    make_kv(root, mount)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        clouds = [
            aws(stack.enter_context(LocalAws(made(directory / "aws"), free_port())), patch),
            stack.enter_context(azure(directory, patch)),
            stack.enter_context(gcp(made(directory / "gcp"))),
        ]
        yield Estate(root, mount, clouds)
    root.sys.disable_secrets_engine(mount)


def aws(server: LocalAws, patch: pytest.MonkeyPatch) -> Cloud:
    """Names with slashes."""
    local_aws.use(server, patch)
    client: Any = boto3.Session().client("secretsmanager", region_name=REGION, endpoint_url=server.endpoint_url)
    settings = {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": server.endpoint_url}
    return Cloud(
        "aws",
        settings,
        lambda name, text: client.create_secret(Name=name, SecretString=text),
        lambda name: str(client.get_secret_value(SecretId=name)["SecretString"]),
        lambda path: f"prod/{path}",
    )


@contextmanager
def azure(directory: Path, patch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Names of letters, digits and hyphens."""
    for name, value in (("TENANT_ID", DIRECTORY.tenant_id), ("CLIENT_ID", "keyturn"), ("CLIENT_SECRET", CLIENT_SECRET)):
        patch.setenv(f"AZURE_{name}", value)
    pki = certificates(directory)
    emulator = azure_key_vault.Emulator(directory / "key-vault", DIRECTORY)
    trust: dict[str, Any] = {"verify_challenge_resource": False, "connection_verify": str(pki / "ca.pem")}
    with (
        azure_key_vault.Server(emulator, pki / "cert.pem", pki / "key.pem") as server,
        credential_for(pki, server.url, "keyturn") as credential,
        SecretClient(server.url, credential, **trust) as client,
    ):
        ca_file = str(pki / "ca.pem")
        settings = {"kind": "azure-key-vault", "vault_url": server.url, "authority": server.url, "ca_file": ca_file}
        yield Cloud(
            "azure",
            settings,
            client.set_secret,
            lambda name: client.get_secret(name).value or "",
            lambda path: path.replace("/", "-").replace("_", "-"),
        )


@contextmanager
def gcp(directory: Path) -> Iterator[Cloud]:
    """Names without slashes."""
    port = free_port()
    with running(port, directory) as _, connected(port) as client:
        settings = {"kind": "gcp-secret-manager", "project": PROJECT, "endpoint": f"127.0.0.1:{port}"}
        yield Cloud(
            "gcp",
            settings,
            lambda name, text: put_google(client, name, text),
            lambda name: read_google(client, name),
            lambda path: path.replace("/", "_"),
        )


def put_google(client: SecretManagerServiceClient, name: str, text: str) -> None:
    """A secret with one version."""
    secret: dict[str, Any] = {"replication": {"automatic": {}}}
    parent = client.create_secret(
        request={"parent": f"projects/{PROJECT}", "secret_id": name, "secret": secret},
    ).name
    client.add_secret_version(request={"parent": parent, "payload": {"data": text.encode()}})


def read_google(client: SecretManagerServiceClient, name: str) -> str:
    """What an application reads."""
    latest = f"projects/{PROJECT}/secrets/{name}/versions/latest"
    return client.access_secret_version(name=latest).payload.data.decode()


# --- what is in it


def secret_of(number: int) -> dict[str, Any]:
    """The fields of one of many secrets: logins, keys, certificates, and what holds nothing secret at all."""
    common = {"env": "prod", "debug": "false", "region": REGION}
    kinds: list[dict[str, Any]] = [
        {"username": f"app_{number}", "password": secrets.token_urlsafe(18), "host": "db.example.com", "port": 5432},
        {"api_key": secrets.token_hex(20), **common},
        {"value": secrets.token_urlsafe(30)},
        {"access_key_id": f"AKIA{secrets.token_hex(8).upper()}", "secret_access_key": secrets.token_urlsafe(30)},
        {"session_secret": secrets.token_hex(32), "note": "changeme"},
    ]
    return kinds[number % len(kinds)]


def fill(estate: Estate, paths: int, copies: int, stale: int, decoys: int) -> None:
    """So many paths, of which every other has a copy in turn; old copies; and what holds what everybody writes."""
    held = {f"team-{n % 7}/service-{n}/{('db', 'partner', 'token', 'uploads', 'web')[n % 5]}": n for n in range(paths)}
    fields = {path: secret_of(n) for path, n in held.items()}
    chosen = list(fields)
    for path in chosen[-stale:]:
        estate.write(path, fields[path])
        put_stale(estate, path, fields[path])
        fields[path] = secret_of(held[path])
    for path, content in fields.items():
        estate.write(path, content)
    for n in range(copies):
        put_copy(estate, chosen[n * 2 % (paths - stale)], fields[chosen[n * 2 % (paths - stale)]], n)
    for path in ("shop/defaults", "shop/legacy/defaults"):
        estate.write(path, {"username": "admin", "password": "changeme"})
    for n in range(decoys):
        put_decoy(estate, n)


def put_copy(estate: Estate, path: str, fields: Mapping[str, Any], number: int) -> None:
    """One copy: all of it or one field, under the path's name or another, as people write it."""
    cloud = estate.clouds[number % 3]
    renamed = number % 4 == 3
    name = f"legacy-{secrets.token_hex(4)}" if renamed else f"{cloud.spell(path)}{'' if number < 60 else '-2'}"
    field, text = shaped(fields, number)
    cloud.put(name, text)
    estate.copies[cloud.name, name] = (path, field)


def shaped(fields: Mapping[str, Any], number: int) -> tuple[str, str]:
    """The text of a copy, and the one field that it is of; empty for all of them, ``*`` for some."""
    strong = next(
        name for name in ("password", "api_key", "value", "secret_access_key", "session_secret") if name in fields
    )
    match number % 5:
        case 0:
            return strong, fields[strong]
        case 1 if len(fields) > 2:
            return "*", json.dumps({f"APP_{strong.upper()}": fields[strong]})
        case 2:
            return strong, base64.b64encode(fields[strong].encode()).decode()
        case 3:
            return "", json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        case _:
            return "", json.dumps(fields, indent=2)


def put_stale(estate: Estate, path: str, fields: Mapping[str, Any]) -> None:
    """A copy that nobody has brought to the newest version."""
    cloud = estate.clouds[len(estate.stale) % 3]
    cloud.put(cloud.spell(path), json.dumps(fields))
    estate.stale[cloud.name, cloud.spell(path)] = path


def put_decoy(estate: Estate, number: int) -> None:
    """What is no copy, though its value stands in the hub too."""
    cloud = estate.clouds[number % 3]
    texts = ("changeme", "false", REGION, json.dumps({"username": "admin", "password": "changeme"}), "5432", "prod")
    name = f"decoy-{number}"
    cloud.put(name, texts[number % len(texts)])
    estate.decoys.add((cloud.name, name))
