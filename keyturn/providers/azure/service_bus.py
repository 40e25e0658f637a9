"""Telling consumers by Azure Service Bus, and the other end: taking notices from a queue or a subscription.

Sources: "Send Message", "Peek-Lock Message (Non-Destructive Read)" and "Delete Message" in the Service Bus REST
reference. Its own client speaks AMQP over connections of its own.
"""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import requests
from azure.core.credentials import TokenCredential

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Unavailable
from keyturn.core.notifications.messages import TAKEN, SignedMessage
from keyturn.core.outbound import leaves_in_clear
from keyturn.providers.azure import rest
from keyturn.providers.notices import DOING
from keyturn.providers.outbound import within
from keyturn.providers.reading import NoticeReader

log = logging.getLogger(__name__)

SCOPE: Final = "https://servicebus.azure.net/.default"
SENDER: Final = 'Give the identity the role "Azure Service Bus Data Sender" on it'
RECEIVER: Final = 'Give the identity the role "Azure Service Bus Data Receiver" on it'
FULL: Final = "See whether it is full or disabled, and whether the namespace's firewall keeps this address out"
ELSEWHERE: Final = "Check the address, and what stands between: a proxy, a gateway"
LONG_POLL: Final = 5
"""Seconds that Service Bus holds an answer back until there is a message: less than a whole answer may take."""
DEADLINE: Final = 15.0
"""Seconds for one call of a reader, signing in among it."""
AT_ONCE: Final = 10
"""Messages that are read in one go."""


class _ServiceBus:
    """One queue, topic or subscription of a namespace, signed in to as the environment says."""

    def __init__(
        self,
        name: str,
        namespace_url: str,
        entity: str,
        permission: str,
        *,
        authority: str | None,
        ca_file: str | None,
        credential: TokenCredential | None,
    ) -> None:
        if "://" not in namespace_url or leaves_in_clear(namespace_url):
            hint = "Write https://NAME.servicebus.windows.net"
            raise Invalid("open", name, f"{namespace_url} is no https address, and a token would be sent there", hint)
        self.name = name
        self._permission = permission
        self._url = f"{namespace_url.rstrip('/')}/{quote(entity)}/messages"
        self._rest = rest.Rest(
            name, namespace_url, authority=authority, ca_file=ca_file, credential=credential, permission=permission
        )
        self._rest.scope = SCOPE

    def call(
        self, method: str, path: str, doing: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """One call, whatever was answered but a refusal. Raises KeyturnError."""
        signed = rest.Signed(f"Bearer {self._rest.token(doing, self.name)}")
        answer = rest.send(
            self._rest.session, doing, self.name, method, f"{self._url}{path}", auth=signed, data=body, headers=headers
        )
        if answer.status_code >= 300:
            raise self._refused(answer, doing)
        return answer

    def close(self) -> None:
        """Let go of connections."""
        self._rest.close()

    def _refused(self, answer: requests.Response, doing: str) -> KeyturnError:
        """What Service Bus means: 401 is also who may not, 403 a queue that takes no more, and 410 one that is gone."""
        status, problem = answer.status_code, f"Azure answered {answer.status_code}"
        if status == 401:
            return Denied(doing, self.name, problem, f"{self._permission}; {rest.SIGN_IN}")
        if status == 403:
            return Unavailable(doing, self.name, problem, FULL)
        if status in (404, 410):
            return NotFound(doing, self.name, "it does not exist", "Make it, or correct its name in the catalogue")
        return rest.translate_refusal(answer, doing, self.name, self._permission)


class ServiceBusSender:
    """:class:`keyturn.core.ports.consumers.NoticeSender` to a queue or a topic. Taken is what was answered with 201.

    The message's id is Service Bus's own, so that a queue with duplicate detection drops repeats by itself.
    """

    def __init__(
        self,
        name: str,
        *,
        namespace_url: str,
        queue: str | None = None,
        topic: str | None = None,
        authority: str | None = None,
        ca_file: str | None = None,
        credential: TokenCredential | None = None,
    ) -> None:
        self.name = name
        self._place = _ServiceBus(
            name,
            namespace_url,
            queue or topic or "",
            SENDER,
            authority=authority,
            ca_file=ca_file,
            credential=credential,
        )

    def send(self, message: SignedMessage, timeout: float) -> None:
        """Send it."""
        properties = json.dumps({"MessageId": message.id, "ContentType": "application/json"})
        headers = {"Content-Type": "application/json", "BrokerProperties": properties}
        with within(timeout):
            answer = self._place.call("POST", "", DOING, message.to_json().encode(), headers)
        if answer.status_code != requests.codes.created:
            problem = f"it answered {answer.status_code}, and not 201"
            raise Unavailable(DOING, self.name, problem, ELSEWHERE)

    def close(self) -> None:
        """Let go of connections."""
        self._place.close()


class ServiceBusReader(NoticeReader):
    """Takes notices from a queue, or a subscription (``TOPIC/subscriptions/NAME``), in the application's own process.

    ``handle`` is given each message's text, such as ``Receiver.handle_message`` with what is
    to be called, and answers 200 where it is done with. What is not comes again when its lock is over, as often as the
    queue's maximum delivery count lets it; then it ends in the dead-letter queue.
    """

    def __init__(
        self,
        namespace_url: str,
        entity: str,
        handle: Callable[[bytes], int],
        *,
        authority: str | None = None,
        ca_file: str | None = None,
        credential: TokenCredential | None = None,
    ) -> None:
        super().__init__()
        self._place = _ServiceBus(
            f"queue {entity}",
            namespace_url,
            entity,
            RECEIVER,
            authority=authority,
            ca_file=ca_file,
            credential=credential,
        )
        self._handle = handle

    def read_once(self, wait: int = LONG_POLL) -> int:
        """Take what is there, waiting for ``wait`` seconds for the first; how many are done with. Raises KeyturnError.

        Each is removed once it is handled, and not before: what dies in between is handled again.
        """
        done = 0
        for taken in range(AT_ONCE):
            with within(DEADLINE):
                answer = self._place.call("POST", f"/head?timeout={0 if taken else wait}", "read")
            if answer.status_code != requests.codes.created:
                break  # 204: there is none
            where = self._locked(answer)
            if self._handle(answer.content) == TAKEN:
                done += self._removed(where)
        return done

    def _removed(self, where: str) -> bool:
        try:
            with within(DEADLINE):
                self._place.call("DELETE", where, "remove a message of")
        except NotFound:
            log.warning("%s: a notice was handled for longer than its lock lasts, and comes again", self._place.name)
            return False
        return True

    def close(self) -> None:
        """Let go of connections."""
        self._place.close()

    def _locked(self, answer: requests.Response) -> str:
        """Where a message is that this reader has locked, below the queue's messages."""
        try:
            properties: Any = json.loads(answer.headers.get("BrokerProperties", ""))
            number, lock = int(properties["SequenceNumber"]), str(properties["LockToken"])
        except (ValueError, KeyError, TypeError):
            problem = "its answer does not say which message it is"
            raise Unavailable("read", self._place.name, problem, ELSEWHERE) from None
        return f"/{number}/{quote(lock, safe='')}"
