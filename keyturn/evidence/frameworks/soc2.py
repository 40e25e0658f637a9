"""SOC 2: the Trust Services Criteria for logical access and monitoring."""

from typing import Final

from keyturn.evidence.model import Control, Framework

SOC2: Final = Framework(
    id="soc2",
    title="SOC 2, Trust Services Criteria",
    source="AICPA, 2017 Trust Services Criteria with revised points of focus (2022)",
    controls=(
        Control(
            "CC6.1",
            "Logical access security",
            "Software and architecture keep protected information from unauthorised people; credentials and keys "
            "are protected and managed.",
            (
                "inventory-made",
                "rotation-automated",
                "rotation-in-time",
                "copies-in-step",
                "certificates-in-time",
                "own-keys-in-time",
                "nothing-unmanaged",
                "cloud-scanner-explained",
            ),
            "Access that needs no secret, such as to networks and buildings.",
        ),
        Control(
            "CC6.2",
            "Credentials are issued and removed",
            "Credentials are issued to registered and authorised people, and removed once authorisation ends.",
            ("old-credentials-ended", "incidents-closed", "revocation-tested", "second-person"),
            "How people come and go: that is the identity provider's.",
        ),
        Control(
            "CC6.3",
            "Access by role and least privilege",
            "Access is given, changed and removed by role, with least privilege and segregation of duties.",
            ("accesses-reviewed", "unused-listed", "values-shown", "second-person", "exceptions-in-force"),
        ),
        Control(
            "CC7.2",
            "Monitoring for anomalies",
            "Systems are monitored for what is unlike them, and that is analysed.",
            ("reads-watched", "accesses-known", "ledger-whole"),
            "Anomalies that do not show in reads of secrets.",
        ),
    ),
)
