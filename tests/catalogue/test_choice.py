"""Which secrets a sync chooses: by path, owner, classification and labels, all of which have to hold."""

import os
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue import Catalogue, load_catalogue
from keyturn.catalogue.choice import About, Choice

OURS = About("pay@example.com", "restricted", {"team": "pay", "stage": "production"})
"""What is said of pay/db, in the tables below."""


@pytest.mark.parametrize(
    ("chosen", "declared", "undeclared"),
    [
        ({"paths": ["pay/*"]}, True, True),
        ({"paths": ["ml/*"]}, False, False),
        ({"paths": ["**"], "without": ["pay/*"]}, False, False),
        ({"owners": ["ml@example.com", "pay@example.com"]}, True, False),
        ({"owners": ["ml@example.com"]}, False, False),
        ({"classifications": ["confidential", "restricted"]}, True, False),
        ({"classifications": ["public"]}, False, False),
        ({"labels": {"team": "pay"}}, True, False),
        ({"labels": {"team": "pay", "stage": "production"}}, True, False),
        ({"labels": {"team": "pay", "stage": "test"}}, False, False),
        ({"labels": {"region": "pay"}}, False, False),
        ({"paths": ["pay/**"], "owners": ["pay@example.com"], "labels": {"team": "pay"}}, True, False),
        ({"paths": ["ml/**"], "owners": ["pay@example.com"], "labels": {"team": "pay"}}, False, False),
        ({"owners": ["pay@example.com"], "without": ["pay/*"]}, False, False),
    ],
)
def test_a_secret_is_chosen_for_which_all_holds(chosen: dict[str, Any], declared: bool, undeclared: bool) -> None:
    choice = Choice.model_validate(chosen)
    assert choice.covers("pay/db", OURS) is declared
    assert choice.covers("pay/db", None) is undeclared


CATALOGUE = """
stores:
  aws: {kind: aws-secrets-manager, region: eu-central-1}
  plant: {kind: file, directory: /run/plant}
secrets:
  pay/db:
    owner: pay@example.com
    classification: restricted
    labels: {stage: production}
    rotation: &hex {strategy: generated, field: key, form: hex, interval: 1d, grace: 1h}
  pay/test:
    owner: pay@example.com
    classification: restricted
    rotation: *hex
syncs:
  everything: {paths: ["**"], stores: [aws]}
  production: {labels: {stage: production}, owners: [pay@example.com], stores: [plant], name: "{name}"}
"""


def labels(catalogue: Catalogue, path: str) -> list[str]:
    return [place.label for place in catalogue.destinations(path)]


def test_syncs_push_what_they_choose_and_what_is_not_declared_by_its_path_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.catalogue.files.index.WORTH", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "all.yaml").write_text(CATALOGUE)
    for read in ("anew", "from the index"):
        catalogue = load_catalogue(tmp_path, os.environ)
        assert labels(catalogue, "pay/db") == ["aws:pay/db", "plant:db"], read
        assert labels(catalogue, "pay/test") == ["aws:pay/test"], read
        assert labels(catalogue, "pay/undeclared") == ["aws:pay/undeclared"], read
