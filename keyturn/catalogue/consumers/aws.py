"""Consumers behind a queue of AWS SQS or a topic of AWS SNS."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import WithJsonSchema, model_validator

from keyturn.catalogue.stores.aws import RoleArn
from keyturn.core.rights import aws_rights
from keyturn.core.rights.rights import Document
from keyturn.settings.consumers import ConsumerBase
from keyturn.settings.fields import Line, WebUrl, keep_plain_http_at_home, matching
from keyturn.settings.stores import Accounts

_ARN = r"arn:aws(-cn|-us-gov)?:{service}:[a-z]{{2}}(-[a-z]+)+-[0-9]:[0-9]{{12}}:[A-Za-z0-9_-]{{1,{length}}}(\.fifo)?"
QUEUE = _ARN.format(service="sqs", length=80)
TOPIC = _ARN.format(service="sns", length=256)

QueueArn = Annotated[
    str,
    matching(QUEUE, "is not the ARN of a queue", "Write arn:aws:sqs:REGION:ACCOUNT:NAME."),
    WithJsonSchema({"type": "string", "pattern": f"^{QUEUE}$"}),
]
TopicArn = Annotated[
    str,
    matching(TOPIC, "is not the ARN of a topic", "Write arn:aws:sns:REGION:ACCOUNT:NAME."),
    WithJsonSchema({"type": "string", "pattern": f"^{TOPIC}$"}),
]


class _AwsSettings(ConsumerBase):
    endpoint_url: WebUrl | None = None
    """A custom AWS address, such as an emulator; plain http only on loopback."""
    role_arn: RoleArn | None = None
    """The IAM role to assume for sending."""
    profile: Line | None = None
    """The profile in AWS's configuration files that has the credentials."""

    EXTRA = "aws"

    @model_validator(mode="after")
    def _keep_keys_from_others(self) -> Self:
        if self.endpoint_url:
            keep_plain_http_at_home(self.endpoint_url, False, "Use https.", "endpoint_url")
        return self

    def _accounts(self, key: str, arn: str) -> Accounts:
        arns = {key: arn, **({"role_arn": self.role_arn} if self.role_arn else {})}
        return {(name,): text.split(":")[4] for name, text in arns.items()}


class SqsSettings(_AwsSettings):
    """An application that reads a queue of AWS SQS. It sends no answer: only the queue's receipt is known."""

    kind: Literal["aws-sqs"]
    """The kind of consumer."""
    queue_arn: QueueArn
    """The queue, as arn:aws:sqs:REGION:ACCOUNT:NAME; a queue with the suffix .fifo drops repeats."""

    ADAPTER = "keyturn.providers.aws.queues:SqsQueue"

    @property
    def accounts(self) -> Accounts:
        return self._accounts("queue_arn", self.queue_arn)

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        return aws_rights.of_notices("sqs:SendMessage", self.queue_arn, file, origin)


class SnsSettings(_AwsSettings):
    """Subscribers of a topic of AWS SNS. They send no answer: only the topic's receipt is known."""

    kind: Literal["aws-sns"]
    """The kind of consumer."""
    topic_arn: TopicArn
    """The topic, as arn:aws:sns:REGION:ACCOUNT:NAME; a topic with the suffix .fifo drops repeats."""

    ADAPTER = "keyturn.providers.aws.queues:SnsTopic"

    @property
    def accounts(self) -> Accounts:
        return self._accounts("topic_arn", self.topic_arn)

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        return aws_rights.of_notices("sns:Publish", self.topic_arn, file, origin)
