"""The register of keys as a CycloneDX 1.6 bill of cryptographic materials: keys, certificates and algorithms.

Each key and certificate has an end: its own expiry, else the cryptoperiod of its kind. Identifiers derive from the
report's digest, so the same report gives the same bill.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from keyturn.core.text.plain_text import visible
from keyturn.evidence.report import Document
from keyturn.evidence.tables import stamp

SPECIFICATION: Final = "1.6"


@dataclass(frozen=True)
class AlgorithmUse:
    """An algorithm in CycloneDX's terms: its purpose, its parameters, and its strength in bits.

    ``category`` is NIST's category of resistance to quantum computers, 0 for all other algorithms.
    """

    name: str
    primitive: str
    parameters: str
    functions: tuple[str, ...]
    bits: int
    curve: str = ""
    category: int = 0


SIGNING: Final = ("sign", "verify")

ALGORITHMS_USED: Final = {
    "rsa-2048": AlgorithmUse("RSA-2048", "signature", "2048", SIGNING, 112),
    "rsa-3072": AlgorithmUse("RSA-3072", "signature", "3072", SIGNING, 128),
    "rsa-4096": AlgorithmUse("RSA-4096", "signature", "4096", SIGNING, 152),
    "p-256": AlgorithmUse("ECDSA-P-256", "signature", "256", SIGNING, 128, "P-256"),
    "p-384": AlgorithmUse("ECDSA-P-384", "signature", "384", SIGNING, 192, "P-384"),
    "p-521": AlgorithmUse("ECDSA-P-521", "signature", "521", SIGNING, 256, "P-521"),
    "ed25519": AlgorithmUse("Ed25519", "signature", "255", SIGNING, 128, "Ed25519"),
    "ml-dsa-44": AlgorithmUse("ML-DSA-44", "signature", "44", SIGNING, 128, category=2),
    "ml-dsa-65": AlgorithmUse("ML-DSA-65", "signature", "65", SIGNING, 192, category=3),
    "ml-dsa-87": AlgorithmUse("ML-DSA-87", "signature", "87", SIGNING, 256, category=5),
    "hmac-sha-256": AlgorithmUse("HMAC-SHA-256", "mac", "256", ("tag",), 256),
}
"""The algorithms by the names that keys use for them.

Strengths: NIST SP 800-57 Part 1 Revision 5, table 2 and 5.6.1.1. FIPS 204, table 1: its categories 2, 3 and 5 count as
128, 192 and 256 bits.
"""


def write_cbom(document: Document) -> str:
    return json.dumps(bill(document), indent=2) + "\n"


def bill(document: Document) -> dict[str, Any]:
    rows = [row for row in document["rows"] if row["kind"] in ("key", "certificate")]
    materials = [component(row) for row in rows]
    used = sorted({algorithm for row in rows if (algorithm := algorithm_of(row))})
    serial = uuid5(NAMESPACE_URL, f"urn:keyturn:cbom:{document['digest']}")
    name, _, version = document["made_by"].partition(" ")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": document["looked_at"],
            "tools": {"components": [{"type": "application", "name": name, "version": version}]},
            "properties": [{"name": "keyturn:report", "value": document["digest"]}],
        },
        "components": [*map(algorithm_component, used), *materials],
        "dependencies": list(dependencies(rows)),
    }


def component(row: Mapping[str, Any]) -> dict[str, Any]:
    made = {"type": "cryptographic-asset", "bom-ref": reference(row), "name": visible(row["name"])}
    details = certificate_details(row) if row["kind"] == "certificate" else key_details(row)
    return {**made, "cryptoProperties": details}


def certificate_details(row: Mapping[str, Any]) -> dict[str, Any]:
    cells = row["cells"]
    members = {
        "subjectName": visible(f"CN={cells['common_name']}"),
        "issuerName": visible(cells["issuer"]),
        "notValidBefore": cells["made_at"],
        "notValidAfter": cells["ends_at"],
        "certificateFormat": "X.509",
    }
    return {"assetType": "certificate", "certificateProperties": present(members)}


def key_details(row: Mapping[str, Any]) -> dict[str, Any]:
    cells, algorithm = row["cells"], algorithm_of(row)
    members = {
        "type": "secret-key" if cells["kind"].startswith("symmetric") else "private-key",
        "state": "active",
        "algorithmRef": algorithm_reference(algorithm) if algorithm else None,
        "activationDate": cells["since"],
        "expirationDate": end_of(cells),
    }
    if cells["kind"] == "login":
        members["type"] = "credential"
    return {"assetType": "related-crypto-material", "relatedCryptoMaterialProperties": present(members)}


def end_of(cells: Mapping[str, Any]) -> str | None:
    """Return the end of a key's cryptoperiod, else its due date, else None."""
    if cells["since"] and cells["limit_days"]:
        return stamp(datetime.fromisoformat(cells["since"]) + timedelta(days=cells["limit_days"]))
    return cells["due_at"] or None


def algorithm_of(row: Mapping[str, Any]) -> str:
    name = str(row["cells"].get("algorithm") or row["cells"].get("key") or "")
    return name if name in ALGORITHMS_USED else ""


def algorithm_component(name: str) -> dict[str, Any]:
    algorithm = ALGORITHMS_USED[name]
    members = {
        "primitive": algorithm.primitive,
        "parameterSetIdentifier": algorithm.parameters,
        "curve": algorithm.curve or None,
        "cryptoFunctions": list(algorithm.functions),
        "classicalSecurityLevel": algorithm.bits,
        "nistQuantumSecurityLevel": algorithm.category or None,
    }
    details = {"assetType": "algorithm", "algorithmProperties": present(members)}
    return {
        "type": "cryptographic-asset",
        "bom-ref": algorithm_reference(name),
        "name": algorithm.name,
        "cryptoProperties": details,
    }


def dependencies(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if algorithm := algorithm_of(row):
            yield {"ref": reference(row), "dependsOn": [algorithm_reference(algorithm)]}


def present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: member for name, member in members.items() if member is not None}


def reference(row: Mapping[str, Any]) -> str:
    return f"{row['kind']}-{re.sub(r'[^A-Za-z0-9._/-]+', '-', row['name'])}-{row['digest'][:12]}"


def algorithm_reference(name: str) -> str:
    return f"algorithm-{name}"
