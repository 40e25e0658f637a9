"""The port of notice senders: one small class per transport."""

from typing import Protocol

from keyturn.core.notifications.messages import SignedMessage


class NoticeSender(Protocol):
    """Sends signed messages to one consumer, by whose name it is opened. Serves many threads."""

    def send(self, message: SignedMessage, timeout: float) -> None:
        """Send the message once within ``timeout`` seconds; return when acknowledged, or accepted by a transport
        without acknowledgement.

        Its id identifies repeats. Raises TransientError if it may be sent again, TerminalError if a person has to fix
        something.
        """

    def close(self) -> None:
        """Release connections; it can't be used afterwards."""


class ChecksHealth(Protocol):
    """Capability of a sender that can check the consumer's health."""

    def check_health(self, timeout: float) -> None:
        """Return if the consumer reports health within ``timeout`` seconds. Raises like ``send``."""
