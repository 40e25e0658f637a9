"""Everything that the matrix runs against: real servers, a consumer, and the way to each of them through a proxy."""

import re
import secrets
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.sensitive import Sensitive
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.registry import open_workspace
from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.support import local_aws
from tests.support.consumer import Consumer
from tests.support.crash_child import Job, Zygote, warm
from tests.support.fault_proxy import FaultProxy, Faults
from tests.support.lab import Declared, Lab, catalogue_data
from tests.support.world import REGION

T = TypeVar("T")

PORT = re.compile(r":([0-9]{1,5})(?![0-9])")

AT_ONCE = 2
"""Cases that run side by side, each with a zygote and proxies of its own."""


class Lane:
    """One of the places where cases run: a zygote, and a proxy before every server."""

    def __init__(self, site: "Site") -> None:
        self._site = site
        self._through: dict[int, int] = {}
        self.faults = Faults()

    def __enter__(self) -> "Lane":
        self._stack = ExitStack()
        self.reach()
        world = self._site.lab.world
        self.hub_address = self._redirected(world.hub_in_clear)
        # A store's client takes long to make, so here and in the zygote there is one, which every child inherits.
        store = self._redirected(self._site.store)
        self._stores = warm(store)
        self.zygote = self._stack.enter_context(Zygote(world, store))
        return self

    def reach(self) -> None:
        """Have a proxy before each of the servers that have been started."""
        for name, port in self._site.ports.items():
            if port not in self._through:
                self._through[port] = self._stack.enter_context(FaultProxy(name, port, self.faults)).port

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def job(self, secret: Declared, kill_at: int | None = None, *, watched: bool = True) -> Job:
        """The rotation of one secret, in a child that goes through the proxies."""
        now = self._site.now.isoformat()
        return Job(secret.path, self.catalogue(secret), now, kill_at, watched=watched, hub_address=self.hub_address)

    def workspace(self, secret: Declared) -> Workspace:
        """What finishes the rotation in this process, on the same way and by the same clock."""
        hub = replace(self._site.lab.world, hub_address=self.hub_address).hub()
        opened = open_workspace(Catalogue.model_validate(self.catalogue(secret)), hub)
        return replace(opened, clock=lambda: self._site.now, open_store=self._stores or opened.open_store)

    def catalogue(self, secret: Declared) -> dict[str, Any]:
        """The catalogue of one secret, whose every address leads through a proxy."""
        data = catalogue_data(self._site.lab.world, (secret,), self._site.store, self._site.consumers)
        sections = {
            section: self._redirected(entries) if section != "secrets" else entries for section, entries in data.items()
        }
        return {**sections, "policy": self._site.policy}

    def _redirected(self, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: self._redirected(value) for key, value in data.items()}
        if isinstance(data, int):
            return self._through.get(data, data)
        if isinstance(data, str):
            return PORT.sub(lambda found: f":{self._through.get(int(found[1]), found[1])}", data)
        return data


class Site:
    """The servers, started when a kind of secret first asks for one, and stopped together."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.now = datetime.now(UTC) + timedelta(days=31)
        self._stack = ExitStack()
        self._servers: dict[str, Any] = {}
        self._lanes: list[Lane] = []
        self.policy: dict[str, Any] = {}
        self.ports = {"hub": port_of(lab.world.hub_in_clear), "postgresql": lab.world.port}

    def __enter__(self) -> "Site":
        self.environment = self._stack.enter_context(pytest.MonkeyPatch.context())
        self.aws = self.server(
            "aws", lambda: LocalAws(self.directory(), free_port()), lambda server: server.endpoint_url
        )
        local_aws.use(self.aws, self.environment)
        self.store = {"kind": "aws-secrets-manager", "region": REGION, "endpoint_url": self.aws.endpoint_url}
        self.cloud = self.aws_client("secretsmanager")
        key = f"whsec_{secrets.token_hex(24)}"
        if self.lab.hub.read_state("webhooks/app/crash") is None:
            self.lab.hub.write_state("webhooks/app/crash", {"key": key}, cas=0)
        key = self.lab.hub.read_state("webhooks/app/crash").data["key"]  # type: ignore[union-attr]
        self.consumer = self.server("consumer", lambda: Consumer(Sensitive(key)), lambda server: server.url)
        self.consumers = {"app": {"url": self.consumer.url, "signing_key": "webhooks/app/crash"}}
        self.lab.hub.fingerprint_keys()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def directory(self) -> Path:
        """A new directory, gone at the end."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory()))

    def server(self, name: str, make: Callable[[], AbstractContextManager[T]], at: Callable[[T], int | str]) -> T:
        """The server of that name, started at the first call; ``at`` tells its port or its address."""
        if name not in self._servers:
            started = self._stack.enter_context(make())
            where = at(started)
            self.ports[name] = where if isinstance(where, int) else port_of(where)
            self._servers[name] = started
        found: T = self._servers[name]
        return found

    def aws_client(self, service: str) -> Any:
        """A client of the local AWS, closed at the end."""
        session: Any = boto3.Session()
        client = session.client(service, region_name=REGION, endpoint_url=self.aws.endpoint_url)
        self._stack.callback(client.close)
        return client

    def lanes(self, modules: Sequence[str]) -> list[Lane]:
        """The places for cases, where these adapters are imported and every server that has been started is reached."""
        if not self._lanes:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                self._lanes = list(pool.map(lambda _: self._stack.enter_context(Lane(self)), range(AT_ONCE)))
        for lane in self._lanes:
            lane.reach()
            lane.zygote.load(modules)
        return self._lanes


def port_of(address: str) -> int:
    """The port in a URL."""
    return int(address.rpartition(":")[2].split("/")[0])
