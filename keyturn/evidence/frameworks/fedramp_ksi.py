"""FedRAMP 20x: the Key Security Indicators that concern secrets."""

from typing import Final

from keyturn.evidence.model import Control, Framework

FEDRAMP_KSI: Final = Framework(
    id="fedramp-ksi",
    title="FedRAMP 20x Key Security Indicators",
    source="FedRAMP Machine-Readable Documentation (FRMR) 0.9.43-beta of 2026-04-08, section KSI",
    controls=(
        Control(
            "KSI-SVC-ASM",
            "Automating Secret Management",
            "Keys, certificates and other secrets are managed, protected and regularly rotated by automation.",
            (
                "rotation-automated",
                "rotation-in-time",
                "rotated-in-period",
                "old-credentials-ended",
                "copies-in-step",
                "certificates-in-time",
                "own-keys-in-time",
                "cloud-scanner-explained",
            ),
            "Secrets in places that Keyturn does not check, such as code or laptops.",
        ),
        Control(
            "KSI-IAM-SNU",
            "Securing Non-User Authentication",
            "Accounts and services that are no users authenticate by secure methods.",
            ("logins-work", "rotation-automated", "cryptoperiods"),
            "Services that authenticate without any secret that Keyturn manages.",
        ),
        Control(
            "KSI-IAM-ELP",
            "Ensuring Least Privilege",
            "Each user or device reaches only what it needs, and that is looked at again and again.",
            ("accesses-reviewed", "unused-listed", "values-shown"),
            "What the accounts behind the secrets may do at their targets.",
        ),
        Control(
            "KSI-IAM-SUS",
            "Responding to Suspicious Activity",
            "Privileged accounts are disabled or secured by automation when something is suspicious.",
            ("incidents-closed", "revocation-tested", "reads-watched"),
            "Suspicious activity that does not show in reads of secrets.",
        ),
        Control(
            "KSI-MLA-OSM",
            "Operating SIEM Capability",
            "Events, activities and changes are logged centrally, so that tampering shows.",
            ("ledger-whole", "actions-attributed", "records-kept"),
            "Logs of other systems.",
        ),
        Control(
            "KSI-MLA-LET",
            "Logging Event Types",
            "It is listed what is logged, monitored and audited, and that is done.",
            ("accesses-known", "actions-attributed"),
        ),
        Control(
            "KSI-MLA-RVL",
            "Reviewing Logs",
            "Logs are reviewed and audited persistently.",
            ("reads-watched", "accesses-reviewed", "second-person"),
        ),
        Control(
            "KSI-CMT-LMC",
            "Logging Changes",
            "Changes of the service are logged and monitored.",
            ("ledger-whole", "actions-attributed"),
            "Changes that are no changes of secrets.",
        ),
        Control(
            "KSI-PIY-GIV",
            "Generating Inventories",
            "Inventories come from authoritative sources, by automation, whenever they are needed.",
            ("inventory-made", "nothing-unmanaged", "exceptions-in-force"),
        ),
    ),
)
