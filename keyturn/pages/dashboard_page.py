"""The dashboard page: as a file that any browser shows, and as `keyturn serve` serves it.

It loads nothing. Its policy names its style and its only script, which filters and sorts, by their hashes.
"""

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from keyturn.pages.charts import CLASSES, AgeBar, age_bars, stacked_bars
from keyturn.pages.dashboard import Dashboard
from keyturn.pages.render import page_templates

TEMPLATES: Final = Path(__file__).with_name("templates")
STYLES: Final = ("style.css", "charts.css", "dashboard.css")
AHEAD: Final = 30
"""The number of days of rotations in the chart."""


@dataclass(frozen=True)
class ServedPage:
    """A page, and the Content-Security-Policy that a server sends with it."""

    html: str
    policy: str


def write_dashboard(dashboard: Dashboard) -> str:
    """Return the page as a file that contains its Content-Security-Policy."""
    return _dashboard(dashboard, served=False).html


def serve_dashboard(dashboard: Dashboard) -> ServedPage:
    """Return the page for a person who is signed in."""
    return _dashboard(dashboard, served=True)


@lru_cache(16)
def sign_in_page(remark: str, idle: int, longest: int) -> ServedPage:
    """Return the page that asks for a token of the hub; ``remark`` is the reason.

    A session ends after ``idle`` minutes without a request, and after ``longest`` hours at most.
    """
    return _page("sign_in.html.j2", "", served=True, remark=remark, idle=idle, longest=longest)


def remark_page(title: str, remark: str) -> ServedPage:
    """Return a page with the reason why there is nothing to show."""
    return _page("unseen.html.j2", "", served=True, title=title, remark=remark)


def _dashboard(dashboard: Dashboard, *, served: bool) -> ServedPage:
    return _page(
        "dashboard.html.j2",
        (TEMPLATES / "dashboard.js").read_text(),
        served=served,
        board=dashboard,
        ages=_ages(dashboard),
        turns=_turns(dashboard),
        classes=CLASSES,
    )


def _page(name: str, script: str, *, served: bool, **words: Any) -> ServedPage:
    style = "".join((TEMPLATES / file).read_text() for file in STYLES)
    policy = content_policy(style, script, forms="'self'" if served else "'none'")
    template = page_templates("html", TEMPLATES).get_template(name)
    # Both are Keyturn's own files.
    html = template.render(style=Markup(style), script=Markup(script), policy=policy, served=served, **words)  # noqa: S704
    # A policy inside a page can't restrict framing.
    return ServedPage(html, f"{policy}; frame-ancestors 'none'")


def content_policy(style: str, script: str, *, forms: str) -> str:
    """Return a Content-Security-Policy that allows only this style and this script, and no loading."""
    scripts = _hash(script) if script else "'none'"
    return f"default-src 'none'; style-src {_hash(style)}; script-src {scripts}; base-uri 'none'; form-action {forms}"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _ages(dashboard: Dashboard) -> Markup:
    return age_bars(
        AgeBar(line.path, line.age, line.limit, line.classification)
        for line in dashboard.secrets
        if line.age is not None and line.limit
    )


def _turns(dashboard: Dashboard) -> Markup:
    """Return a chart of the secrets due per day; late ones count for the first day."""
    today = dashboard.looked_at.date()
    days = Counter[tuple[int, str]]()
    for line in dashboard.secrets:
        if line.next_at:
            days[max(0, (line.next_at.date() - today).days), line.classification] += 1
    stacks = [
        (f"{today + timedelta(day):%m-%d}", [(days[day, name], name) for name in CLASSES]) for day in range(AHEAD)
    ]
    return stacked_bars(stacks, "Secrets that are replaced on each of the next days (UTC)")
