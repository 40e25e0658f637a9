"""Arguments and options shared by several commands."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from keyturn.cli.completion import complete_secret
from keyturn.cli.output import MANNER
from keyturn.core.workspaces import CATALOGUE_VARIABLE, VARIABLE
from keyturn.revocation.incidents.incident import Mode

CatalogueOption = Annotated[
    Path | None,
    typer.Option(
        "--catalogue",
        metavar="DIR",
        envvar=CATALOGUE_VARIABLE,
        help="The catalogue's directory; deployments/catalogue by default.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of a table; the keys are in docs/cli.md.")]


class Layout(StrEnum):
    """The output format of a list."""

    TABLE = "table"
    WIDE = "wide"
    NAME = "name"
    JSON = "json"


OutputOption = Annotated[
    Layout,
    typer.Option(
        "--output",
        "-o",
        help="wide: nothing is folded; name: one name a line; json: as with --json.",
        show_default=False,
    ),
]

LocalOption = Annotated[bool, typer.Option("--local", help="Run in this process, without Prefect.")]
TimeoutOption = Annotated[
    int,
    typer.Option("--timeout", metavar="SECONDS", min=1, help="How long to wait for Prefect; the run itself continues."),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="DIR",
        help="Where the report's files go; keyturn/incidents in your state directory by default.",
    ),
]


def layout_of(output: Layout, as_json: bool) -> Layout:
    """Return the list's layout and apply it to tables. Raises BadParameter if ``--json`` contradicts ``--output``."""
    if as_json and output not in (Layout.TABLE, Layout.JSON):
        raise typer.BadParameter(f"give --json or --output {output}, not both")
    MANNER.wide = output is Layout.WIDE
    return Layout.JSON if as_json else output


def insist_on_terminal(answered: bool, remedy: str = "give --yes") -> None:
    """Raise BadParameter if there is a question, but no terminal."""
    if not (answered or sys.stdin.isatty()):
        raise typer.BadParameter(f"there is no terminal to ask on: {remedy}")


INCIDENT_TIMEOUT: Final = 600
"""The wait for an incident, in seconds."""

ReasonOption = Annotated[str, typer.Option("--reason", help="What happened; it is kept in the report and the ledger.")]
PreviewOption = Annotated[bool, typer.Option("--preview", help="Only show what would end and who is cut off.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Don't ask.")]
YesToRevokeOption = Annotated[bool, typer.Option("--yes", help="Don't ask, and don't wait for the preview.")]
ExpectOption = Annotated[
    int,
    typer.Option(
        "--expect",
        metavar="N",
        min=0,
        help="How many secrets and leases end. Needed for more than five, for '**', leases and revoke-only.",
    ),
]
PathArgument = Annotated[
    str, typer.Argument(help="The secret, such as ml-training/database.", autocompletion=complete_secret)
]
OptionalPath = Annotated[
    str | None, typer.Argument(help="One secret; without it, all of them.", autocompletion=complete_secret)
]
OptionalPattern = Annotated[
    str | None,
    typer.Argument(
        help="One secret, or a pattern such as 'ml-training/*' or '**'; without it, all of them.",
        autocompletion=complete_secret,
    ),
]
Patterns = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH",
        help="Secrets, or patterns such as 'ml-training/*'; without any, all.",
        autocompletion=complete_secret,
    ),
]
DeepOption = Annotated[
    bool, typer.Option("--deep", help="Ask for each copy by itself: finds changes that listings hide, and is slower.")
]
WorkspaceOption = Annotated[
    str,
    typer.Option(
        "--workspace",
        metavar="NAME",
        envvar=VARIABLE,
        help="Which workspace of the Prefect server, where several share it; the one called default by default.",
    ),
]
FailureUrlOption = Annotated[
    str | None,
    typer.Option(
        "--failure-url",
        metavar="URL",
        envvar="KEYTURN_FAILURE_URL",
        help="Where failed runs are reported, as an Apprise address. It may hold a token: prefer the variable.",
    ),
]
OverLimitOption = Annotated[
    str,
    typer.Option("--over-limit", metavar="REASON", help="Exceed an hourly limit, with a reason. People are notified."),
]
BreakGlassOption = Annotated[
    str,
    typer.Option(
        "--break-glass",
        metavar="REASON",
        help="Skip the required second approval. People are notified and the use must be reviewed.",
    ),
]

ModeOption = Annotated[
    Mode, typer.Option("--mode", help="revoke-only: nothing new is made, and applications stay cut off.")
]
