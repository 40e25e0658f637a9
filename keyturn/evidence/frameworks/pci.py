"""PCI DSS: passwords of accounts, and audit logs."""

from typing import Final

from keyturn.evidence.model import Control, Framework

PCI: Final = Framework(
    id="pci",
    title="PCI DSS",
    source="PCI DSS 4.0.1 (June 2024)",
    controls=(
        Control(
            "8.3.9",
            "Passwords that are the only factor",
            "Where a password is the only factor of a user's access it is changed every 90 days at "
            "least, or the security posture of the account is analysed continuously.",
            ("people-passwords",),
            "Who has a second factor, and who analyses accounts.",
        ),
        Control(
            "8.6.3",
            "Passwords of applications and systems",
            "Passwords of application and system accounts are changed as often as a risk analysis says, and on "
            "suspicion of compromise, and are complex enough for that.",
            (
                "limits-declared",
                "rotation-in-time",
                "rotated-in-period",
                "old-credentials-ended",
                "incidents-closed",
                "exceptions-in-force",
                "cloud-scanner-explained",
            ),
            "The targeted risk analysis itself (12.3.1): the catalogue holds what came of it.",
        ),
        Control(
            "10.2",
            "Audit logs",
            "Logs are kept by which anomalies can be found and events analysed: who, what, when, how it ended, from "
            "where and on what.",
            ("actions-attributed", "ledger-whole", "accesses-known", "reads-watched", "values-shown"),
            "Access to cardholder data itself.",
        ),
        Control(
            "10.5.1",
            "Audit logs are retained",
            "Twelve months of logs are kept, and the last three can be read at once.",
            ("records-kept", "ledger-whole"),
            "Logs of other systems.",
        ),
    ),
)
