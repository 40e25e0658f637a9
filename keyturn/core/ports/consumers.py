"""What carries notices to one consumer: one small class for each way of being told."""

from typing import Protocol

from keyturn.core.notifications.messages import SignedMessage


class NoticeSender(Protocol):
    """Carries signed messages to one consumer; one instance serves many threads. Opened with the consumer's name."""

    def send(self, message: SignedMessage, timeout: float) -> None:
        """Send it once, within ``timeout`` seconds, and return once it is acknowledged.

        Where nobody answers, once whoever carries it on has taken it. A repeat is told by the message's id. Raises
        TransientError when the same message may be sent again, TerminalError when a person has to mend something first.
        """

    def close(self) -> None:
        """Let go of connections; it can't be used afterwards."""


class ChecksHealth(Protocol):
    """Besides, it can ask the consumer how it is."""

    def check_health(self, timeout: float) -> None:
        """Return where it says that it is well, within ``timeout`` seconds. Raises as ``send`` does."""
