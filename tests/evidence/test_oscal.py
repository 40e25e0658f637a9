"""OSCAL assessment results: what is satisfied, by which names, and the same for the same report."""

import json
import re

import pytest

from keyturn.evidence.formats import write_format
from keyturn.evidence.frameworks import FRAMEWORKS
from tests.evidence.scene import House


def test_a_control_is_satisfied_only_where_it_passes(home: House) -> None:
    hidden = home.report("soc2", unseen={"the ledger": "away"})
    (result,) = json.loads(write_format("oscal", hidden)[1])["assessment-results"]["results"]
    states = {finding["target"]["target-id"]: finding["target"]["status"] for finding in result["findings"]}
    assert states["soc2_cc6.1"] == {"state": "not-satisfied", "reason": "fail"}
    assert states["soc2_cc7.2"] == {"state": "not-satisfied", "reason": "other"}
    assert {status["state"] for status in states.values()} == {"not-satisfied"}
    (absent,) = json.loads(write_format("oscal", home.report("pci"))[1])["assessment-results"]["results"]
    assert "pci_8.3.9" not in {finding["target"]["target-id"] for finding in absent["findings"]}
    controls = absent["reviewed-controls"]["control-selections"][0]["include-controls"]
    assert "pci_8.3.9" in {control["control-id"] for control in controls}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_its_names_are_tokens_and_its_evidence_is_in_the_report(home: House, framework: str) -> None:
    document = home.report(framework)
    text = write_format("oscal", document)[1]
    assert text == write_format("oscal", home.report(framework))[1]
    (result,) = json.loads(text)["assessment-results"]["results"]
    for selected in result["reviewed-controls"]["control-selections"][0]["include-controls"]:
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9._-]*", selected["control-id"])
    rows = {row["id"] for row in document["rows"]}
    for observation in result["observations"]:
        for evidence in observation.get("relevant-evidence", ()):
            assert evidence["props"][0]["value"] in rows
