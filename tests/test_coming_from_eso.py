"""The table for people who come from External Secrets Operator: every example on our side is one that loads."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from keyturn.catalogue import find_problems

GUIDE = (Path(__file__).parents[1] / "docs" / "migration.md").read_text()
PAGE = GUIDE.partition("### ESO features in Keyturn\n")[2].partition("\n## ")[0]
ROWS = [row.rpartition(" | ")[2] for row in PAGE.splitlines() if row.startswith("| ")][1:]
PLACES = re.findall(r"`(- \{.*?\})`", "\n".join(ROWS))
SECTIONS = re.findall(r"`((?:syncs|stores): \{.*?\})`", "\n".join(ROWS))
STORES = {"aws": {"kind": "aws-secrets-manager", "region": "eu-central-1"}}
CLUSTER = {"cluster": {"kind": "kubernetes", "namespace": "apps"}}
ROTATION = {
    "strategy": "single-user",
    "target": "pg",
    "user": "a",
    "accepts_gap": True,
    "interval": "30d",
    "grace": "1d",
}
TARGET = {"kind": "postgresql", "host": "db", "database": "d", "admin": "targets/pg"}


@pytest.mark.parametrize("example", PLACES + SECTIONS)
def test_the_example_is_part_of_a_catalogue_that_loads(example: str, tmp_path: Path) -> None:
    said = yaml.safe_load(example)
    secret = {"owner": "a@example.com", "classification": "internal", "rotation": ROTATION}
    whole: dict[str, Any] = {"stores": STORES | CLUSTER, "targets": {"pg": TARGET}, "secrets": {"app/db": secret}}
    if isinstance(said, list):
        whole["secrets"]["app/db"] = {**secret, "destinations": said}
    else:
        whole |= {name: {**whole.get(name, {}), **entries} for name, entries in said.items()}
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(whole))
    assert find_problems(tmp_path, {}) == []


def test_every_row_but_the_last_has_an_example() -> None:
    assert len(PLACES) + len(SECTIONS) >= len(ROWS) - 1 > 10
