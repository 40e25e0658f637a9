"""The report for people, from the templates next to this module."""

import re
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment

from keyturn.pages.render import page_templates
from keyturn.pages.words import list_names
from keyturn.revocation.report.model import IncidentReport
from keyturn.revocation.report.words import RESULTS, STATES, STEPS, UNREAD

TEMPLATES: Final = Path(__file__).with_name("templates")


def render_html(report: IncidentReport) -> str:
    """The report as one HTML page without scripts, pictures or external fonts."""
    return environment("html").get_template("report.html.j2").render(report=report)


def render_markdown(report: IncidentReport) -> str:
    """The report as CommonMark with tables; long tables are cut, with a note."""
    text = environment("markdown").get_template("report.md.j2").render(report=report)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@cache
def environment(kind: str) -> Environment:
    """The templates of a format, and their globals and filters."""
    made = page_templates(kind, TEMPLATES)
    made.globals |= {"steps": STEPS, "states": STATES, "results": RESULTS}
    made.filters["first_names"] = lambda names: list_names(names, UNREAD)
    return made
