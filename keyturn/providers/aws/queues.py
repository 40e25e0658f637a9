"""Notices to consumers through AWS SQS and SNS, and the reader of a queue.

Sources: the Amazon SQS and SNS API references.
"""

import hashlib
import hmac
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.notifications.messages import TAKEN, SignedMessage
from keyturn.providers.aws.client import AwsSettings, service_client, translate_aws_errors
from keyturn.providers.deliver_notices import DOING
from keyturn.providers.outbound import within
from keyturn.providers.reading import NoticeReader

log = logging.getLogger(__name__)

FIFO: Final = ".fifo"
GROUP: Final = "keyturn"
"""A FIFO queue keeps the order of one group's messages."""
AT_ONCE: Final = 10
LONG_POLL: Final = 5
"""Seconds that SQS waits for a first message; less than the limit of a whole answer."""
ELSEWHERE: Final = "See that the endpoint is AWS's own: what answers there has not said that it has taken the message"


class _Aws:
    def __init__(
        self,
        name: str,
        arn: str,
        endpoint_url: str | None = None,
        role_arn: str | None = None,
        profile: str | None = None,
    ) -> None:
        self.name = name
        if arn.count(":") != 5:
            raise Invalid("open", name, "it is no ARN", "Write arn:aws:sqs:REGION:ACCOUNT:NAME, and not its address")
        _, _, service, region, account, self._resource = arn.split(":")
        self.client = service_client(service, name, AwsSettings(region, endpoint_url, profile, role_arn))
        self.queue_url = f"{self.client.meta.endpoint_url.rstrip('/')}/{account}/{self._resource}"

    def _once(self, message: SignedMessage) -> Mapping[str, str]:
        if not self._resource.endswith(FIFO):
            return {}
        return {"MessageGroupId": GROUP, "MessageDeduplicationId": message.id}

    def close(self) -> None:
        self.client.close()


class SqsQueue(_Aws):
    """A ``NoticeSender`` to a queue; SQS confirms a message by the text's digest."""

    def __init__(self, name: str, queue_arn: str, **login: str | None) -> None:
        super().__init__(name, queue_arn, **login)

    def send(self, message: SignedMessage, timeout: float) -> None:
        text = message.to_json()
        with within(timeout), translate_aws_errors(DOING, self.name):
            answer: Mapping[str, Any] = self.client.send_message(
                QueueUrl=self.queue_url, MessageBody=text, **self._once(message)
            )
        digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        if not hmac.compare_digest(str(answer.get("MD5OfMessageBody", "")).encode(), digest.encode()):
            raise Unavailable(DOING, self.name, "its answer is about another message", ELSEWHERE)


class SnsTopic(_Aws):
    """A ``NoticeSender`` to a topic; SNS confirms a message by an id."""

    def __init__(self, name: str, topic_arn: str, **login: str | None) -> None:
        super().__init__(name, topic_arn, **login)
        self._topic_arn = topic_arn

    def send(self, message: SignedMessage, timeout: float) -> None:
        with within(timeout), translate_aws_errors(DOING, self.name):
            answer: Mapping[str, Any] = self.client.publish(
                TopicArn=self._topic_arn, Message=message.to_json(), **self._once(message)
            )
        if not answer.get("MessageId"):
            raise Unavailable(DOING, self.name, "its answer names no message", ELSEWHERE)


class SqsReader(NoticeReader):
    """Reads notices from a queue, in the application's process and with its login.

    ``handle`` receives each text and returns 200 if it is done, like ``Receiver.handle_message``. Others return after
    the visibility timeout, as often as the redrive policy allows.
    """

    def __init__(
        self,
        queue_arn: str,
        handle: Callable[[str], int],
        *,
        endpoint_url: str | None = None,
        role_arn: str | None = None,
        profile: str | None = None,
    ) -> None:
        super().__init__()
        self._queue = SqsQueue(
            f"queue {queue_arn}", queue_arn, endpoint_url=endpoint_url, role_arn=role_arn, profile=profile
        )
        self._handle = handle

    def read_once(self, wait: int = LONG_POLL) -> int:
        """Wait up to ``wait`` seconds for a first message, and return how many are done.

        Each is deleted only after it was handled. Raises KeyturnError.
        """
        client = self._queue.client
        with translate_aws_errors("read", self._queue.name):
            answer = client.receive_message(
                QueueUrl=self._queue.queue_url, MaxNumberOfMessages=AT_ONCE, WaitTimeSeconds=wait
            )
        done = 0
        for message in answer.get("Messages", ()):
            if self._handle(message.get("Body", "")) == TAKEN:
                done += self._deleted(message.get("ReceiptHandle", ""))
        return done

    def _deleted(self, receipt: str) -> bool:
        try:
            with translate_aws_errors("delete a message of", self._queue.name):
                self._queue.client.delete_message(QueueUrl=self._queue.queue_url, ReceiptHandle=receipt)
        except Invalid:
            log.warning("%s: a notice was handled for longer than it is hidden, and comes again", self._queue.name)
            return False
        return True

    def close(self) -> None:
        self._queue.close()
