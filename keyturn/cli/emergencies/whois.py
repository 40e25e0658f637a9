"""``keyturn whois``: find the secret of a fingerprint or a leaked value."""

import getpass
import re
import sys
import termios
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli import options
from keyturn.cli.emergencies.incident_runner import Through
from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import end_command
from keyturn.cli.output import note, write_json, write_table
from keyturn.core.actor import going_past_rules
from keyturn.core.errors import Invalid, NotFound
from keyturn.core.sensitive import Sensitive
from keyturn.core.workspaces import DEFAULT

if TYPE_CHECKING:
    from keyturn.revocation.whois import Match

FINGERPRINT: Final = re.compile(r"[0-9a-fA-F]{8,64}")
PROMPT: Final = "The leaked value (not shown; pipe it in where it has several lines): "
LONGEST: Final = 1 << 20
"""Bytes; no store takes a longer secret."""

FingerprintArgument = Annotated[
    str | None, typer.Argument(metavar="FINGERPRINT", help="The whole of one, or its first digits: 8 at least.")
]
StdinOption = Annotated[
    bool,
    typer.Option("--stdin", help="Read a leaked value from standard input instead; on a terminal it is not shown."),
]
ScannerOption = Annotated[
    Path | None,
    typer.Option(
        "--scanner",
        metavar="FILE",
        help="What TruffleHog (--json) or Gitleaks (--report-format json) has written; - for standard input.",
    ),
]
RevokeOption = Annotated[
    bool, typer.Option("--revoke", help="End what the scanner has found and works still, as one incident.")
]


def whois(
    fingerprint: FingerprintArgument = None,
    stdin: StdinOption = False,
    scanner: ScannerOption = None,
    revoke: RevokeOption = False,
    reason: options.ReasonOption = "",
    preview: options.PreviewOption = False,
    yes: options.YesToRevokeOption = False,
    expect: options.ExpectOption = 0,
    local: options.LocalOption = False,
    catalogue: options.CatalogueOption = None,
    timeout: options.TimeoutOption = options.INCIDENT_TIMEOUT,
    as_json: options.JsonOption = False,
    report: options.ReportOption = None,
    prefect_workspace: options.WorkspaceOption = DEFAULT,
    over_limit: options.OverLimitOption = "",
    break_glass: options.BreakGlassOption = "",
) -> None:
    """Find the secret that a fingerprint, a leaked value, or what a scanner has found belongs to.

    Searches the hub's versions and their copies. A leaked value is read from standard input, never from the command
    line: it is hashed at once with the hub's key, and is neither kept nor shown. The same holds for values in a
    scanner's report. With --revoke, everything that still works is ended, as `keyturn revoke` does.
    """
    if (fingerprint is not None) + stdin + (scanner is not None) != 1:
        raise typer.BadParameter("give a FINGERPRINT, --stdin for a leaked value, or --scanner FILE for many")
    if scanner is None and (revoke or preview or yes or expect or reason):
        raise typer.BadParameter("--revoke, and what belongs to it, goes with --scanner; else see `keyturn revoke`")
    insist_on_fingerprint(fingerprint)
    if scanner is not None:
        from keyturn.cli.emergencies.whois_scanner import End, answer

        through = Through(local, timeout, prefect_workspace)
        end = End(reason.strip(), expect, preview, yes, through, report) if revoke else None
        rules = going_past_rules(over_limit, break_glass)
        with rules, opened_workspace(catalogue, revoking=revoke and not preview, lenient=True) as workspace:
            answer(workspace, scanner, end, as_json)
        return
    with opened_workspace(catalogue, lenient=True) as workspace:
        from keyturn.revocation.whois import whois as by_fingerprint
        from keyturn.revocation.whois import whois_value

        matches = by_fingerprint(workspace, fingerprint) if fingerprint else whois_value(workspace, given())
    show_matches(matches, as_json)


def insist_on_fingerprint(fingerprint: str | None) -> None:
    """Raises Invalid for a malformed fingerprint. The message omits it: it may be the leaked value."""
    if fingerprint is not None and not FINGERPRINT.fullmatch(fingerprint.strip()):
        problem = "what was given is no fingerprint: 8 to 64 hexadecimal digits"
        hint = "A leaked value goes to `keyturn whois --stdin`; remove this one from your shell's history"
        raise Invalid("look for", "a fingerprint", problem, hint)


def given() -> Sensitive:
    """Read the leaked value from a pipe or an unseen prompt. Raises Invalid if it is empty."""
    text = typed(PROMPT, "a leaked value") if sys.stdin.isatty() else piped()
    if not text:
        raise Invalid("look for", "a leaked value", "nothing was given", "Pipe it in, or type it when you are asked")
    return Sensitive(text)


def piped() -> str:
    """All of standard input without one trailing line end. Raises Invalid if it is too long or not UTF-8."""
    read = sys.stdin.buffer.read(LONGEST + 1)
    if len(read) > LONGEST:
        raise Invalid("look for", "a leaked value", f"it is longer than {LONGEST} bytes", "Give one value alone")
    try:
        text = read.decode()
    except UnicodeDecodeError:
        raise Invalid("look for", "a leaked value", "it is not text in UTF-8", "Give it as text") from None
    return text.removesuffix("\n").removesuffix("\r")


def typed(prompt: str, what: str, remedy: str = "Pipe it in") -> str:
    """One line, unseen. Drops what was pasted after it, so that no shell runs it.

    Raises Invalid if the terminal cannot hide it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(prompt)
        except getpass.GetPassWarning:
            raise Invalid("ask for", what, "this terminal can't hide what is typed", remedy) from None
        except EOFError:
            return ""
        finally:
            termios.tcflush(sys.stdin, termios.TCIFLUSH)


def show_matches(matches: "list[Match]", as_json: bool) -> None:
    """Show where it is, and how to end it. Exits with 1 if there is no match."""
    unseen, matches = [place for place in matches if place.unseen], [place for place in matches if not place.unseen]
    for place in unseen:
        what = f"version {place.version} of {place.path}" if place.version else place.path
        note(f"could not look at {what}, which may have it too: {place.unseen}")
    if as_json:
        unread = [{"path": place.path, "version": place.version, "why": place.unseen} for place in unseen]
        listed = [{"path": match.path, "version": match.version, "place": match.place} for match in matches]
        write_json({"matches": listed, "unseen": unread})
    elif matches:
        rows = [(match.path, match.version, match.place or "hub") for match in matches]
        write_table(("secret", "version", "where"), rows, whole=("version",))
    if not matches:
        looked = "no version in the hub that could be looked at" if unseen else "no version in the hub"
        problem = f"{looked} has it, nor what was pushed of one"
        hint = (
            "If it is another service's token, `keyturn kill --stdin` ends it there. Else an incident may have ended "
            "it already (`keyturn incidents`), or it is older than the hub's versions"
        )
        end_command(NotFound("look for", "it", problem, hint))
    paths = " ".join(sorted({match.path for match in matches}))
    note(f"to end it everywhere: keyturn revoke {paths} --reason TEXT")
