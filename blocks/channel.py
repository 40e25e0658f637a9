"""Where failed runs are reported: one Apprise address for a webhook, Slack, Teams, PagerDuty or mail."""

from prefect.blocks.notifications import AppriseNotificationBlock
from pydantic import Field, SecretStr


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
