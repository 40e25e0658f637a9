"""``keyturn approve`` and ``keyturn review``: a second person's word, before something is done and after it."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, when, write_json, write_table
from keyturn.core.errors import KeyturnError

if TYPE_CHECKING:
    from keyturn.rotation.approvals import ApprovalRequest
    from keyturn.rotation.broken_glass import BrokenGlass
    from keyturn.rotation.context import Workspace

RequestArgument = Annotated[str, typer.Argument(metavar="REQUEST", help="Its name, such as REQ-3f9a1c07.")]
GlassArgument = Annotated[str, typer.Argument(metavar="ID", help="Its name, such as BG-20261127-031204-7f3a.")]
ApproveYes = Annotated[bool, typer.Option("--yes", help="Don't ask.")]
Verdict = Annotated[str, typer.Option("--verdict", help="What you have seen: it stands in the ledger.")]


def approve(
    request: RequestArgument, yes: ApproveYes = False, catalogue: CatalogueOption = None, as_json: JsonOption = False
) -> None:
    """Approve what somebody else has asked for.

    It shows what that is, and signs exactly this with your own key in the hub. The approval is good for one use, until
    its time is up. You can't approve what you have asked for yourself.
    """
    from dataclasses import asdict

    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on: give --yes")
    with opened_workspace(catalogue, lenient=True) as workspace:
        from keyturn.rotation import approvals

        wanted = approvals.load_request(workspace, request)
        if not as_json:
            write_table((wanted.id, ""), request_rows(wanted), whole=(wanted.id,))
        if not yes:
            typer.confirm("Approve it?", abort=True, err=True)
        signed = approvals.approve_request(workspace, wanted)
    if as_json:
        write_json({**asdict(signed), "digest": signed.digest})
    note(f"{signed.id} is approved: whoever asked for it may do it once, until {minute(signed.expires_at)} UTC")


def request_rows(wanted: "ApprovalRequest") -> list[tuple[str, str]]:
    """All that is signed, for people."""
    about = [(name, lines(value)) for name, value in wanted.about.items() if value]
    return [
        ("what", f"{wanted.action}: {wanted.words}"),
        ("how much", str(wanted.size)),
        *about,
        ("asked by", wanted.asked_by),
        ("through", wanted.remark),
        ("asked at", f"{minute(wanted.asked_at)} UTC"),
        ("good until", f"{minute(wanted.expires_at)} UTC"),
        ("digest", wanted.digest),
    ]


def lines(value: object) -> str:
    """One value of a request: every item of a list stands by itself, since all of it is signed."""
    return "\n".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def minute(moment: str) -> str:
    """A moment as people read it."""
    return when(datetime.fromisoformat(moment))


def review(
    glass: GlassArgument, verdict: Verdict = "", catalogue: CatalogueOption = None, as_json: JsonOption = False
) -> None:
    """Say that you have looked at what somebody did without the second person that it needs.

    Without --verdict it is only shown. Who has done it can't review it.
    """
    from dataclasses import asdict

    with opened_workspace(catalogue, lenient=True) as workspace:
        from keyturn.rotation.broken_glass import read_broken, review_broken

        broken = review_broken(workspace, glass, verdict) if verdict else read_broken(workspace, glass)[0]
    if as_json:
        return write_json(asdict(broken))
    write_table((broken.id, ""), glass_rows(broken), whole=(broken.id,))
    return note(
        f"{broken.id} is reviewed" if broken.reviewed_by else f"{broken.id} waits for its review: --verdict TEXT"
    )


def glass_rows(broken: "BrokenGlass") -> list[tuple[str, str]]:
    """One of them for people."""
    rows = [
        ("what", f"{broken.action}: {broken.words}"),
        ("why", broken.reason),
        ("who", broken.actor),
        ("through", broken.remark),
        ("when", f"{minute(broken.at)} UTC"),
    ]
    reviewed = [("reviewed by", broken.reviewed_by), ("verdict", broken.verdict)]
    return [*rows, *reviewed] if broken.reviewed_by else rows


def find_unreviewed(workspace: "Workspace") -> "list[BrokenGlass]":
    """What was done without a second person and nobody has looked at since; where that can't be read, say so."""
    from keyturn.grants.reviews import list_broken_access
    from keyturn.rotation.broken_glass import list_broken

    broken: list[BrokenGlass] = []
    for what, look in (("was done", list_broken), ("access was given", list_broken_access)):
        try:
            broken += look(workspace)
        except KeyturnError as error:
            note(f"NOT LOOKED AT what {what} without a second person: {error.problem}. {error.hint}")
    return [glass for glass in broken if not glass.reviewed_by]


def tell_unreviewed(broken: "list[BrokenGlass]") -> None:
    """Say which of them nobody has looked at since."""
    for glass in broken:
        reason = "" if glass.words.endswith(f": {glass.reason}") else f"; {glass.reason}"
        what = f"{glass.action} {glass.words}{reason}"
        who = glass.actor.partition(" (")[0]
        until = f", which is due until {minute(glass.review_by)} UTC" if glass.review_by else ""
        note(f"NOT REVIEWED {glass.id}{until}, by {who}: {what}. Another person: {review_command(glass.id)}")


def review_command(name: str) -> str:
    """What another person runs who has looked at it."""
    from keyturn.grants.requests import BEGINS

    return f"keyturn access review {name} --finding TEXT" if name.startswith(BEGINS) else f"keyturn review {name}"
