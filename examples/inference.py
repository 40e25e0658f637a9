"""An inference server whose key and whose database login are rotated, revoked and out of reach while it serves.

    INFERENCE_HOST=db.example uvicorn --factory examples.inference:from_environment

Whoever asks presents the API key; each prediction is noted in a database. Both secrets come from Keyturn's client: in
memory, replaced before a notice is acknowledged, and given on while the hub is away, though never what was revoked.
"""

import hmac
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import psycopg2
from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, generate_latest
from psycopg2.extensions import connection as Connection
from pydantic import BaseModel

from keyturn.client.client import SecretClient
from keyturn.client.pool import Retired, SecretPool
from keyturn.client.secrets import Secret
from keyturn.client.webhooks.asgi import asgi_app
from keyturn.client.webhooks.keys import HubKeys
from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.errors import KeyturnError
from keyturn.core.notifications.notices import Notice
from keyturn.core.sensitive import Sensitive
from keyturn.providers.prometheus.metrics import ClientCollector
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.wiring.sources import open_client

LABELS = ("cat", "dog", "ship")


@dataclass(frozen=True)
class Settings:
    """Which secrets it lives on, and where its database is, as psycopg2 takes it."""

    api_key: str = "ml-training/inference-key"
    database: str = "ml-training/database"
    address: dict[str, Any] = field(default_factory=dict)


class Question(BaseModel):
    """What is to be predicted of."""

    text: str


class Inference:
    """The model, and what it needs secrets for."""

    def __init__(self, client: SecretClient, settings: Settings) -> None:
        self.client = client
        self.settings = settings
        refused = (psycopg2.OperationalError,)
        self.pool: SecretPool[Connection] = SecretPool(client, settings.database, self._connect, refused=refused)
        with self.pool.connection() as connection, connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS predictions (label text NOT NULL)")

    def admits(self, presented: str) -> bool:
        """Whether a caller's key is the one in force: one lookup in memory. Raises KeyturnError where none is."""
        expected = self.client.field(self.settings.api_key, "value").reveal()
        return hmac.compare_digest(presented.encode(), expected.encode())

    def predict(self, text: str) -> str:
        """The label of a text, which is noted."""
        label = LABELS[zlib.crc32(text.encode()) % len(LABELS)]
        with self.pool.connection() as connection, connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO predictions VALUES (%s)", (label,))
        return label

    def told(self, notice: Notice) -> None:
        """Take a notice of either secret: when this returns, nothing works with what it has ended."""
        self.pool.told(notice)

    def _connect(self, secret: Secret) -> Connection:
        user, password = secret["username"].reveal(), secret["password"].reveal()
        connection: Connection = psycopg2.connect(**self.settings.address, user=user, password=password)
        return connection


def create_app(inference: Inference, keys: Sequence[Sensitive] | Callable[[], Sequence[Sensitive]]) -> FastAPI:
    """The server; ``keys`` are those that notices are signed with."""
    app, registry = FastAPI(), CollectorRegistry()
    registry.register(ClientCollector(inference.client))

    @app.post("/predict")
    def predict(question: Question, x_api_key: Annotated[str, Header()]) -> dict[str, str]:
        try:
            if not inference.admits(x_api_key):
                raise HTTPException(401)
            return {"label": inference.predict(question.text)}
        except (KeyturnError, Retired, psycopg2.Error):
            raise HTTPException(503) from None

    @app.get("/api/secrets/health")
    def health() -> None:
        try:
            inference.predict("How are you?")
        except (KeyturnError, Retired, psycopg2.Error):
            raise HTTPException(503) from None

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> str:
        return generate_latest(registry).decode()

    # What no route above takes: notices, at /api/secrets/rotation.
    app.mount("/", asgi_app(Receiver(keys), inference.told))
    return app


def from_environment() -> FastAPI:
    """With the hub of VAULT_ADDR, or what KEYTURN_SOURCES names, and the login that Keyturn's other programs take."""
    address = {"host": os.environ["INFERENCE_HOST"], "dbname": os.environ.get("INFERENCE_DATABASE", "ml")}
    keys = HubKeys(VaultHub(HubSettings.from_environment()), "webhooks/inference")
    return create_app(Inference(open_client(), Settings(address=address)), keys)
