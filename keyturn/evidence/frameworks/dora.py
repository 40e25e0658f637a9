"""DORA: the regulatory technical standard on cryptographic keys."""

from typing import Final

from keyturn.evidence.model import Control, Framework

DORA: Final = Framework(
    id="dora",
    title="DORA, cryptographic key management",
    source="Commission Delegated Regulation (EU) 2024/1774, Article 7",
    controls=(
        Control(
            "7(1)",
            "The whole life of keys",
            "Keys are managed through their whole life: made, renewed, stored, retired, revoked and destroyed.",
            ("rotation-automated", "rotation-in-time", "cryptoperiods", "old-credentials-ended", "own-keys-in-time"),
            "Keys that Keyturn does not manage, and the written policy itself.",
        ),
        Control(
            "7(2)",
            "Keys are protected",
            "Controls protect keys against loss, access without authorisation, disclosure and change.",
            ("accesses-reviewed", "copies-in-step", "nothing-unmanaged", "values-shown", "ledger-whole"),
        ),
        Control(
            "7(3)",
            "Keys are replaced when lost or compromised",
            "There are methods that replace keys which were lost, compromised or damaged.",
            ("incidents-closed", "revocation-tested", "logins-work"),
        ),
        Control(
            "7(4)",
            "The register of certificates",
            "All certificates, and the devices that store them, are in a register that is kept up to date, at least "
            "of what supports critical or important functions.",
            ("certificates-in-time", "inventory-made"),
            "Certificates that the catalogue does not declare, and hardware that stores any.",
        ),
        Control(
            "7(5)",
            "Certificates are renewed in time",
            "Certificates are renewed before they end.",
            ("certificates-in-time",),
        ),
    ),
)
