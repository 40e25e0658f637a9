"""Keys that clouds make: of IAM users, of service accounts, of applications and of storage accounts."""

import base64
import json
import secrets
from collections.abc import Iterator
from typing import Any

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from keyturn.core.sensitive import SecretFields
from local.emulators.azure_management import AzureManagement
from local.emulators.azure_management.directory import stamp
from local.emulators.gcp_iam import LocalGcpIam
from local.support.ports import free_port
from tests.crash.kinds.base import Kind, declared
from tests.crash.site import Site
from tests.strategies.azure import created, lists_containers, registered, signs_in
from tests.support.lab import Declared, fresh

IDENTITY = "Action=GetCallerIdentity&Version=2011-06-15"
PROJECT = "ml-project"
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
LIFE = 180 * 86_400
"""Seconds."""


class IamKey(Kind):
    """One access key of an IAM user, who may have two."""

    name = "aws-iam-key"
    modules = ("aws.iam",)
    changes = frozenset({"access_key_id", "secret_access_key"})

    def prepare(self, site: Site) -> None:
        self.endpoint = site.aws.endpoint_url
        self.iam = site.aws_client("iam")

    def make(self, site: Site) -> Declared:
        user = fresh()
        self.iam.create_user(UserName=user)
        key = self.iam.create_access_key(UserName=user)["AccessKey"]
        first = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"], "bucket": "models"}
        target_settings = {"kind": "aws-iam", "endpoint_url": self.endpoint}
        return declared(
            site, first, {"strategy": "aws-iam-key", "target": "cloud", "user": user}, cloud=target_settings
        )

    def works(self, site: Site, fields: SecretFields) -> bool:
        asked = AWSRequest("POST", self.endpoint, data=IDENTITY)
        asked.headers["Content-Type"] = "application/x-www-form-urlencoded"
        plain = fields.reveal()
        SigV4Auth(Credentials(plain["access_key_id"], plain["secret_access_key"]), "sts", "us-east-1").add_auth(asked)
        answer = requests.post(self.endpoint, IDENTITY, headers=dict(asked.headers.items()), timeout=10)
        assert answer.status_code in (200, 403)
        return answer.status_code == 200

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        listed = self.iam.list_access_keys(UserName=secret.data["rotation"]["user"])["AccessKeyMetadata"]
        if [key["AccessKeyId"] for key in listed] != [current["access_key_id"].reveal()]:
            yield f"{len(listed)} access keys"


class ServiceAccountKey(Kind):
    """One key of a service account."""

    name = "gcp-service-account-key"
    modules = ("gcp.iam",)
    changes = frozenset({"credentials_json"})

    def prepare(self, site: Site) -> None:
        server = site.server("gcp-iam", lambda: LocalGcpIam(site.directory(), free_port()), lambda server: server.port)
        self.endpoint = server.endpoint
        self.accounts = f"http://{server.endpoint}/v1/projects/{PROJECT}/serviceAccounts"

    def make(self, site: Site) -> Declared:
        account = self._ask("POST", "", {"accountId": f"app-{secrets.token_hex(6)}"})["email"]
        key_file = base64.b64decode(self._ask("POST", f"/{account}/keys")["privateKeyData"]).decode()
        first = {"credentials_json": key_file, "bucket": "models"}
        rotation = {"strategy": "gcp-service-account-key", "target": "cloud", "service_account": account}
        return declared(site, first, rotation, cloud={"kind": "gcp-iam", "project": PROJECT, "endpoint": self.endpoint})

    def works(self, site: Site, fields: SecretFields) -> bool:
        key_file = {**key_file_of(fields), "token_uri": f"http://{self.endpoint}/token"}
        made: Any = service_account.Credentials.from_service_account_info(key_file, scopes=SCOPES)  # type: ignore[no-untyped-call]
        try:
            made.refresh(Request())
        except RefreshError as error:
            if error.args[1]["error"] != "invalid_grant":
                raise
            return False
        return True

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        account = secret.data["rotation"]["service_account"]
        listed = self._ask("GET", f"/{account}/keys?keyTypes=USER_MANAGED").get("keys", [])
        if [key["name"].rpartition("/")[2] for key in listed] != [key_file_of(current)["private_key_id"]]:
            yield f"{len(listed)} keys"

    def _ask(self, method: str, path: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = requests.request(method, f"{self.accounts}{path}", json=document, timeout=10)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told


def key_file_of(fields: SecretFields) -> dict[str, Any]:
    """The key file that a version holds."""
    found: dict[str, Any] = json.loads(fields["credentials_json"].reveal())
    return found


class InAzure(Kind):
    """What the local Azure keeps, which Keyturn signs in to by the environment."""

    def prepare(self, site: Site) -> None:
        self.azure = site.server("azure", lambda: AzureManagement(site.directory()), lambda server: server.url)
        self.where = {"endpoint": self.azure.url, "authority": self.azure.url, "ca_file": self.azure.ca_file}
        for name, value in self.azure.environment().items():
            site.environment.setenv(name, value)


class AppSecret(InAzure):
    """One secret of an application."""

    name = "azure-app-secret"
    modules = ("azure.graph",)
    changes = frozenset({"client_secret", "key_id"})

    def make(self, site: Site) -> Declared:
        application, now = registered(self.azure), site.now.timestamp() - LIFE / 2
        made = application.add("by hand", stamp(now), stamp(now + LIFE), now)
        first = {
            "client_id": application.app_id,
            "client_secret": made.secret,
            "key_id": made.key_id,
            "expires_at": made.end,
        }
        rotation = {"strategy": "azure-app-secret", "target": "directory", "application": application.app_id}
        return declared(site, first, rotation, directory={"kind": "microsoft-graph", **self.where})

    def works(self, site: Site, fields: SecretFields) -> bool:
        return signs_in(self.azure, fields)

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        application = self.azure.emulator.sign_in.registrations[secret.first["client_id"]]
        if [one.key_id for one in application.passwords] != [current["key_id"].reveal()]:
            yield f"{len(application.passwords)} secrets"


class StorageKey(InAzure):
    """The two keys of a storage account, of which one serves and nobody knows the other."""

    name = "azure-storage-key"
    modules = ("azure.resource_manager",)
    changes = frozenset({"key_name", "account_key", "connection_string"})

    def make(self, site: Site) -> Declared:
        account = created(self.azure, fresh())
        key = account.keys["key1"].value
        first = {"account_name": account.name, "key_name": "key1", "account_key": key, "container": "models"}
        first["connection_string"] = self._connection_string(account.name, key)
        rotation = {"strategy": "azure-storage-key", "target": "cloud", "resource_group": account.group}
        target = {"kind": "azure-resource-manager", "subscription": self.azure.subscription, **self.where}
        return declared(site, first, {**rotation, "account": account.name}, cloud=target)

    def works(self, site: Site, fields: SecretFields) -> bool:
        """At the service itself: the address that the rotation was told leads through its proxy."""
        own = self._connection_string(fields["account_name"].reveal(), fields["account_key"].reveal())
        return lists_containers(self.azure, SecretFields({"connection_string": own}))

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        keys = self.azure.emulator.storage.accounts[secret.first["account_name"]].keys
        if keys[current["key_name"].reveal()].value != current["account_key"].reveal():
            yield "the name in CURRENT is the other key's"
        if not current["connection_string"].reveal().endswith(f"AccountKey={current['account_key'].reveal()}"):
            yield "the connection string holds another key"

    def _connection_string(self, account: str, key: str) -> str:
        return f"BlobEndpoint={self.azure.url}/blob/{account}/;AccountName={account};AccountKey={key}"
