"""The worker and the revoker of a local stack have just the rendered rights in each cloud, which refuses the rest."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Final

import boto3
import kubernetes.client
import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient
from botocore.exceptions import ClientError
from google.api_core import exceptions as api
from kubernetes.client.exceptions import ApiException

from keyturn.catalogue import Catalogue, load_catalogue
from keyturn.catalogue.destinations import Destination
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import Sensitive
from keyturn.doctor import elsewhere
from keyturn.providers.gcp.client import open_client
from keyturn.rights.accounts import target_documents
from keyturn.rights.copies import store_documents
from keyturn.wiring.registry import open_store
from local import environment
from local.home import Stack
from local.services import SERVICES
from local.stack import down, up
from local.support.cloud_rights import CLOUD_LOGINS, narrow_clouds

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]

CLOUDS: Final = tuple(service for service in SERVICES if service.name in ("aws", "azure", "gcp", "kubernetes"))
OTHERS: Final = "of-somebody-else"
ELSEWHERE: Final = {
    "KEYTURN_TRAINER_URL": "https://127.0.0.1:1",
    "KEYTURN_INFERENCE_URL": "https://127.0.0.1:1",
}


class Site:
    """The clouds of a stack with every copy of the example's catalogue, and secrets of somebody else."""

    def __init__(self, stack: Stack, patch: pytest.MonkeyPatch) -> None:
        self.stack = stack
        self.patch = patch
        for name, value in self.variables().items():
            patch.setenv(name, value)
        for place in ("aws", "azure", "gcp", "cluster", "parameters"):
            with_everything = open_store(place, self.catalogue.stores[place])
            for secret in self.catalogue.secrets:
                for copy in self.catalogue.destinations(secret):
                    if isinstance(copy, Destination) and copy.store == place:
                        marks = OwnershipTags(secret, 1, "0" * 64)
                        with_everything.write(copy.name, Sensitive('{"a":"b"}'), marks, None)
            with_everything.close()
        for attack in MAKE.values():
            attack(self)
        documents = {
            made.name: made.text
            for made in (*store_documents(self.catalogue, "a test"), *target_documents(self.catalogue, "a test"))
        }
        for login in CLOUD_LOGINS:
            narrow_clouds(stack, login, documents)

    def variables(self) -> dict[str, str]:
        """What leads to the clouds, with the logins of an administrator."""
        stack = self.stack
        clouds = (environment.aws, environment.azure, environment.gcp, environment.kubernetes)
        return ELSEWHERE | {name: value for cloud in clouds for name, value in cloud(stack).items()}

    @property
    def catalogue(self) -> Catalogue:
        """The example, as a process with the login in use reads it."""
        return load_catalogue(environment.ROOT / "deployments" / "catalogue", dict(os.environ))

    def sign_in(self, login: str) -> None:
        """Be the worker or the revoker from now on."""
        for name, value in (self.variables() | environment.cloud_login(self.stack, CLOUD_LOGINS[login])).items():
            self.patch.setenv(name, value)

    def aws(self, service: str) -> Any:
        """AWS's own client, with the login in use."""
        session: Any = boto3.Session()
        return session.client(service)

    def azure(self) -> SecretClient:
        """Azure's own client, with the login in use."""
        trust: dict[str, Any] = {"connection_verify": environment.ca_file(self.stack)}
        address = self.stack.url("azure")
        names = (os.environ[f"AZURE_{name}"] for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET"))
        credential = ClientSecretCredential(*names, authority=address, disable_instance_discovery=True, **trust)
        return SecretClient(address, credential, verify_challenge_resource=False, **trust)

    def gcp(self) -> Any:
        """Google's own client, with the login in use."""
        store: Any = self.catalogue.stores["gcp"]
        return open_client("gcp", None, store.endpoint, store.ca_file, store.token_file)

    def kubernetes(self) -> Any:
        """The cluster's own client, with the login in use."""
        store: Any = self.catalogue.stores["cluster"]
        made = kubernetes.client.Configuration(host=store.server, ssl_ca_cert=store.ca_file)
        with open(store.token_file) as file:
            made.api_key["BearerToken"] = f"Bearer {file.read()}"
        return kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(made))


PROJECT: Final = f"projects/{environment.PROJECT}"
Act = Callable[[Site], Any]
MAKE: Final[dict[str, Act]] = {
    "secrets manager": lambda site: site.aws("secretsmanager").create_secret(Name=OTHERS, SecretString="theirs"),
    "parameter store": lambda site: site.aws("ssm").put_parameter(Name=f"/{OTHERS}", Value="theirs", Type="String"),
    "azure": lambda site: site.azure().set_secret(OTHERS, "theirs"),
    "gcp": lambda site: site.gcp().create_secret(
        parent=PROJECT, secret_id=OTHERS, secret={"replication": {"automatic": {}}}
    ),
    "kubernetes": lambda site: site.kubernetes().create_namespaced_secret("ml", {"metadata": {"name": OTHERS}}),
}
BEYOND: Final[dict[str, Act]] = {
    "read a secret of AWS": lambda site: site.aws("secretsmanager").get_secret_value(SecretId=OTHERS),
    "give itself rights in AWS": lambda site: site.aws("iam").put_user_policy(
        UserName="keyturn-worker", PolicyName="p", PolicyDocument='{"Statement": []}'
    ),
    "make a key in AWS": lambda site: site.aws("iam").create_access_key(UserName="bootstrap"),
    "read a parameter": lambda site: site.aws("ssm").get_parameter(Name=f"/{OTHERS}"),
    "read a secret of Azure": lambda site: site.azure().get_secret(OTHERS),
    "make a secret in Azure": lambda site: site.azure().set_secret("another", "x"),
    "read a secret's metadata of Google": lambda site: site.gcp().get_secret(name=f"{PROJECT}/secrets/{OTHERS}"),
    "set a policy of Google": lambda site: site.gcp().set_iam_policy(
        request={"resource": f"{PROJECT}/secrets/ml-api-keys"}
    ),
    "read a Secret": lambda site: site.kubernetes().read_namespaced_secret(OTHERS, "ml"),
    "list Secrets elsewhere": lambda site: site.kubernetes().list_namespaced_secret("default"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("stack") / "home"
    with pytest.MonkeyPatch.context() as patch:
        yield Site(up(home, lambda stack: None, services=CLOUDS), patch)
    down(home, services=CLOUDS)


@pytest.mark.parametrize("login", CLOUD_LOGINS)
def test_a_login_has_exactly_what_the_catalogue_needs(site: Site, login: str) -> None:
    site.sign_in(login)
    answers = elsewhere.ask_everyone(site.catalogue, login)
    assert {answer.where for answer in answers} == {f"store {name}" for name in ("aws", "parameters", "gcp", "cluster")}
    assert [(answer.where, answer.finding, answer.verdict) for answer in answers if answer.finding] == []


@pytest.mark.parametrize("login", CLOUD_LOGINS)
@pytest.mark.parametrize("attack", BEYOND.values(), ids=BEYOND)
def test_a_call_beyond_that_is_refused_by_the_cloud(site: Site, login: str, attack: Act) -> None:
    site.sign_in(login)
    with pytest.raises((ClientError, HttpResponseError, api.PermissionDenied, ApiException)) as refused:
        attack(site)
    text = str(refused.value)
    assert "AccessDenied" in text or "403" in text or "Forbidden" in text


def test_the_worker_deletes_no_copy_and_the_revoker_does(site: Site) -> None:
    calls: tuple[Act, ...] = (
        lambda site: site.azure().begin_delete_secret("ml-api-keys"),
        lambda site: site.gcp().delete_secret(name=f"{PROJECT}/secrets/ml-api-keys"),
        lambda site: site.aws("secretsmanager").delete_secret(SecretId="ml-api-keys"),
    )
    site.sign_in("worker")
    for call in calls:
        with pytest.raises((ClientError, HttpResponseError, api.PermissionDenied)):
            call(site)
    site.sign_in("revoker")
    for call in calls:
        call(site)


def test_google_cloud_lets_no_one_in_without_a_token(site: Site) -> None:
    site.sign_in("worker")
    store: Any = site.catalogue.stores["gcp"]
    client = open_client("gcp", None, store.endpoint, store.ca_file)
    with closing(client.transport), pytest.raises(api.Unauthenticated):
        client.list_secrets(parent=PROJECT)
