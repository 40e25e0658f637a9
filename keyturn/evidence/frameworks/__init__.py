"""The frameworks for reports: requirements, and the checks that answer them."""

from typing import Final

from keyturn.core.errors import NotFound
from keyturn.core.text.suggest import advice
from keyturn.evidence.frameworks.dora import DORA
from keyturn.evidence.frameworks.fedramp_ksi import FEDRAMP_KSI
from keyturn.evidence.frameworks.gdpr import GDPR
from keyturn.evidence.frameworks.hipaa import HIPAA
from keyturn.evidence.frameworks.nist import NIST
from keyturn.evidence.frameworks.pci import PCI
from keyturn.evidence.frameworks.soc2 import SOC2
from keyturn.evidence.model import Framework

FRAMEWORKS: Final = {framework.id: framework for framework in (FEDRAMP_KSI, SOC2, HIPAA, GDPR, PCI, DORA, NIST)}
"""The frameworks by their names on the command line."""


def find_framework(name: str) -> Framework:
    """Return the framework of that name. Raises NotFound with the likely intended one."""
    if name in FRAMEWORKS:
        return FRAMEWORKS[name]
    raise NotFound("find", f"framework {name}", "there is none of that name", advice(name, FRAMEWORKS, ""))
