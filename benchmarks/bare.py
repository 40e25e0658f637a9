"""The baseline for the benchmark of syncs: the SDKs' calls and nothing more. Each mode is a process of its own.

    python -m benchmarks.bare push|floor|naive|list PLACES    # names on the standard input, but for list

``push`` makes the calls that Keyturn makes to create and check a copy in each cloud, in 16 threads. ``naive`` reads
a secret, writes it to each cloud, and takes the next; ``floor`` makes the same calls in 16 threads. ``list`` fetches
every page of the three listings and of the hub's detailed metadata in parallel, and discards them. Each prints the
seconds that it took, and its peak memory.
"""

import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final

import boto3
import grpc
import hvac
import requests
from azure.core.exceptions import ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient
from botocore.config import Config
from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport
from hvac.adapters import RawAdapter
from hvac.exceptions import InvalidPath
from requests.adapters import HTTPAdapter

from benchmarks.processes import memory
from keyturn.providers.gcp.client import crc32c

THREADS: Final = 16
BATCH: Final = 50
CLOUDS: Final = 3
FOLDER: Final = "fleet"
REGION: Final = "eu-central-1"
PROJECT: Final = "benchmark"
DIGEST: Final = "0123456789abcdef" * 4


class Bare:
    """Clients of the hub and of the three clouds, shared by threads, as their SDKs make them."""

    def __init__(self, places: dict[str, Any]) -> None:
        config = Config(max_pool_connections=THREADS)
        url = f"http://127.0.0.1:{places['aws']}"
        self.aws = boto3.client("secretsmanager", region_name=REGION, endpoint_url=url, config=config)
        self.azure = _azure(f"https://localhost:{places['azure']}", places["ca"])
        channel = grpc.insecure_channel(f"127.0.0.1:{places['gcp']}", options=[("grpc.enable_http_proxy", 0)])
        transport = SecretManagerServiceGrpcTransport(channel=channel)
        self.gcp = SecretManagerServiceClient(transport=transport)
        with open(places["token"]) as token:
            url = f"http://127.0.0.1:{places['hub']}"
            self.hub = hvac.Client(url, token.read(), session=_session(), adapter=RawAdapter)

    def sign_in(self) -> None:
        """Request the vault's token before many threads do."""
        try:
            self.azure.get_secret("nothing")
        except ResourceNotFoundError:
            return

    def read(self, name: str) -> str:
        """The text of a secret of the hub."""
        answer = self.hub.secrets.kv.v2.read_secret_version(f"{FOLDER}/{name}", raise_on_deleted_version=True)
        return json.dumps(answer.json()["data"]["data"], sort_keys=True, separators=(",", ":"))

    def describe_from(self, name: str) -> None:
        """The hub's metadata of a batch of secrets, from this one on."""
        path, params = f"/v1/secret/detailed-metadata/{FOLDER}/", {"list": "true", "limit": str(BATCH), "after": name}
        with suppress(InvalidPath):  # what OpenBao answers if nothing is left
            self.hub.adapter.request("get", path, params=params).json()

    def create_in_aws(self, name: str, text: str) -> None:
        """A new secret, with its tags."""
        tags: Any = [{"Key": key, "Value": value} for key, value in _tags(name).items()]
        self.aws.create_secret(Name=name, ClientRequestToken=str(uuid.uuid4()), SecretString=text, Tags=tags)

    def to_azure(self, name: str, text: str) -> None:
        """Look, and set."""
        try:
            self.azure.get_secret(name)
        except ResourceNotFoundError:
            self.azure.set_secret(name, text, tags=_tags(name))

    def to_gcp(self, name: str, text: str) -> None:
        """Create, add a version, annotate."""
        made = self.create_in_gcp(name, text)
        marks = {**_tags(name), "keyturn-version": "1"}
        labels = {"keyturn-managed-by": marks.pop("keyturn-managed-by")}
        secret = {"name": made.name, "etag": made.etag, "labels": labels, "annotations": marks}
        request = {"secret": secret, "update_mask": {"paths": ["labels", "annotations"]}}
        self._gcp(self.gcp.update_secret, request)

    def create_in_gcp(self, name: str, text: str) -> Any:
        """A new secret, and its first version."""
        secret = {"replication": {"automatic": {}}, "labels": {"keyturn-managed-by": "keyturn"}}
        request = {"parent": f"projects/{PROJECT}", "secret_id": name, "secret": secret}
        made = self._gcp(self.gcp.create_secret, request)
        payload = {"data": text.encode(), "data_crc32c": crc32c(text.encode())}
        self._gcp(self.gcp.add_secret_version, {"parent": made.name, "payload": payload})
        return made

    def _gcp(self, rpc: Callable[..., Any], request: dict[str, Any]) -> Any:
        return rpc(request=request, retry=None, timeout=10)

    def push(self, names: list[str]) -> list[Callable[[], None]]:
        """All calls for the copies of these secrets: of each alone, and of a batch of them for each cloud."""
        return [
            *(partial(self._push, name) for name in names),
            *(partial(self.describe_from, name) for name in names[::BATCH] for _ in range(CLOUDS)),
        ]

    def _push(self, name: str) -> None:
        text = self.read(name)
        for to_cloud in (self.create_in_aws, self.to_azure, self.to_gcp):
            to_cloud(name, text)

    def naive(self, name: str) -> None:
        """What the shortest script does, without any check: it assumes that nothing exists."""
        text = self.read(name)
        self.create_in_aws(name, text)
        self.azure.set_secret(name, text)
        self.create_in_gcp(name, text)

    def listings(self) -> list[Callable[[], None]]:
        """Every page of each store and of the hub."""
        return [self._list_aws, self._list_azure, self._list_gcp, self._list_hub]

    def _list_aws(self) -> None:
        filters: Any = [{"Key": "tag-key", "Values": ["keyturn-managed-by"]}]
        for _ in self.aws.get_paginator("list_secrets").paginate(Filters=filters, PaginationConfig={"PageSize": 100}):
            pass

    def _list_azure(self) -> None:
        where = "/secrets"
        while where:
            where = self.azure.send_request(HttpRequest("GET", where)).json()["nextLink"]

    def _list_gcp(self) -> None:
        request = {
            "parent": f"projects/{PROJECT}",
            "filter": "labels.keyturn-managed-by=keyturn",
            "page_size": 1000,
        }
        for _ in self._gcp(self.gcp.list_secrets, request).pages:
            pass

    def _list_hub(self) -> None:
        path, params = f"/v1/secret/detailed-metadata/{FOLDER}/", {"list": "true", "limit": "1000"}
        with suppress(InvalidPath):  # what OpenBao answers if nothing is left
            while True:
                keys = self.hub.adapter.request("get", path, params=params).json()["data"]["keys"]
                params["after"] = keys[-1]


def _azure(url: str, ca: str) -> SecretClient:
    tenant, client, secret = (os.environ[f"AZURE_{name}"] for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET"))
    credential = ClientSecretCredential(
        tenant, client, secret, authority=url, disable_instance_discovery=True, connection_verify=ca
    )
    transport = RequestsTransport(session=_session(), connection_verify=ca)
    return SecretClient(url, credential, verify_challenge_resource=False, transport=transport)


def _session() -> requests.Session:
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=THREADS))
    return session


def _tags(name: str) -> dict[str, str]:
    source = f"{FOLDER}/{name}@1"
    return {"keyturn-managed-by": "keyturn", "keyturn-source": source, "keyturn-fingerprint": DIGEST}


def side_by_side(calls: list[Callable[[], None]], threads: int) -> None:
    """Make the calls, in this many threads."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda call: call(), calls))


def main() -> None:
    """Do what the mode says, and print what it took."""
    logging.disable(logging.WARNING)
    mode, bare = sys.argv[1], Bare(json.loads(sys.argv[2]))
    names = sys.stdin.read().split() if mode != "list" else []
    bare.sign_in()
    began = time.perf_counter()
    if mode == "push":
        side_by_side(bare.push(names), THREADS)
    elif mode == "floor":
        side_by_side([partial(bare.naive, name) for name in names], THREADS)
    elif mode == "naive":
        for name in names:
            bare.naive(name)
    else:
        side_by_side(bare.listings(), 4)
    taken = time.perf_counter() - began
    print(json.dumps({"seconds": taken, "peak_mb": memory(os.getpid(), "VmHWM")}))


if __name__ == "__main__":
    main()
