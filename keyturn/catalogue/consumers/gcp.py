"""Consumers behind a topic of Google Cloud Pub/Sub."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import WithJsonSchema

from keyturn.catalogue.stores.gcp import LoopbackAddress
from keyturn.core.rights import gcp_rights
from keyturn.core.rights.rights import Document
from keyturn.settings.consumers import ConsumerBase
from keyturn.settings.fields import matching
from keyturn.settings.stores import Accounts

TOPIC = r"projects/[a-z0-9][a-z0-9.:-]*/topics/[A-Za-z][A-Za-z0-9._~+-]{2,254}"

Topic = Annotated[
    str,
    matching(TOPIC, "is not a topic of Pub/Sub", "Write projects/PROJECT/topics/NAME."),
    WithJsonSchema({"type": "string", "pattern": f"^{TOPIC}$"}),
]


class PubSubSettings(ConsumerBase):
    """Subscribers of a topic of Google Cloud Pub/Sub. They send no answer: only the topic's receipt is known."""

    kind: Literal["gcp-pubsub"]
    """The kind of consumer."""
    topic: Topic
    """The topic, as projects/PROJECT/topics/NAME. Credentials are Google's application default ones."""
    endpoint: LoopbackAddress | None = None
    """An emulator on this machine, as host:port, without encryption or credentials."""

    ADAPTER = "keyturn.providers.gcp.pubsub:PubSubTopic"
    EXTRA = "gcp"

    @property
    def accounts(self) -> Accounts:
        return {("topic",): self.topic.split("/")[1]}

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        return gcp_rights.notice_role(self.topic, file, origin)
