"""The frameworks that reports are made for, each a file of data: what is asked, and which checks answer it."""

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
"""By their names on the command line."""


def find_framework(name: str) -> Framework:
    """The framework of that name. Raises NotFound with the one likely meant."""
    if name in FRAMEWORKS:
        return FRAMEWORKS[name]
    raise NotFound("find", f"framework {name}", "there is none of that name", advice(name, FRAMEWORKS, ""))
