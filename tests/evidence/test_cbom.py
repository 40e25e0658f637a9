"""The bill of cryptographic materials: legal CycloneDX, with an end for each key and certificate, and no value."""

import json
from datetime import timedelta
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from keyturn.core.ports.keys import KeyKind
from keyturn.evidence.formats import write_format
from keyturn.evidence.formats.cbom import ALGORITHMS_USED, algorithm_component
from keyturn.evidence.frameworks import FRAMEWORKS
from keyturn.providers.keys.key_maker import POST_QUANTUM
from tests.evidence.scene import SINCE, WEB, House


def bill(home: House, **changes: Any) -> dict[str, Any]:
    """The bill of a report."""
    made: dict[str, Any] = json.loads(write_format("cbom", home.report("dora", **changes))[1])
    return made


@pytest.mark.parametrize("framework", ["dora", "nist"])
def test_it_is_legal_and_the_same_for_the_same_report(home: House, framework: str) -> None:
    assert framework in FRAMEWORKS
    text = write_format("cbom", home.report(framework))[1]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert text == write_format("cbom", home.report(framework))[1]


def test_every_key_and_certificate_has_its_end_and_its_algorithm(home: House) -> None:
    made = bill(home)
    named = {
        (part["name"], part["cryptoProperties"]["assetType"]): part["cryptoProperties"] for part in made["components"]
    }
    assert set(named) == {
        ("ECDSA-P-256", "algorithm"),
        ("Ed25519", "algorithm"),
        (WEB, "certificate"),
        (WEB, "related-crypto-material"),
        ("own key ledger-key", "related-crypto-material"),
    }
    ends = named[WEB, "certificate"]["certificateProperties"]["notValidAfter"]
    assert ends == f"{SINCE + timedelta(days=130):%Y-%m-%dT%H:%M:%SZ}"
    key = named["own key ledger-key", "related-crypto-material"]["relatedCryptoMaterialProperties"]
    assert key["expirationDate"] == f"{SINCE + timedelta(days=1095):%Y-%m-%dT%H:%M:%SZ}"
    assert key["algorithmRef"] == "algorithm-ed25519"
    references = {part["bom-ref"] for part in made["components"]}
    assert len(references) == len(made["components"])
    assert {ref for each in made["dependencies"] for ref in (each["ref"], *each["dependsOn"])} <= references


def test_without_any_key_it_is_empty_and_legal(home: House) -> None:
    made = bill(home, secrets=(), keys=())
    assert made["components"] == []
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(made)) is None


def test_every_kind_of_key_has_its_algorithm() -> None:
    assert {str(kind) for kind in KeyKind} <= set(ALGORITHMS_USED)
    assert set(POST_QUANTUM.values()) <= set(ALGORITHMS_USED)
    properties = algorithm_component("ml-dsa-65")["cryptoProperties"]["algorithmProperties"]
    assert (properties["classicalSecurityLevel"], properties["nistQuantumSecurityLevel"]) == (192, 3)
