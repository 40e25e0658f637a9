"""``keyturn access``: access to a secret for a while, by the policies of the catalogue."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import EXIT_CODES, FAILED
from keyturn.cli.options import CatalogueOption, JsonOption, PathArgument
from keyturn.cli.output import note, write_json, write_table

if TYPE_CHECKING:
    from keyturn.grants.facts import AccessFacts
    from keyturn.grants.policies import AccessDecision, Ruling
    from keyturn.rotation.context import Workspace

commands = typer.Typer(help="Have access to a secret for a while.", no_args_is_help=True)

EXAMPLES: Final = """\b
Examples:
  keyturn access explain ml-training/database --for 1h

"""

ForOption = Annotated[str, typer.Option("--for", metavar="DURATION", help="For how long, such as 30m.")]
EntityOption = Annotated[
    str,
    typer.Option("--entity", metavar="ID", help="As this entity of the hub; as whoever is logged in by default."),
]
GroupOption = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="ID", help="With --entity: as a member of this group; several are allowed."),
]
AtOption = Annotated[str, typer.Option("--at", metavar="TIME", help="At this moment; now by default.")]


@commands.callback()
def access() -> None:
    """Have access to a secret for a while."""


@commands.command("explain", epilog=EXAMPLES + EXIT_CODES)
def explain_access(
    path: PathArgument,
    duration: ForOption = "1h",
    entity: EntityOption = "",
    group: GroupOption = None,
    at: AtOption = "",
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why access to a secret would be allowed, or not: what every policy says that is about it and who asks.

    Changes nothing. With --entity it is asked on behalf of somebody else, of whose login nothing is known.

    Ends with 1 where it would not be allowed.
    """
    from keyturn.grants.policies import PolicyIndex

    if group and not entity:
        raise typer.BadParameter("give --entity too", param_hint="--group")
    wanted = parse_duration(duration)
    with opened_workspace(catalogue) as workspace:
        facts = facts_of(workspace, path, wanted, entity, group or [], at)
        decision = PolicyIndex.of(workspace.catalogue).decide(facts)
    if as_json:
        write_json(decision_data(decision))
    else:
        show_decision(decision, path)
    if not decision.allowed:
        raise typer.Exit(FAILED)


def parse_duration(text: str) -> timedelta:
    """How long. Wrong usage where it is no duration, or none at all."""
    from keyturn.settings import durations

    try:
        wanted = durations.parse(text)
    except ValueError:
        wanted = timedelta(0)
    if not wanted:
        raise typer.BadParameter("write a duration such as 30m", param_hint="--for")
    return wanted


def facts_of(
    workspace: "Workspace", path: str, duration: timedelta, entity: str, groups: list[str], at: str
) -> "AccessFacts":
    """What it would be judged by, at that moment."""
    from dataclasses import replace

    from keyturn.cli.moments import parse_moment
    from keyturn.grants.facts import Subject
    from keyturn.grants.sight import look_as, look_as_self

    if entity:
        facts = look_as(workspace, Subject(entity, frozenset(groups)), None, path, duration)
    else:
        facts = look_as_self(workspace, path, duration)
    return replace(facts, now=parse_moment(at, "--at", facts.now)) if at else facts


def show_decision(decision: "AccessDecision", path: str) -> None:
    """For people: a row for each policy, and what they come to."""
    if decision.rulings:
        write_table(("policy", "effect", "applies", "why not"), map(ruling_row, decision.rulings), whole=("policy",))
    if decision.allowed and decision.by:
        by = decision.by
        needed = by.policy.approvals
        who = f"once {needed} of {', '.join(by.policy.approvers)} approve it" if needed else "without approval"
        note(f"{path} would be given by the policy {by.name}, {who}")
    for reason in decision.reasons:
        note(f"not given: {reason}")


def ruling_row(ruling: "Ruling") -> tuple[str, ...]:
    """One policy for people."""
    return (ruling.name, ruling.policy.effect.value, "yes" if ruling.applies else "no", "; ".join(ruling.against))


def decision_data(decision: "AccessDecision") -> dict[str, Any]:
    """The same for programs."""
    by = decision.by if decision.allowed else None
    return {
        "allowed": decision.allowed,
        "policy": by.name if by else "",
        "approvals": by.policy.approvals if by else 0,
        "approvers": list(by.policy.approvers) if by else [],
        "reasons": list(decision.reasons),
        "policies": [
            {
                "name": ruling.name,
                "effect": ruling.policy.effect.value,
                "applies": ruling.applies,
                "against": list(ruling.against),
            }
            for ruling in decision.rulings
        ],
    }
