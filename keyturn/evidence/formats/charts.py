"""A report's charts, from its rows."""

from collections import Counter, defaultdict

from markupsafe import Markup

from keyturn.evidence.report import Document
from keyturn.pages.charts import CLASSES, AgeBar, age_bars, stacked_bars


def age_chart(document: Document) -> Markup:
    """Return the ages of the secrets nearest to their limits; empty without any."""
    return age_bars(
        AgeBar(row["name"], cells["age_days"], cells["limit_days"], str(cells["classification"]))
        for row in document["rows"]
        if row["kind"] == "secret" and (cells := row["cells"])["limit_days"] and cells["age_days"] is not None
    )


def rotation_chart(document: Document) -> Markup:
    bars = document["charts"]["rotations"]
    stacks = [(str(bar["from"]), [(int(bar["rotated"]), "done"), (int(bar["failed"]), "bad")]) for bar in bars]
    return stacked_bars(stacks, "Rotations over time")


def access_chart(document: Document) -> Markup:
    hours: dict[int, Counter[str]] = defaultdict(Counter)
    for access in document["charts"]["accesses"]:
        hours[int(access["hour"])][str(access["classification"])] += int(access["reads"])
    stacks = [(f"{hour:02}", [(hours[hour][name], name) for name in CLASSES]) for hour in range(24)]
    return stacked_bars(stacks, "Reads by the hour of the day (UTC) and classification")
