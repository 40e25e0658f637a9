"""Eight stores at once, each a real server or an emulator, and what anybody finds there with the service's client."""

import base64
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
import hvac
import kubernetes.client
import pytest
import trustme
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.secrets import SecretClient
from google.api_core import exceptions as api
from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.types import SecretVersion
from hvac.exceptions import InvalidPath
from kubernetes.client.exceptions import ApiException

from local.emulators import azure_key_vault
from local.emulators import kubernetes as local_kubernetes
from local.emulators.aws import LocalAws
from local.emulators.github import LocalGitHub
from local.openbao import OpenBao
from local.support.ports import free_port
from tests.deployments.emulators.test_gcp_secret_manager import connected, running
from tests.providers.azure.test_store import CLIENT_SECRET, DIRECTORY, credential_for
from tests.providers.kubernetes.test_store import api as kubernetes_api
from tests.providers.vault.test_store import REVOKER, STORE, token_with
from tests.support import local_aws
from tests.support.mounts import make_kv

REGION: Final = "eu-central-1"
PROJECT: Final = "keyturn-revocation"
NAMESPACE: Final = "apps"
REPOSITORY: Final = "octo/app"
FORBIDDEN: Final = 403
"""What Key Vault answers for a version that is disabled."""
NOT_FOUND: Final = 404

Given = dict[str, str]
"""Every text that a store gives for a secret, by the store's own names of its versions; what it serves under ""."""


@dataclass(frozen=True)
class Place:
    """One store: its entry in the catalogue, the form of names there, and who asks it without Keyturn.

    ``keeps`` says that the service itself removes no old version, and gives it still, whatever Keyturn does.
    """

    name: str
    settings: Mapping[str, Any]
    ask: Callable[[str], Given]
    remote: Callable[[str], str] = lambda path: path.replace("/", "-")
    keeps: bool = False


@dataclass(frozen=True)
class Eight:
    """All of them, open."""

    places: tuple[Place, ...]

    def stores(self) -> dict[str, Any]:
        """The catalogue's stores, as fast as they take it."""
        return {one.name: {**one.settings, "writes_per_second": 100_000} for one in self.places}

    def destinations(self, path: str) -> list[dict[str, Any]]:
        """A copy in each."""
        return [{"store": one.name, "name": one.remote(path)} for one in self.places]

    def given(self, path: str) -> dict[str, Given]:
        """What each of them gives for the copies of a secret."""
        return {one.name: one.ask(one.remote(path)) for one in self.places}


NAMES: Final = (
    "aws",
    "parameters",
    "azure",
    "gcp",
    "kubernetes",
    "vault",
    "github",
    "files",
)


@contextmanager
def opened(openbao: OpenBao, directory: Path) -> Iterator[Eight]:
    """Start what does not run yet, and lead this process to it and to nothing else."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        pki = certificates(directory)
        aws = stack.enter_context(LocalAws(made(directory / "aws"), free_port()))
        local_aws.use(aws, patch)
        yield Eight(
            (
                secrets_manager(aws),
                parameter_store(aws),
                stack.enter_context(key_vault(directory, pki, patch)),
                stack.enter_context(secret_manager(made(directory / "gcp"))),
                stack.enter_context(cluster(directory, pki)),
                stack.enter_context(second_vault(openbao, directory)),
                stack.enter_context(actions(made(directory / "github"))),
                files(directory / "copies"),
            )
        )


def made(directory: Path) -> Path:
    """The directory, which is there afterwards."""
    directory.mkdir()
    return directory


def certificates(directory: Path) -> Path:
    """A certificate for loopback, its key, and the authority that signed it."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    issued.private_key_pem.write_to_path(directory / "key.pem")
    issued.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    return directory


# --- each of them ------------------------------------------------------------------------------------------


def secrets_manager(server: LocalAws) -> Place:
    """Whose old versions are given by their id until AWS deletes them."""
    client: Any = boto3.Session().client("secretsmanager", region_name=REGION, endpoint_url=server.endpoint_url)

    def ask(name: str) -> Given:
        try:
            told = client.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)["Versions"]
        except client.exceptions.ResourceNotFoundException:
            return {}
        ids = [version["VersionId"] for version in told if "AWSCURRENT" not in version.get("VersionStages", ())]
        given = {one: client.get_secret_value(SecretId=name, VersionId=one)["SecretString"] for one in ids}
        return {**given, "": client.get_secret_value(SecretId=name)["SecretString"]}

    settings = {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": server.endpoint_url}
    return Place("aws", settings, ask, keeps=True)


def parameter_store(server: LocalAws) -> Place:
    """Whose history goes only with the parameter."""
    client: Any = boto3.Session().client("ssm", region_name=REGION, endpoint_url=server.endpoint_url)

    def ask(name: str) -> Given:
        try:
            history = client.get_parameter_history(Name=name, WithDecryption=True)["Parameters"]
            served = client.get_parameter(Name=name, WithDecryption=True)["Parameter"]
        except client.exceptions.ParameterNotFound:
            return {}
        old = {str(one["Version"]): one["Value"] for one in history if one["Version"] != served["Version"]}
        return {**old, "": served["Value"]}

    settings = {"kind": "aws-parameter-store", "region": REGION, "endpoint_url": server.endpoint_url}
    return Place("parameters", settings, ask, remote=lambda path: f"/{path}", keeps=True)


@contextmanager
def key_vault(directory: Path, pki: Path, patch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Which gives disabled versions to nobody."""
    for name, value in (("TENANT_ID", DIRECTORY.tenant_id), ("CLIENT_ID", "keyturn"), ("CLIENT_SECRET", CLIENT_SECRET)):
        patch.setenv(f"AZURE_{name}", value)
    emulator = azure_key_vault.Emulator(directory / "key-vault", DIRECTORY)
    trust: dict[str, Any] = {"verify_challenge_resource": False, "connection_verify": str(pki / "ca.pem")}
    with (
        azure_key_vault.Server(emulator, pki / "cert.pem", pki / "key.pem") as server,
        credential_for(pki, server.url, "keyturn") as credential,
        SecretClient(server.url, credential, **trust) as client,
    ):

        def ask(name: str) -> Given:
            try:
                versions = [one.version or "" for one in client.list_properties_of_secret_versions(name)]
                served = client.get_secret(name)
            except ResourceNotFoundError:
                return {}
            old = [one for one in versions if one != served.properties.version]
            return {**{one: text for one in old if (text := one_of(name, one))}, "": served.value or ""}

        def one_of(name: str, version: str) -> str:
            try:
                return client.get_secret(name, version).value or ""
            except HttpResponseError as error:
                if error.status_code != FORBIDDEN:
                    raise
                return ""

        ca_file = str(pki / "ca.pem")
        settings = {"kind": "azure-key-vault", "vault_url": server.url, "authority": server.url, "ca_file": ca_file}
        yield Place("azure", settings, ask)


@contextmanager
def secret_manager(directory: Path) -> Iterator[Place]:
    """Which gives what is enabled."""
    port = free_port()
    with running(port, directory), connected(port) as client:
        settings = {"kind": "gcp-secret-manager", "project": PROJECT, "endpoint": f"127.0.0.1:{port}"}
        yield Place("gcp", settings, lambda name: given_by_google(client, name))


def given_by_google(client: SecretManagerServiceClient, name: str) -> Given:
    """Every version that can be accessed: one that is disabled could be enabled by whoever may do that."""
    path = f"projects/{PROJECT}/secrets/{name}"
    try:
        versions = list(client.list_secret_versions(parent=path))
        served = client.access_secret_version(name=f"{path}/versions/latest")
    except api.NotFound:
        return {}
    given = {}
    for one in versions:
        assert one.state != SecretVersion.State.DISABLED, "anyone who may enable versions can restore it"
        if one.state == SecretVersion.State.ENABLED and one.name != served.name:
            given[one.name.rpartition("/")[2]] = client.access_secret_version(name=one.name).payload.data.decode()
    return {**given, "": served.payload.data.decode()}


@contextmanager
def cluster(directory: Path, pki: Path) -> Iterator[Place]:
    """Where annotations may hold what the data held before."""
    accounts = (local_kubernetes.Account("keyturn", "keyturn's token"),)
    emulator = local_kubernetes.Emulator(made(directory / "cluster"), accounts, namespaces=(NAMESPACE,))
    (directory / "kubernetes-token").write_text("keyturn's token\n")
    with (
        local_kubernetes.Server(emulator, pki / "cert.pem", pki / "key.pem") as server,
        kubernetes_api(server, pki) as connection,
    ):
        client: Any = kubernetes.client.CoreV1Api(connection)

        def ask(name: str) -> Given:
            try:
                told = client.read_namespaced_secret(name, NAMESPACE)
            except ApiException as error:
                if error.status != NOT_FOUND:
                    raise
                return {}
            data = {key: base64.b64decode(text).decode() for key, text in (told.data or {}).items()}
            return {"annotations": json.dumps(told.metadata.annotations), "": json.dumps(data)}

        settings = {"kind": "kubernetes", "namespace": NAMESPACE, "server": server.url}
        signing_in = {"ca_file": str(pki / "ca.pem"), "token_file": str(directory / "kubernetes-token")}
        yield Place("kubernetes", {**settings, **signing_in}, ask)


@contextmanager
def second_vault(openbao: OpenBao, directory: Path) -> Iterator[Place]:
    """A mount of its own, used with the rights of the policies that are shipped and no others."""
    client: Any = hvac.Client(url=openbao.address, token=openbao.root_token)
    mount, kv = f"kv-{secrets.token_hex(4)}", client.secrets.kv.v2
    make_kv(client, mount)

    def ask(name: str) -> Given:
        try:
            told = kv.read_secret_metadata(name, mount_point=mount)["data"]
        except InvalidPath:
            return {}
        numbers = [number for number, one in told["versions"].items() if not one["destroyed"]]
        texts = {number: read(name, int(number)) for number in numbers}
        return {"" if int(number) == told["current_version"] else number: text for number, text in texts.items()}

    def read(name: str, number: int) -> str:
        # One that is deleted can be undeleted, and would raise here.
        told = kv.read_secret_version(name, version=number, mount_point=mount, raise_on_deleted_version=True)
        return json.dumps(told["data"]["data"])

    file = token_with(client, mount, directory / "vault-token", STORE, REVOKER)
    yield Place("vault", {"kind": "vault", "address": openbao.address, "mount": mount, "token_file": str(file)}, ask)
    client.sys.disable_secrets_engine(mount)


@contextmanager
def actions(directory: Path) -> Iterator[Place]:
    """Which gives values to workflows alone."""
    with LocalGitHub(directory, free_port(), f"--repository={REPOSITORY}") as server:

        def ask(name: str) -> Given:
            seen = server.workflow_sees(REPOSITORY, name)
            return {} if seen is None else {"": seen}

        settings = {"kind": "github-actions", "repository": REPOSITORY, "api_url": server.api_url}
        signing_in = {"token_file": str(server.token_file)}
        yield Place("github", {**settings, **signing_in}, ask, remote=lambda path: path.replace("/", "_").upper())


def files(directory: Path) -> Place:
    """Whatever lies in the directory under the name, hidden files too."""

    def ask(name: str) -> Given:
        found = sorted(directory.glob(f"*{name}*")) + sorted(directory.glob(f".*{name}*"))
        return {"" if one.name == name else one.name: one.read_text() for one in found}

    return Place("files", {"kind": "file", "directory": str(directory)}, ask)
