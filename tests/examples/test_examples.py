"""The example programs live through a rotation, an outage of the hub and a revocation, with no question unanswered."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import uvicorn

from examples.inference import Inference, Settings, create_app
from examples.training import Model, train
from keyturn.client.client import SecretClient
from keyturn.client.policy import CachePolicy
from keyturn.client.sources import HubSource
from keyturn.client.webhooks.keys import HubKeys
from keyturn.core.overrides import Waive
from keyturn.core.schedule.due import Trigger
from keyturn.core.webhook_keys import generate_webhook_key
from keyturn.revocation.incidents.incident import Mode
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.registry import CatalogueSender
from local.prepare import DATABASE
from local.support.ports import LOOPBACK, free_port
from tests.support.fault_proxy import FaultProxy, Faults
from tests.support.hooks import eventually
from tests.support.lab import Lab, fresh
from tests.wall.rendered import end_leaked

pytestmark = pytest.mark.sampled(4, of="files")

POLICY = CachePolicy(ttl=0.3, retry_after=0.1)
"""So short that an outage is lived through on what is stale."""
NAME = "inference"


class Hub:
    """What programs read, behind a proxy that can be taken away."""

    def __init__(self, lab: Lab) -> None:
        self.proxy = FaultProxy("hub", urlsplit(lab.world.hub_address).port or 0, Faults())
        scheme = urlsplit(lab.world.hub_address).scheme
        self.adapter = replace(lab.world, hub_address=f"{scheme}://{LOOPBACK}:{self.proxy.port}").hub()
        self.stack = ExitStack()
        self.stack.callback(self.adapter.close)
        self.stack.enter_context(self.proxy)

    def client(self, poll: float = 0.0) -> SecretClient:
        """A client whose secrets are old at once."""
        return SecretClient([HubSource(self.adapter)], policy=POLICY, poll=poll)


class Site:
    """Both secrets, the server that lives on them, and somebody who asks it without pause."""

    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        self.lab, self.hub = lab, Hub(lab)
        stack.push(self.hub.stack)
        self.database, self.key = lab.alternating(consumers=[NAME]), lab.generated(consumers=[NAME])
        signing, self.url = f"webhooks/{NAME}/{fresh()}", f"http://{LOOPBACK}:{(port := free_port())}"
        lab.keep(signing, {"key": generate_webhook_key().reveal()})
        consumer = {"url": self.url, "signing_key": signing, "timeout": "20s"}
        opened = lab.open(self.database, self.key, consumers={NAME: consumer}).workspace
        self.workspace: Workspace = replace(opened, sender=CatalogueSender(opened.catalogue, lab.hub))
        self.address = {"host": lab.world.host, "port": lab.world.port, "dbname": DATABASE, "sslmode": "disable"}
        settings = Settings(self.key.path, self.database.path, self.address)
        client = stack.enter_context(self.hub.client())
        self.inference = Inference(client, settings)
        stack.callback(self.inference.pool.close)
        stack.enter_context(Served(create_app(self.inference, HubKeys(lab.hub, signing)), port))
        self.statuses: list[int] = []
        self.asking = stack.enter_context(closing(Asking(self)))

    def ask(self, key: str) -> int:
        """The status of one question."""
        question = {"text": "a picture of a ship"}
        return requests.post(f"{self.url}/predict", json=question, headers={"x-api-key": key}, timeout=20).status_code

    def answers_more(self) -> bool:
        """Whether questions that begin now are answered."""
        count = len(self.statuses)
        return eventually(lambda: len(self.statuses) > count + 5)


class Served:
    """An application on loopback while it is entered, as uvicorn serves it."""

    def __init__(self, app: Any, port: int) -> None:
        self._server = uvicorn.Server(uvicorn.Config(app, LOOPBACK, port, log_level="error", ws="none"))
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> None:
        self._thread.start()
        assert eventually(lambda: self._server.started)

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()


class Asking:
    """Asks with the first key, until it is closed."""

    def __init__(self, site: Site) -> None:
        self._site, self._stopped = site, threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._stopped.wait(0.01):
            self._site.statuses.append(self._site.ask(self._site.key.first["value"]))


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(lab, stack)


def test_an_inference_server_answers_through_all_of_it_and_serves_nothing_that_was_revoked(site: Site) -> None:
    assert site.answers_more()
    rotated = rotate(site.workspace, site.database.path, Trigger.FORCE)
    assert [consumer.error for consumer in rotated.consumers] == [""]
    assert site.inference.pool.secret.version == 2
    assert eventually(lambda: not retire(site.workspace, site.database.path, Waive.EVERYTHING).held_by)
    assert site.answers_more()
    site.hub.proxy.__exit__()
    assert eventually(lambda: "keyturn_client_stale_total" in stale_lines(site))
    assert site.answers_more()
    assert set(site.statuses) == {200}
    site.asking.close()
    end_leaked(site.workspace, [site.key.path], Mode.REVOKE_ONLY)
    assert site.ask(site.key.first["value"]) == 503
    assert site.ask("another-key") == 503


def stale_lines(site: Site) -> str:
    """What the server's own numbers tell of secrets that it gave though nobody could be asked; empty for none."""
    text, name = requests.get(f"{site.url}/metrics", timeout=20).text, "keyturn_client_stale_total"
    return "".join(line for line in text.splitlines() if line.startswith(name) and not line.endswith(" 0.0"))


def test_a_training_job_loses_no_step_and_goes_on_where_it_was(lab: Lab, tmp_path: Path) -> None:
    secret, checkpoint = lab.alternating(), tmp_path / "model.json"
    lab.sql("CREATE TABLE IF NOT EXISTS samples (x float8, y float8)")
    lab.sql("INSERT INTO samples SELECT n / 50.0, 3 * n / 50.0 + 1 FROM generate_series(0, 99) n")
    lab.sql(f"GRANT SELECT ON samples TO {secret.owner}")
    address = {"host": lab.world.host, "port": lab.world.port, "dbname": DATABASE, "sslmode": "disable"}
    hub, workspace = Hub(lab), lab.open(secret).workspace
    with hub.stack, hub.client(poll=0.05) as client, Job(client, secret.path, address, checkpoint) as job:
        assert eventually(lambda: job.step() >= 100)
        assert rotate(workspace, secret.path, Trigger.FORCE).version == 2
        assert eventually(lambda: client.get(secret.path).version == 2)
        assert eventually(lambda: not retire(workspace, secret.path, Waive.EVERYTHING).held_by)
        hub.proxy.__exit__()
        more = job.step() + 200
        assert eventually(lambda: job.step() >= more)
    assert job.errors == []
    ended = Model.load(checkpoint)
    assert ended.step >= more
    later = Hub(lab)
    with later.stack, later.client() as client:
        went_on = train(client, secret.path, address, checkpoint, steps=ended.step + 1)
    assert went_on.step == ended.step + 1
    assert (round(went_on.slope), round(went_on.height)) == (3, 1)


class Job:
    """A training job in a thread, until it is left."""

    def __init__(self, client: SecretClient, path: str, address: dict[str, Any], checkpoint: Path) -> None:
        self._settings = client, path, address, checkpoint
        self._checkpoint, self._stopped = checkpoint, threading.Event()
        self._thread = threading.Thread(target=self._train)
        self.errors: list[str] = []

    def step(self) -> int:
        """How far it has written that it is."""
        return Model.load(self._checkpoint).step

    def __enter__(self) -> "Job":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _train(self) -> None:
        try:
            train(*self._settings, steps=10**9, lifetime=0.1, stopped=self._stopped)
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            self.errors.append(repr(error))
