"""``keyturn kill``: end leaked tokens at the services that issued them, whether or not the catalogue knows them."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from keyturn.cli import options
from keyturn.cli.emergencies.kill_record import KillRecord
from keyturn.cli.emergencies.whois import typed
from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import BEHIND, FAILED
from keyturn.cli.output import note, write_json, write_table, write_text
from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.fingerprint import shown
from keyturn.core.hosts import refuses_host
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.pages.words import count_noun
from keyturn.tokens.ending import Killer, LeakedToken, TokenOutcome, TokenResult

if TYPE_CHECKING:
    from keyturn.providers.http.api_target import HttpApi
    from keyturn.revocation.findings.found_values import Owner
    from keyturn.rotation.state.context import Workspace
    from keyturn.tokens.model import TokenFormat

PROMPT: Final = "The leaked token (not shown; pipe several in, one a line): "
MOST: Final = 1000
"""Tokens of one call: what GitHub ends in one request."""
LONGEST: Final = 4 * 1024 * 1024
"""Bytes of all tokens."""
TERMINAL: Final = "/dev/tty"
PATIENCE: Final = 5.0
"""Seconds that the hub has to answer first."""
HOST: Final = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
COLUMNS: Final = ("line", "token", "sha256", "result", "why")
WHOLE: Final = ("line", "sha256", "result")

StdinOption = Annotated[
    bool, typer.Option("--stdin", help="Read tokens from standard input, one a line; on a terminal it is not shown.")
]
HostOption = Annotated[
    str, typer.Option("--host", metavar="HOST", help="The host that issued them, for services that you run yourself.")
]
FormatOption = Annotated[
    str,
    typer.Option("--format", metavar="NAME", help="Their format, where it can't be recognised: see --list."),
]
ListOption = Annotated[bool, typer.Option("--list", help="List every format, and who ends its tokens.")]
CaFileOption = Annotated[
    Path | None, typer.Option("--ca-file", metavar="FILE", help="Who signed HOST's certificate, if that is private.")
]
DespiteOption = Annotated[
    bool, typer.Option("--despite-catalogue", help="End a token here that the catalogue has; nothing replaces it.")
]


@dataclass(frozen=True)
class Line:
    """One token as it was read, and what is known of it. Without a ``token``, no format fits."""

    number: int
    value: Sensitive
    outcome: TokenOutcome | None = None
    token: LeakedToken | None = None
    owner: "Owner | None" = None

    @property
    def digest(self) -> str:
        """Only a token that a format fits is too long to be guessed."""
        return self.token.digest if self.token else ""


@dataclass
class Lookup:
    """What the hub knows of the tokens; without a ``workspace`` it could not be asked."""

    workspace: "Workspace | None" = None
    owners: dict[int, "Owner"] = field(default_factory=dict)
    complete: bool = False


def kill(
    stdin: StdinOption = False,
    format_name: FormatOption = "",
    host: HostOption = "",
    ca_file: CaFileOption = None,
    reason: options.ReasonOption = "",
    preview: options.PreviewOption = False,
    yes: options.YesOption = False,
    despite_catalogue: DespiteOption = False,
    list_formats: ListOption = False,
    catalogue: options.CatalogueOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """End leaked tokens at the services that issued them, and prove it.

    Each token is recognised by its form, and sent to its own service alone. First the hub is asked: what the catalogue
    has is left to `keyturn revoke`, which also replaces it. A token that no request can end is listed with what a
    person has to do.
    """
    from keyturn.tokens.library import load_formats

    formats = load_formats()
    if list_formats:
        show_formats(formats, as_json)
        return
    if not stdin:
        raise typer.BadParameter("tokens come from standard input alone: give --stdin")
    if format_name and format_name not in formats:
        raise typer.BadParameter("no format has the name of --format; `keyturn kill --list` shows them")
    insist_on_answers(yes or preview)
    host = checked_host(host)
    if ca_file and not (host and ca_file.is_file()):
        raise typer.BadParameter("--ca-file must be a file, and is for the host of --host alone")
    values = read_tokens()
    with ExitStack() as stack:
        lookup = look_up(stack, catalogue, values)
        lines = [sort_line(*each, formats, format_name, lookup, despite_catalogue) for each in values]
        lines = with_host(lines, host)
        todo = [line.token for line in lines if line.token and not line.outcome]
        if preview and as_json:
            show_results(lines, lookup, as_json)
        elif preview or (todo and not yes):
            show_plan(lines)
        if preview:
            note(f"this would end {count_noun(len(todo), 'token')}; nothing was changed")
            if not any(line.token or line.owner for line in lines):
                raise typer.Exit(FAILED)
            return
        if todo and not yes and not confirmed(f"End {count_noun(len(todo), 'token')}?"):
            raise typer.Abort
        record = KillRecord(lookup.workspace, reason.strip())
        outcomes = end_tokens(stack, todo, record, host, ca_file)
        lines = [with_outcome(line, outcomes) for line in lines]
        record.keep([(line.token, line.outcome) for line in lines if line.token and line.outcome])
    show_results(lines, lookup, as_json)
    results = {line.outcome.result for line in lines if line.outcome}
    if results != {TokenResult.PROVEN}:
        raise typer.Exit(BEHIND if results <= {TokenResult.PROVEN, TokenResult.ENDED} else FAILED)


def insist_on_answers(answered: bool) -> None:
    """Report wrong usage if there is a question, and no terminal for it: the tokens may use standard input."""
    if answered or sys.stdin.isatty():
        return
    try:
        os.close(os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise typer.BadParameter("there is no terminal to ask on: give --yes") from None


def confirmed(question: str) -> bool:
    """Ask at the terminal, also if standard input is a pipe."""
    if sys.stdin.isatty():
        return typer.confirm(question, err=True)
    sys.stderr.write(f"{question} [y/N]: ")
    sys.stderr.flush()
    with open(TERMINAL, encoding="utf-8", errors="replace") as terminal:
        return terminal.readline(100).strip().lower() in ("y", "yes")


def read_tokens() -> list[tuple[int, Sensitive]]:
    """The tokens with their line numbers, each once. Raises Invalid for none, too many, and what is not text."""
    if sys.stdin.isatty():
        text = typed(PROMPT, "a leaked token")
    else:
        raw = sys.stdin.buffer.read(LONGEST + 1)
        if len(raw) > LONGEST:
            raise Invalid("end", "leaked tokens", f"they are longer than {LONGEST} bytes", "Give fewer at once")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise Invalid("end", "leaked tokens", "they are not text in UTF-8", "Give one token a line") from None
    values: dict[Sensitive, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            values.setdefault(Sensitive(line.strip()), number)
    if not values:
        raise Invalid("end", "leaked tokens", "none was given", "Pipe them in, one a line")
    if len(values) > MOST:
        raise Invalid("end", "leaked tokens", f"there are more than {MOST:,}", "Give fewer at once")
    return [(number, value) for value, number in values.items()]


def checked_host(text: str) -> str:
    """A host, with its port if it has one. Raises Invalid for anything else."""
    host = text.strip().removeprefix("https://").rstrip("/")
    if not host:
        return ""
    matched = HOST.fullmatch(host)
    if not matched or refuses_host(matched[1]):
        hint = "Give a host's name, and a port if it is not 443: gitlab.example.com:8443"
        raise Invalid("end", "leaked tokens", "what --host gives is not the host of a service", hint)
    return host


def look_up(stack: ExitStack, catalogue: Path | None, values: Sequence[tuple[int, Sensitive]]) -> Lookup:
    """Ask the hub which tokens the catalogue has. A hub or catalogue that can't be used is reported, and stops nothing.

    The workspace stays open in ``stack``.
    """
    from keyturn.providers.outbound import within
    from keyturn.revocation.findings.found_values import index_values

    with ExitStack() as opening:
        try:
            workspace = opening.enter_context(opened_workspace(catalogue, revoking=True, lenient=True))
            with within(PATIENCE):
                workspace.hub_now()
            index, gaps = index_values(workspace)
        except KeyturnError as error:
            note(f"COULD NOT LOOK whether the catalogue has them: {error.problem}. What it has, this would not replace")
            return Lookup()
        stack.push(opening.pop_all())
    for gap in gaps:
        what = f"version {gap.version} of {gap.path}" if gap.version else gap.path
        note(f"could not look at {what}, which may be one of them: {gap.why}")
    matches = ((number, index.owners([value])) for number, value in values)
    owners = {number: max(match, key=lambda owner: owner.state.works) for number, match in matches if match}
    return Lookup(workspace, owners, not gaps)


def sort_line(
    number: int,
    value: Sensitive,
    formats: "Mapping[str, TokenFormat]",
    format_name: str,
    lookup: Lookup,
    despite_catalogue: bool,
) -> Line:
    """Recognise one token, and settle what needs no request."""
    from keyturn.revocation.findings.found_values import State
    from keyturn.tokens.library import recognise

    recognition, owner = recognise(value, formats, format_name), lookup.owners.get(number)
    token = LeakedToken(number, value, recognition.name, formats[recognition.name]) if recognition.name else None
    if owner and not despite_catalogue and (owner.state.works or owner.state is State.NAME):
        why = f"version {owner.version} of {owner.path}, {owner.state}"
        return Line(number, value, TokenOutcome(TokenResult.CATALOGUE, why), token, owner)
    if token is None:
        return Line(number, value, TokenOutcome(TokenResult.UNKNOWN, recognition.why), owner=owner)
    if token.format.end is None:
        return Line(number, value, TokenOutcome(TokenResult.BY_HAND, "a person has to end it"), token, owner)
    return Line(number, value, None, token, owner)


def with_host(lines: Sequence[Line], host: str) -> list[Line]:
    """The lines with the host that a person named. Reports wrong usage if it is not for exactly one service."""
    asking = [line.token for line in lines if line.token and not line.outcome and line.token.format.asks_host]
    services = sorted({token.format.service for token in asking})
    if host and not asking:
        raise typer.BadParameter("no token here needs --host: their services have hosts of their own")
    if host and len(services) > 1:
        raise typer.BadParameter(f"--host is the host of one service, and these are {' and '.join(services)}")
    if host and not all(token.format.allows(host) for token in asking):
        raise typer.BadParameter(f"{host} is no host of {services[0]}: {', '.join(asking[0].format.hosts)}")
    return [hosted(line, host) for line in lines]


def hosted(line: Line, host: str) -> Line:
    token = line.token
    if token is None or line.outcome or not token.format.asks_host:
        return line
    if not host:
        why = f"name the host of {token.format.service} that issued it: --host"
        return replace(line, outcome=TokenOutcome(TokenResult.FAILED, why))
    return replace(line, token=replace(token, host=host))


def end_tokens(
    stack: ExitStack, tokens: Sequence[LeakedToken], record: KillRecord, host: str, ca_file: Path | None
) -> dict[int, TokenOutcome]:
    """What became of each token, by its line."""
    if not tokens:
        return {}
    record.begin(tokens)
    connect = opener(stack, host, ca_file)
    outcomes = {}
    for token, outcome in Killer(connect).kill(tokens):
        outcomes[token.line] = outcome
        note(f"line {token.line}, {token.format.title}: {outcome.result}, {outcome.why}")
    return outcomes


def opener(stack: ExitStack, host: str, ca_file: Path | None) -> "Callable[[str], HttpApi]":
    """Open each API once. Only the host that a person named may have a certificate of a private authority."""
    opened: dict[str, HttpApi] = {}
    lock = Lock()

    def connect(address: str) -> "HttpApi":
        with lock:
            if address not in opened:
                private = str(ca_file) if ca_file and urlsplit(address).netloc == host else None
                opened[address] = stack.enter_context(closing(open_api(address, private)))
            return opened[address]

    return connect


def open_api(address: str, ca_file: str | None) -> "HttpApi":
    from keyturn.providers.http.api_target import HttpApi

    return HttpApi(urlsplit(address).netloc, url=address, admin=lambda: SecretFields({}), ca_file=ca_file)


def with_outcome(line: Line, outcomes: Mapping[int, TokenOutcome]) -> Line:
    return replace(line, outcome=line.outcome or outcomes[line.number])


# --- output


def show_plan(lines: Sequence[Line]) -> None:
    """Show what would happen to each token, and what a person should know before."""
    rows = []
    for line in lines:
        if line.outcome:
            rows.append((*columns(line), f"{line.outcome.result}: {line.outcome.why}"))
        elif line.token and line.token.format.end:
            itself = "which ends it" if line.token.format.end.by == "value" else "with which it ends itself"
            rows.append((*columns(line), f"sent to {urlsplit(line.token.address).netloc}, {itself}"))
    write_table(("line", "token", "sha256", "what happens"), rows, whole=("line", "sha256"))
    formats = [line.token.format for line in lines if line.token and not line.outcome]
    for text in dict.fromkeys(f"{each.title}: {text}" for each in formats for text in each.notes):
        note(text)


def columns(line: Line) -> tuple[object, str, str]:
    return line.number, line.token.format.title if line.token else "", shown(line.digest)


def show_results(lines: Sequence[Line], lookup: Lookup, as_json: bool) -> None:
    """Show what became of each token, and what a person has to do."""
    if as_json:
        write_json({"looked": lookup.complete, "tokens": [line_data(line) for line in lines]})
        return
    settled = [(line, line.outcome) for line in lines if line.outcome]
    write_table(COLUMNS, [(*columns(line), outcome.result, outcome.why) for line, outcome in settled], whole=WHOLE)
    for text in by_hand(lines):
        write_text(text)
    left = [line.owner.path for line, outcome in settled if line.owner and outcome.result is TokenResult.CATALOGUE]
    if paths := sorted(set(left)):
        note(f"to end and replace what the catalogue has: keyturn revoke {' '.join(paths)} --reason TEXT")
        note("`keyturn kill --despite-catalogue` would end it and replace nothing: applications that use it would fail")


def by_hand(lines: Sequence[Line]) -> Iterator[str]:
    """What a person has to do, once for each format."""
    groups: dict[str, list[LeakedToken]] = {}
    for line in lines:
        if line.token and line.outcome and line.outcome.result in (TokenResult.BY_HAND, TokenResult.FAILED):
            groups.setdefault(line.token.name, []).append(line.token)
    for tokens in groups.values():
        hand, numbers = tokens[0].format.by_hand, ", ".join(str(token.line) for token in tokens)
        page = (hand.page or "").replace("https://HOST/", f"https://{tokens[0].host or 'HOST'}/")
        yield f"\n{tokens[0].format.title} (line {numbers}), by hand: {page}"
        yield from (f"  {at}. {step}" for at, step in enumerate(hand.steps, start=1))


def line_data(line: Line) -> dict[str, Any]:
    token, outcome = line.token, line.outcome
    return {
        "line": line.number,
        "format": token.name if token else "",
        "title": token.format.title if token else "",
        "sha256": line.digest,
        "host": urlsplit(token.address).netloc if token else "",
        "result": str(outcome.result) if outcome else "",
        "why": outcome.why if outcome else "",
        "secret": line.owner.path if line.owner else "",
        "version": line.owner.version if line.owner else 0,
        "page": token.format.by_hand.page or "" if token else "",
        "steps": list(token.format.by_hand.steps) if token else [],
    }


def show_formats(formats: "Mapping[str, TokenFormat]", as_json: bool) -> None:
    """List every format."""
    if as_json:
        write_json({"formats": [{"name": name, **each.model_dump(mode="json")} for name, each in formats.items()]})
        return
    rows = [(name, each.title, ended_by(each), each.newest) for name, each in formats.items()]
    write_table(("format", "token", "ended by", "checked"), rows, whole=("format",))
    note(f"{len(rows)} formats, of which Keyturn ends {sum(each.end is not None for each in formats.values())}")


def ended_by(each: "TokenFormat") -> str:
    if each.end is None:
        return "a person"
    how = "the service, by value" if each.end.by == "value" else "itself"
    needs = ("not provable" * (each.prove is None), "with --host" * each.asks_host, "with --format" * each.named_only)
    return ", ".join(filter(None, (how, *needs)))
