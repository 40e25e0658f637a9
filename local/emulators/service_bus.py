"""Azure Service Bus on loopback, as far as notices go: queues and topics with subscriptions, over REST with Entra ID.

It serves from within a process, in memory, with a certificate of its own. A message that was locked comes again when
the lock is over; one whose id was sent before is dropped where the queue detects duplicates. Sources: "Send Message",
"Peek-Lock Message (Non-Destructive Read)" and "Delete Message" in the Service Bus REST reference.
"""

import itertools
import json
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from local.emulators.azure_key_vault.auth import Application, Directory, SignIn
from local.emulators.azure_key_vault.messages import Answer, Refusal, Request
from local.emulators.azure_key_vault.server import Server
from local.support.tls import certificate_in

RESOURCE: Final = "https://servicebus.azure.net"
LARGEST: Final = 256 * 1024
"""Bytes of a message, in the Standard tier."""


@dataclass(frozen=True)
class Text(Answer):
    """An answer whose body is a message."""

    text: bytes = b""

    def content(self) -> bytes:
        """The message."""
        return self.text


@dataclass
class Message:
    """One that lies in a queue. ``lock`` names who reads it now, until ``locked_until``."""

    number: int
    message_id: str
    text: bytes
    lock: str = ""
    locked_until: float = 0.0


@dataclass
class Queue:
    """Its messages by their numbers; ``full`` takes no more."""

    detects_duplicates: bool = False
    full: bool = False
    messages: dict[int, Message] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)


class Entra(SignIn):
    """Gives out tokens for Service Bus."""

    def resources(self, base: str) -> tuple[str, ...]:
        """What tokens may be asked for."""
        return (RESOURCE,)


class Emulator:
    """One namespace. A role lets an application ``send``, ``listen``, or both; ``clock`` tells seconds since 1970."""

    def __init__(self, sign_in: Entra, *, lock_seconds: float = 30, clock: Callable[[], float] = time.time) -> None:
        self.lock_seconds = lock_seconds
        self._sign_in = sign_in
        self._clock = clock
        self._queues: dict[str, Queue] = {}
        self._topics: dict[str, list[str]] = {}
        self._numbers = itertools.count(1)

    def create_queue(self, name: str, *, detects_duplicates: bool = False) -> Queue:
        """Make a queue."""
        queue = self._queues[name] = Queue(detects_duplicates)
        return queue

    def create_topic(self, name: str, *subscriptions: str) -> list[Queue]:
        """Make a topic, and what is subscribed to it."""
        self._topics[name] = [f"{name}/subscriptions/{subscription}" for subscription in subscriptions]
        return [self.create_queue(path) for path in self._topics[name]]

    def close(self) -> None:
        """Nothing is held outside of the process."""

    def answer(self, request: Request) -> Answer:
        """The answer to any call; refusals are answers too."""
        if self._sign_in.serves(request):
            return self._sign_in.answer(request)
        try:
            return self._entity(request)
        except Refusal as refusal:
            return refusal.answer

    def _entity(self, request: Request) -> Answer:
        entity, _, rest = "/".join(request.parts).rpartition("/messages")
        part = rest.strip("/")
        right = "send" if request.method == "POST" and not part else "listen"
        if right not in str(self._sign_in.bearer(request)["role"]):
            raise Refusal(401, "Unauthorized", f"Unauthorized access. '{right.title()}' claim(s) are required.")
        match request.method, part.split("/"):
            case "POST", [""]:
                return self._send(entity, request)
            case "POST", ["head"]:
                return self._peek_lock(self._queue(entity))
            case "DELETE", [number, lock]:
                return self._remove(self._queue(entity), number, lock)
        raise Refusal(400, "BadRequest", "The request is not known here.")

    def _send(self, entity: str, request: Request) -> Answer:
        if len(request.body) > LARGEST:
            raise Refusal(403, "Forbidden", "The received message exceeds the limit.")
        try:
            properties: Mapping[str, Any] = json.loads(request.headers.get("brokerproperties", "{}"))
        except ValueError:
            raise Refusal(400, "BadRequest", "BrokerProperties is not JSON.") from None
        for path in self._topics.get(entity, [entity]):
            self._lay(self._queue(path), str(properties.get("MessageId", uuid.uuid4().hex)), request.body)
        return Answer(None, 201)

    def _lay(self, queue: Queue, message_id: str, text: bytes) -> None:
        if queue.full:
            raise Refusal(403, "Forbidden", "The maximum entity size has been reached or exceeded.")
        if queue.detects_duplicates and message_id in queue.sent:
            return
        queue.sent.add(message_id)
        number = next(self._numbers)
        queue.messages[number] = Message(number, message_id, text)

    def _peek_lock(self, queue: Queue) -> Answer:
        now = self._clock()
        free = next((message for message in queue.messages.values() if message.locked_until <= now), None)
        if free is None:
            return Answer(None, 204)
        free.lock, free.locked_until = str(uuid.uuid4()), now + self.lock_seconds
        about = {"MessageId": free.message_id, "SequenceNumber": free.number, "LockToken": free.lock}
        return Text(None, 201, {"BrokerProperties": json.dumps(about)}, free.text)

    def _remove(self, queue: Queue, number: str, lock: str) -> Answer:
        message = queue.messages.get(int(number)) if number.isdigit() else None
        if message is None or message.lock != lock or message.locked_until <= self._clock():
            raise Refusal(404, "NotFound", "The lock supplied is invalid.")
        del queue.messages[message.number]
        return Answer(None, 200)

    def _queue(self, path: str) -> Queue:
        if path not in self._queues:
            raise Refusal(410, "Gone", "The specified queue or topic does not exist.")
        return self._queues[path]


class LocalServiceBus:
    """Serves an emulator at ``https://localhost:port`` while it is entered, with a certificate of its own.

    The applications ``sender`` and ``listener`` may do the one and the other.
    """

    def __init__(self, directory: Path, port: int = 0, *, lock_seconds: float = 30) -> None:
        self.tenant_id = str(uuid.uuid4())
        self._secrets = {role: secrets.token_urlsafe(30) for role in ("send", "listen")}
        applications = tuple(Application(f"{role}er", secret, role) for role, secret in self._secrets.items())
        sign_in = Entra(Directory(self.tenant_id, applications), secrets.token_urlsafe(32))
        self.emulator = Emulator(sign_in, lock_seconds=lock_seconds)
        self._certificate = certificate_in(directory)
        self._port = port

    def __enter__(self) -> "LocalServiceBus":
        self._server = Server(self.emulator, self._certificate.certificate, self._certificate.key, self._port)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """The address of the namespace, and of the sign-in."""
        return self._server.url

    @property
    def ca_file(self) -> str:
        """The PEM file with the authority to trust it by."""
        return str(self._certificate.authority)

    def environment(self, role: str) -> dict[str, str]:
        """What Azure's SDKs sign in with as who may ``send``, or ``listen``."""
        return {
            "AZURE_TENANT_ID": self.tenant_id,
            "AZURE_CLIENT_ID": f"{role}er",
            "AZURE_CLIENT_SECRET": self._secrets[role],
        }
