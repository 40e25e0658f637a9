"""The notification channel for failed runs, as an Apprise URL."""

from typing import cast

from prefect.blocks.notifications import AppriseNotificationBlock
from pydantic import Field, SecretStr

from keyturn.core.errors import NotFound
from keyturn.core.notifications.channel import Announcement
from keyturn.core.sensitive import Sensitive
from keyturn.providers.apprise_channel import AppriseChannel


class FailureChannel(AppriseNotificationBlock):
    """Any service that Apprise supports: ``json://``, ``slack://``, ``msteams://``, ``pagerduty://``, ``mailto://``.

    The Prefect server loads this class to send, so the server needs ``keyturn[flows]`` too. The address often contains
    a token: set PREFECT_SERVER_ENCRYPTION_KEY on a shared server.
    """

    _block_type_name = "Keyturn Failure Channel"
    _block_type_slug = "keyturn-failure-channel"

    url: SecretStr = Field(
        default=...,
        title="Apprise address",
        description="Where failures are reported, as an Apprise URL.",
        examples=["slack://TokenA/TokenB/TokenC/#oncall", "mailto://user:pass@example.com"],
    )


class BlockChannel:
    """The channel in the :class:`FailureChannel` block, which is loaded at each send."""

    def __init__(self, name: str) -> None:
        self._name = name

    def send(self, announcement: Announcement) -> None:
        """Raises NotFound if the block does not exist, and the errors of :class:`AppriseChannel`."""
        AppriseChannel(self._address).send(announcement)

    def _address(self) -> Sensitive:
        try:
            block = FailureChannel.load(self._name, _sync=True)  # type: ignore[call-arg]  # added by Prefect's dispatch
        except ValueError:
            hint = "Set KEYTURN_FAILURE_URL, or run `keyturn setup prefect --apply` with it"
            raise NotFound("tell", "the person on call", "no failure channel is set", hint) from None
        return Sensitive(cast(FailureChannel, block).url.get_secret_value())
