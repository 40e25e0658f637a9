"""GDPR: security of processing."""

from typing import Final

from keyturn.evidence.model import Control, Framework

GDPR: Final = Framework(
    id="gdpr",
    title="GDPR, Article 32: security of processing",
    source="Regulation (EU) 2016/679, Article 32",
    controls=(
        Control(
            "32(1)(b)",
            "Confidentiality, integrity and resilience",
            "The systems that process personal data stay confidential, whole, available and resilient.",
            (
                "rotation-automated",
                "rotation-in-time",
                "old-credentials-ended",
                "copies-in-step",
                "nothing-unmanaged",
                "certificates-in-time",
                "ledger-whole",
            ),
            "Which of the systems process personal data.",
        ),
        Control(
            "32(1)(c)",
            "Restoring access in time",
            "After an incident, availability of and access to personal data are restored in time.",
            ("restore-tested", "incidents-closed", "logins-work"),
            "Backups of the data itself, and that they can be restored.",
        ),
        Control(
            "32(1)(d)",
            "Regular testing",
            "Whether the measures work is tested, assessed and evaluated regularly.",
            ("logins-work", "rotated-in-period", "ledger-whole", "exceptions-in-force"),
        ),
        Control(
            "32(4)",
            "Processing only on instructions",
            "People with access process the data only as instructed.",
            ("accesses-known", "accesses-reviewed", "values-shown", "second-person"),
            "What is done with the data once it is read.",
        ),
    ),
)
