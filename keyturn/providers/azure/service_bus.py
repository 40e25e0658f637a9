"""Notices to consumers through Azure Service Bus, and the reader of a queue or subscription.

Sources: "Send Message", "Peek-Lock Message (Non-Destructive Read)" and "Delete Message" in the Service Bus REST
reference.
"""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import requests
from azure.core.credentials import TokenCredential

from keyturn.core.clear_text import leaves_in_clear
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Unavailable
from keyturn.core.notifications.messages import TAKEN, SignedMessage
from keyturn.providers.azure import client as azure
from keyturn.providers.azure import rest
from keyturn.providers.deliver_notices import DOING
from keyturn.providers.outbound import within
from keyturn.providers.reading import NoticeReader

log = logging.getLogger(__name__)

SCOPE: Final = "https://servicebus.azure.net/.default"
SENDER: Final = 'Give the identity the role "Azure Service Bus Data Sender" on it'
RECEIVER: Final = 'Give the identity the role "Azure Service Bus Data Receiver" on it'
FULL: Final = "See whether it is full or disabled, and whether the namespace's firewall keeps this address out"
ELSEWHERE: Final = "Check the address, and any proxy or gateway in between"
LONG_POLL: Final = 5
"""Seconds that Service Bus waits for a first message; less than the limit of a whole answer."""
DEADLINE: Final = 15.0
"""Seconds for one call of a reader, including sign-in."""
AT_ONCE: Final = 10


class _ServiceBus:
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
        signed = rest.Signed(f"Bearer {self._rest.token(doing, self.name)}")
        answer = rest.send(
            self._rest.session, doing, self.name, method, f"{self._url}{path}", auth=signed, data=body, headers=headers
        )
        if answer.status_code >= 300:
            raise self._refused(answer, doing)
        return answer

    def close(self) -> None:
        self._rest.close()

    def _refused(self, answer: requests.Response, doing: str) -> KeyturnError:
        status, problem = answer.status_code, f"Azure answered {answer.status_code}"
        if status == 401:
            return Denied(doing, self.name, problem, f"{self._permission}; {azure.SIGN_IN}")
        if status == 403:
            return Unavailable(doing, self.name, problem, FULL)
        if status in (404, 410):
            return NotFound(doing, self.name, "it does not exist", "Make it, or correct its name in the catalogue")
        return rest.translate_refusal(answer, doing, self.name, self._permission)


class ServiceBusSender(_ServiceBus):
    """A ``NoticeSender`` to a queue or topic; Service Bus confirms a message with 201."""

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
        entity = queue or topic or ""
        super().__init__(
            name, namespace_url, entity, SENDER, authority=authority, ca_file=ca_file, credential=credential
        )

    def send(self, message: SignedMessage, timeout: float) -> None:
        properties = json.dumps({"MessageId": message.id, "ContentType": "application/json"})
        headers = {"Content-Type": "application/json", "BrokerProperties": properties}
        with within(timeout):
            answer = self.call("POST", "", DOING, message.to_json().encode(), headers)
        if answer.status_code != requests.codes.created:
            problem = f"it answered {answer.status_code}, and not 201"
            raise Unavailable(DOING, self.name, problem, ELSEWHERE)


class ServiceBusReader(NoticeReader):
    """Reads notices from a queue or subscription (``TOPIC/subscriptions/NAME``), in the application's process.

    ``handle`` receives each text and returns 200 if it is done, like ``Receiver.handle_message``. Others return after
    their lock ends, as often as the maximum delivery count allows.
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
        name = f"queue {entity}"
        self._place = _ServiceBus(
            name, namespace_url, entity, RECEIVER, authority=authority, ca_file=ca_file, credential=credential
        )
        self._handle = handle

    def read_once(self, wait: int = LONG_POLL) -> int:
        """Wait up to ``wait`` seconds for a first message, and return how many are done.

        Each is removed only after it was handled. Raises KeyturnError.
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
            log.warning("%s: a notice was handled for longer than its lock allows, and comes again", self._place.name)
            return False
        return True

    def close(self) -> None:
        self._place.close()

    def _locked(self, answer: requests.Response) -> str:
        try:
            properties: Any = json.loads(answer.headers.get("BrokerProperties", ""))
            number, lock = int(properties["SequenceNumber"]), str(properties["LockToken"])
        except (ValueError, KeyError, TypeError):
            problem = "its answer does not say which message it is"
            raise Unavailable("read", self._place.name, problem, ELSEWHERE) from None
        return f"/{number}/{quote(lock, safe='')}"
