"""What keeps the trail's files few, and no older than they are kept for."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keyturn.serving import access_parts
from keyturn.serving.access_parts import MergePart
from keyturn.serving.parts import Tenure


def test_what_is_too_old_is_looked_for_at_the_start_and_once_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, asked, expired = [0.0], list[float](), list[float]()
    monkeypatch.setattr(access_parts, "elapsed", lambda: now[0])
    tenure = Tenure("merge/tests", 1, lambda: 0.0, lambda: asked.append(now[0]))

    def wait(seconds: float) -> bool:
        now[0] += 3600
        if now[0] > 100_000:
            tenure.ended.set()
        return tenure.over

    monkeypatch.setattr(tenure, "wait", wait)
    expire: Callable[[], object] = lambda: expired.append(now[0])  # noqa: E731
    MergePart("tests", tmp_path, lambda: datetime.now(UTC), expire).run(tenure)
    assert expired == asked == [0.0, 86_400.0]
