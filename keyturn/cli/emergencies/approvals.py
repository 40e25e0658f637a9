"""``keyturn access approve`` and ``keyturn access review``: a second person's signature, before or after an action."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.output import note, when, write_json, write_table
from keyturn.core.errors import KeyturnError

if TYPE_CHECKING:
    from keyturn.core.ports.ledger import Signer
    from keyturn.rotation.state.approvals import ApprovalRequest
    from keyturn.rotation.state.break_glass import BrokenGlass
    from keyturn.rotation.state.context import Workspace

SignWith = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="Your own Ed25519 key in PEM, instead of your key in the hub."),
]


def own_key(file: Path | None) -> "Signer | None":
    """The key in a file that a person signs with; None without a file. Raises Invalid."""
    if file is None:
        return None
    from keyturn.providers.keys.note_signer import FileSigner

    return FileSigner(file)


def approve(request: str, yes: bool, key_file: Path | None, catalogue: Path | None, as_json: bool) -> None:
    """Approve what another person has asked for.

    It shows the request and signs exactly that: with your key in the hub, in a login of your own, or with --key-file.
    The approval is good for one use, until its time is up. You can't approve your own request.
    """
    from dataclasses import asdict

    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on: give --yes")
    with opened_workspace(catalogue, lenient=True) as workspace:
        from keyturn.rotation.state import approvals

        wanted = approvals.load_request(workspace, request)
        if not as_json:
            write_table((wanted.id, ""), request_rows(wanted), whole=(wanted.id,))
        if not yes:
            typer.confirm("Approve it?", abort=True, err=True)
        signed = approvals.approve_request(workspace, wanted, own_key(key_file))
    if as_json:
        write_json({**asdict(signed), "digest": signed.digest})
    if (missing := signed.needed - len(signed.approvals)) > 0:
        return note(f"you have signed {signed.id}; {missing} more has to")
    return note(f"{signed.id} is approved: it may be done once, until {minute(signed.expires_at)} UTC")


def request_rows(wanted: "ApprovalRequest") -> list[tuple[str, str]]:
    about = [(name, lines(value)) for name, value in wanted.about.items() if value]
    return [
        ("what", f"{wanted.action}: {wanted.words}"),
        ("how much", str(wanted.size)),
        *about,
        ("asked by", wanted.asked_by),
        ("through", wanted.remark),
        ("signatures", needed_words(wanted.needed)),
        ("asked at", f"{minute(wanted.asked_at)} UTC"),
        ("good until", f"{minute(wanted.expires_at)} UTC"),
        ("digest", wanted.digest),
    ]


def needed_words(needed: int) -> str:
    return "1" if needed == 1 else f"{needed}: the login does not say which person it was"


def lines(value: object) -> str:
    return "\n".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def minute(moment: str) -> str:
    return when(datetime.fromisoformat(moment))


def review(glass: str, verdict: str, key_file: Path | None, catalogue: Path | None, as_json: bool) -> None:
    """Sign what you found of something that was done without the second person that it needs.

    Approvers may, except the one who did it. Where the login does not say who did it, two of them have to. Without
    --verdict it is only shown.
    """
    from dataclasses import asdict

    with opened_workspace(catalogue, lenient=True) as workspace:
        from keyturn.rotation.state.break_glass import read_broken, review_broken

        if verdict:
            broken = review_broken(workspace, glass, verdict, own_key(key_file))
        else:
            broken = read_broken(workspace, glass)
    if as_json:
        return write_json({**asdict(broken), "digest": broken.digest})
    write_table((broken.id, ""), glass_rows(broken), whole=(broken.id,))
    if broken.reviewed_by:
        return note(f"{broken.id} is reviewed")
    return note(f"{broken.id} waits for {broken.needed - len(broken.signed_by)} review: --finding TEXT")


def glass_rows(broken: "BrokenGlass") -> list[tuple[str, str]]:
    rows = [
        ("what", f"{broken.action}: {broken.words}"),
        ("why", broken.reason),
        ("who", broken.actor),
        ("through", broken.remark),
        ("when", f"{minute(broken.at)} UTC"),
        ("reviews", needed_words(broken.needed)),
    ]
    reviewed = [("reviewed by", " and ".join(broken.signed_by)), ("verdict", broken.verdict)]
    return [*rows, *reviewed] if broken.signed_by else rows


def find_unreviewed(workspace: "Workspace") -> "list[BrokenGlass]":
    """What was done without a second person and has not been reviewed. Notes what cannot be read."""
    from keyturn.grants.reviews import list_broken_access
    from keyturn.rotation.state.break_glass import list_broken

    broken: list[BrokenGlass] = []
    for what, look in (("was done", list_broken), ("access was given", list_broken_access)):
        try:
            broken += look(workspace)
        except KeyturnError as error:
            note(f"NOT LOOKED AT what {what} without a second person: {error.problem}. {error.hint}")
    return [glass for glass in broken if not glass.reviewed_by]


def tell_unreviewed(broken: "list[BrokenGlass]") -> None:
    """Show which of them have not been reviewed."""
    for glass in broken:
        reason = "" if glass.words.endswith(f": {glass.reason}") else f"; {glass.reason}"
        what = f"{glass.action} {glass.words}{reason}"
        who = glass.actor.partition(" (")[0]
        until = f", which is due until {minute(glass.review_by)} UTC" if glass.review_by else ""
        next_step = f". Another person: {review_command(glass.id)}" if glass.at else ""
        note(f"NOT REVIEWED {glass.id}{until}, by {who}: {what}{next_step}")


def review_command(name: str) -> str:
    return f"keyturn access review {name} --finding TEXT"
