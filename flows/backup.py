"""Make a full backup on request, or without a `keyturn serve` that makes backups continuously."""

from datetime import timedelta
from typing import Final

from prefect.artifacts import acreate_markdown_artifact

from flows.doctor import cell
from flows.support.common import flow, well
from keyturn.core.ports.backups import Manifest
from keyturn.core.workspaces import slug
from tasks import backups as tasks
from tasks.workspace import names

NAME: Final = "backup"


@flow(NAME, timeout=timedelta(hours=1))
async def backup() -> str:
    """Make a full backup in the declared place, with the login that reads everything and changes nothing.

    The run's page names what the backup lacks. Safe to run again: an interrupted run leaves no backup.
    """
    manifest = await tasks.back_up()
    summary = f"{manifest.name}: {manifest.counts['all']} entries, as of {manifest.begun_at:%Y-%m-%d %H:%M:%S} UTC"
    await acreate_markdown_artifact(
        to_markdown(manifest, summary), key=slug(names().artifact(NAME)), description=summary
    )
    return well(summary, manifest.name)


def to_markdown(manifest: Manifest, summary: str) -> str:
    counts = [f"| {cell(what)} | {count} |" for what, count in sorted(manifest.counts.items()) if what != "all"]
    missing = [f"- not in the backup: {cell(line)}" for line in manifest.missing]
    return "\n".join([f"**{summary}**", "", "| what | how many |", "|---|---|", *counts, "", *missing])
