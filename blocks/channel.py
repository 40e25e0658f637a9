"""Where failed runs are reported: one Apprise address for a webhook, Slack, Teams, PagerDuty or mail."""

from typing import cast

from prefect.blocks.notifications import AppriseNotificationBlock
from pydantic import Field, SecretStr

from keyturn.core.errors import NotFound
from keyturn.core.notifications.channel import Announcement
from keyturn.core.sensitive import Sensitive
from keyturn.providers.apprise_channel import AppriseChannel


class FailureChannel(AppriseNotificationBlock):
    """Any service that Apprise speaks to: ``json://``, ``slack://``, ``msteams://``, ``pagerduty://``, ``mailto://``.

    The Prefect server loads this class when it sends, so ``keyturn[flows]`` is installed beside the server
    too. The address often holds a token: set PREFECT_SERVER_ENCRYPTION_KEY on a shared server.
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
    """The channel of that block, which is asked for when something is sent."""

    def __init__(self, name: str) -> None:
        self._name = name

    def send(self, announcement: Announcement) -> None:
        """Raises NotFound where there is no such block, and what :class:`AppriseChannel` raises."""
        AppriseChannel(self._address).send(announcement)

    def _address(self) -> Sensitive:
        try:
            block = FailureChannel.load(self._name, _sync=True)  # type: ignore[call-arg]  # added by Prefect's dispatch
        except ValueError:
            hint = "Set KEYTURN_FAILURE_URL, or run `keyturn setup prefect --apply` with it"
            raise NotFound("tell", "whoever is on call", "no failure channel is set", hint) from None
        return Sensitive(cast(FailureChannel, block).url.get_secret_value())
