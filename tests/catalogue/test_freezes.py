"""The freeze calendar: which secrets it holds, and from when to when."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from keyturn.catalogue import load_catalogue
from keyturn.catalogue.freezes import FreezeSettings
from keyturn.core.schedule.windows import Freeze
from keyturn.core.text.path_patterns import covers

CATALOGUE = """
secrets:
  prod/db: &secret
    owner: app@example.com
    classification: internal
    rotation: {strategy: generated, interval: 30d, grace: 1h}
  test/db: *secret
freezes:
  christmas:
    from: 2026-12-20T18:00
    to: 2027-01-02T08:00
    timezone: Europe/Berlin
    reason: nobody is here
  audit: {from: 2026-06-01T00:00, to: 2026-06-08T00:00, timezone: UTC, reason: audit, paths: ["prod/**"]}
"""


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("**", ["db", "prod/db", "prod/eu/db"], []),
        ("prod/**", ["prod/db", "prod/eu/db"], ["prod", "product/db", "test/prod/db"]),
        ("prod/*", ["prod/db"], ["prod/eu/db", "prod"]),
        ("**/db", ["db", "prod/db", "prod/eu/db"], ["prod/db2", "prod/db/x", "prod-db"]),
        ("prod/**/db", ["prod/db", "prod/eu/db", "prod/eu/1/db"], ["prod/eu/key", "prod/eudb"]),
        ("prod/eu-*", ["prod/eu-1", "prod/eu-"], ["prod/us-1", "prod/eu-1/db"]),
        ("prod/db.main", ["prod/db.main"], ["prod/db-main"]),
    ],
)
def test_a_pattern_fits_whole_paths(pattern: str, inside: list[str], outside: list[str]) -> None:
    assert [path for path in [*inside, *outside] if covers(pattern, path)] == inside


def test_each_secret_knows_its_freezes(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(CATALOGUE)
    catalogue = load_catalogue(tmp_path, {})
    begins, ends = datetime(2026, 12, 20, 17, tzinfo=UTC), datetime(2027, 1, 2, 7, tzinfo=UTC)
    christmas = Freeze("christmas", begins, ends, "nobody is here")
    assert catalogue.freezes_of("test/db") == (christmas,)
    assert [freeze.name for freeze in catalogue.freezes_of("prod/db")] == ["christmas", "audit"]


def test_a_time_that_comes_twice_makes_the_freeze_longer() -> None:
    given = {"from": "2025-10-26T02:30", "to": "2025-10-26T02:45", "timezone": "Europe/Berlin", "reason": "move"}
    freeze = FreezeSettings.model_validate(given).policy("move")
    assert (freeze.begins, freeze.ends) == (
        datetime(2025, 10, 26, 0, 30, tzinfo=UTC),
        datetime(2025, 10, 26, 1, 45, tzinfo=UTC),
    )
