"""The page of everything, as one file that a browser shows from anywhere.

It loads nothing, and the one script in it, which filters and sorts, is named by its hash.
"""

import base64
import hashlib
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Final

from markupsafe import Markup

from keyturn.pages.charts import CLASSES, AgeBar, age_bars, stacked_bars
from keyturn.pages.dashboard import Dashboard
from keyturn.pages.render import page_templates

TEMPLATES: Final = Path(__file__).with_name("templates")
AHEAD: Final = 30
"""Days of turns that the chart shows."""


def write_dashboard(dashboard: Dashboard) -> str:
    """The page."""
    template = page_templates("html", TEMPLATES).get_template("dashboard.html.j2")
    script = (TEMPLATES / "dashboard.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return template.render(
        board=dashboard,
        ages=_ages(dashboard),
        turns=_turns(dashboard),
        classes=CLASSES,
        script=Markup(script),  # noqa: S704  it is ours
        script_source=f"'sha256-{digest}'",
    )


def _ages(dashboard: Dashboard) -> Markup:
    return age_bars(
        AgeBar(line.path, line.age, line.limit, line.classification)
        for line in dashboard.secrets
        if line.age is not None and line.limit
    )


def _turns(dashboard: Dashboard) -> Markup:
    """How many secrets are replaced on each of the next days; what is late is in the first."""
    today = dashboard.looked_at.date()
    days = Counter[tuple[int, str]]()
    for line in dashboard.secrets:
        if line.next_at:
            days[max(0, (line.next_at.date() - today).days), line.classification] += 1
    stacks = [
        (f"{today + timedelta(day):%m-%d}", [(days[day, name], name) for name in CLASSES]) for day in range(AHEAD)
    ]
    return stacked_bars(stacks, "Secrets that are replaced on each of the next days (UTC)")
