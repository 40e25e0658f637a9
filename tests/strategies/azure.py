"""The local Microsoft Graph, Azure Resource Manager and storage, as tests use them."""

import base64
import hmac
from datetime import timedelta
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

import requests

from keyturn.catalogue import Catalogue
from keyturn.core.sensitive import SecretFields
from keyturn.providers.azure.graph import MicrosoftGraph
from keyturn.providers.azure.resource_manager import AzureResourceManager
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.registry import open_workspace
from local.emulators.azure_management import AzureManagement, Caller, Registration, StorageAccount
from tests.support.lab import Lab, fresh

POWERLESS = Caller("powerless", "a secret of the powerless", frozenset())
"""Signs in and may do nothing."""

LIFE = timedelta(days=180)
SHORT = (0.02, 0.02)
"""Seconds to wait for what is late, where it is not the subject."""


def graph(azure: AzureManagement, **options: Any) -> MicrosoftGraph:
    """The adapter, which waits only for moments."""
    where = {"endpoint": azure.url, "authority": azure.url, "ca_file": azure.ca_file, "tenant": azure.tenant_id}
    return MicrosoftGraph("graph", **{**where, "login_pauses": SHORT, "absence_pauses": SHORT, **options})


def manager(azure: AzureManagement, **options: Any) -> AzureResourceManager:
    """The adapter, which waits only for moments."""
    where = {"endpoint": azure.url, "authority": azure.url, "ca_file": azure.ca_file}
    return AzureResourceManager("arm", **{"subscription": azure.subscription, **where, "pauses": SHORT, **options})


def registered(azure: AzureManagement, **facts: Any) -> Registration:
    """A fresh application that Keyturn owns."""
    return azure.emulator.register(Registration(owners=frozenset({"keyturn"}), **facts))


def created(azure: AzureManagement, name: str, **facts: Any) -> StorageAccount:
    """A fresh storage account."""
    return azure.emulator.create(StorageAccount(name, **facts))


def signs_in(azure: AzureManagement, fields: SecretFields) -> bool:
    """Whether the sign-in gives an application a token for this id and secret."""
    form = {
        "grant_type": "client_credentials",
        "client_id": fields["client_id"].reveal(),
        "client_secret": fields["client_secret"].reveal(),
        "scope": f"{azure.url}/.default",
    }
    answer = requests.post(
        f"{azure.url}/{azure.tenant_id}/oauth2/v2.0/token", data=form, verify=azure.ca_file, timeout=10
    )
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


def lists_containers(azure: AzureManagement, fields: SecretFields) -> bool:
    """Whether the blob service takes the key, told what it is by the connection string alone, as applications are."""
    parts = dict(part.split("=", 1) for part in fields["connection_string"].reveal().split(";"))
    endpoint, account = parts["BlobEndpoint"], parts["AccountName"]
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    own = "".join(f"{name}:{text}\n" for name, text in sorted(headers.items()))
    message = "GET" + "\n" * 12 + f"{own}/{account}{urlsplit(endpoint).path}\ncomp:list"
    signature = base64.b64encode(hmac.digest(base64.b64decode(parts["AccountKey"]), message.encode(), "sha256"))
    answer = requests.get(
        f"{endpoint}?comp=list",
        headers={**headers, "Authorization": f"SharedKey {account}:{signature.decode()}"},
        verify=azure.ca_file,
        timeout=10,
    )
    assert answer.status_code in (200, 403)
    return answer.status_code == 200


def workspace_for(lab: Lab, azure: AzureManagement, first: SecretFields, **rotation: Any) -> tuple[Workspace, str]:
    """A Keyturn over one secret in the real hub that ``rotation`` replaces at these services, and its path."""
    path = f"tests/{fresh()}"
    lab.hub.write(path, first, cas=0)
    where = {"endpoint": azure.url, "authority": azure.url, "ca_file": azure.ca_file}
    targets = {
        "directory": {"kind": "microsoft-graph", **where},
        "cloud": {"kind": "azure-resource-manager", "subscription": azure.subscription, **where},
    }
    declared = {
        "path": path,
        "owner": "tests@example.com",
        "classification": "internal",
        "rotation": {"interval": "30d", "grace": "0s", **rotation},
    }
    catalogue = Catalogue.model_validate({"targets": targets, "secrets": {path: declared}})
    return open_workspace(catalogue, lab.hub), path


def current(lab: Lab, path: str) -> SecretFields:
    """What consumers read."""
    found = lab.hub.read(path)
    assert found is not None
    return found.fields
