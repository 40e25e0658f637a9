"""Consumers behind a queue or a topic of Azure Service Bus."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import WithJsonSchema, model_validator

from keyturn.core.rights import azure_rights
from keyturn.core.rights.rights import Document
from keyturn.settings.consumers import ConsumerBase
from keyturn.settings.fields import HttpsUrl, Line, matching, refused

ENTITY = r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,258}[A-Za-z0-9])?"

Entity = Annotated[
    str,
    matching(ENTITY, "is not the name of a queue or topic", "Use letters, digits and . _ - / between them."),
    WithJsonSchema({"type": "string", "pattern": f"^{ENTITY}$"}),
]


class ServiceBusSettings(ConsumerBase):
    """Readers of a queue or topic of Azure Service Bus. They send no answer: only Service Bus's receipt is known."""

    kind: Literal["azure-service-bus"]
    """The kind of consumer."""
    namespace_url: HttpsUrl
    """The namespace's address: https://NAME.servicebus.windows.net. Credentials come from Azure's default chain."""
    queue: Entity | None = None
    """The queue's name; either this or topic."""
    topic: Entity | None = None
    """The topic's name; either this or queue."""
    ca_file: Line | None = None
    """A PEM file with the CA of the namespace's certificate, if it is not a public CA."""
    authority: HttpsUrl | None = None
    """The login address, if not https://login.microsoftonline.com."""

    ADAPTER = "keyturn.providers.azure.service_bus:ServiceBusSender"
    EXTRA = "azure"

    @model_validator(mode="after")
    def _queue_or_topic(self) -> Self:
        if (self.queue is None) == (self.topic is None):
            raise refused("it needs either a queue or a topic", "Say one of queue and topic.", "queue")
        return self

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        namespace = (urlsplit(self.namespace_url).hostname or "").partition(".")[0]
        place = f"queues/{self.queue}" if self.queue else f"topics/{self.topic}"
        return azure_rights.notice_assignment(namespace, place, file, origin)
