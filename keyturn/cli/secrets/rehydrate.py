"""``keyturn repair rehydrate``: fill an empty hub again from what the stores hold, and say what can't be proven."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import FAILED, end_command
from keyturn.cli.ledger.sources import the_ledger
from keyturn.cli.options import CatalogueOption, JsonOption, YesOption, insist_on_terminal
from keyturn.cli.output import note, stamp, write_json, write_table
from keyturn.core.errors import Invalid, KeyturnError, NotFound

if TYPE_CHECKING:
    from keyturn.core.fingerprint_keys import FingerprintKeys
    from keyturn.core.ports.hub import Hub
    from keyturn.ledger.cuts import Revoked
    from keyturn.recovery.rehydrate import Plan, Rehydrated
    from keyturn.recovery.rehydrate_copies import SeenCopy
    from keyturn.recovery.rehydrate_keys import Entries

COLUMNS: Final = ("secret", "verdict", "from", "version", "proof", "a login says", "also in")

WRONG_KEY: Final = "this key made none of the copies' marks: it is another hub's, or a new one"

SHOWN: Final = 10
"""The most paths to name of those left out."""

ApplyOption = Annotated[bool, typer.Option("--apply", help="Write it; without this it is only shown.")]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help="The key of the fingerprints, kept of the lost hub: it proves the copies, and goes back there.",
    ),
]
WithoutKeyOption = Annotated[
    bool, typer.Option("--without-key", help="The key is lost: nothing is proven, and the hub makes a new one.")
]
UntestedRehydrateOption = Annotated[
    bool, typer.Option("--untested", help="Also take the newest value if it is unknown whether it is in force.")
]


def rehydrate(
    apply: ApplyOption = False,
    key: KeyOption = None,
    without_key: WithoutKeyOption = False,
    untested: UntestedRehydrateOption = False,
    yes: YesOption = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill an empty hub again from what the stores hold.

    For a hub of which no backup is left. Shows for each secret which copy it would be taken from, whether the key of
    the fingerprints proves it, and whether it logs in; what the hub has already is left as it is. With --apply it is
    written. Safe to run again, also after it was killed.
    """
    if key and without_key:
        raise typer.BadParameter("give --key FILE or --without-key, not both")
    insist_on_terminal(yes or not apply, "give --yes, or leave --apply out")
    with opened_workspace(catalogue) as workspace:
        from keyturn.recovery.rehydrate import Rehydration
        from keyturn.recovery.rehydrate import rehydrate as fill

        entries, keys = chosen_keys(workspace.hub, key, without_key=without_key)
        revoked = told_revocations()
        plan = fill(workspace, keys, revoked, untested=untested)
        if not as_json or apply:
            show_rehydration(plan, keys)
        wanted = [secret for secret in plan.secrets if secret.verdict in (Rehydration.READY, Rehydration.SETTLED)]
        if apply and wanted:
            insist_on_proof(plan, keys, without_key=without_key)
            if not yes:
                unproven = sum(not secret.proven for secret in wanted)
                words = f", {unproven} of them not proven" if unproven else ""
                typer.confirm(f"Write {len(wanted)} secrets to the hub{words}?", abort=True)
            give_back(workspace.hub, entries)
            plan = fill(workspace, keys, revoked, apply=True, untested=untested, report=note_secret)
        if as_json:
            write_json(rehydration_data(plan, keys))
    end_with(plan)


def chosen_keys(hub: "Hub", file: Path | None, *, without_key: bool) -> "tuple[Entries | None, FingerprintKeys | None]":
    from keyturn.recovery.rehydrate_keys import hub_keys, keys_from, keys_in_file

    if file:
        entries = keys_in_file(file)
        return entries, keys_from(entries)
    return None, None if without_key else hub_keys(hub)


def told_revocations() -> "Mapping[str, Revoked] | KeyturnError":
    from keyturn.ledger.cuts import revoked_secrets

    try:
        with the_ledger() as ledger:
            return revoked_secrets(ledger)
    except KeyturnError as error:
        note(f"the ledger could not be read: {error.text}")
        return error


def insist_on_proof(plan: "Plan", keys: "FingerprintKeys | None", *, without_key: bool) -> None:
    """Raise Invalid for a missing or wrong key. A person must decide, since a new key never proves the copies."""
    if keys is None and not without_key:
        problem = "the hub has no key of the fingerprints, so no copy can be proven"
        raise Invalid("rehydrate", "the hub", problem, "Give the lost hub's: --key FILE; or say --without-key")
    if keys is not None and plan.changed and not plan.matching:
        raise Invalid("rehydrate", "the hub", WRONG_KEY, "Give the lost hub's: --key FILE; or say --without-key")


def give_back(hub: "Hub", entries: "Entries | None") -> None:
    """Put the file's keys back before anything is written."""
    from keyturn.recovery.rehydrate_keys import put_keys_back

    if entries and not put_keys_back(hub, entries):
        note("the hub has another key of the fingerprints already, and keeps it: the next sync rewrites every copy")


def note_secret(secret: "Rehydrated") -> None:
    if secret.version and secret.source:
        proof = "proven" if secret.proven else "not proven"
        note(f"{secret.path}: version {secret.version} holds what {secret.source} held of {secret.held} ({proof})")


def show_rehydration(plan: "Plan", keys: "FingerprintKeys | None") -> None:
    rows = [
        (
            secret.path,
            str(secret.verdict),
            secret.source or "-",
            str(secret.held or "-"),
            ("proven" if secret.proven else "not proven") if secret.source else "-",
            {True: "it works", False: "it is refused", None: "unknown"}[secret.login] if secret.source else "-",
            ", ".join(secret.agree) or "-",
        )
        for secret in plan.secrets
    ]
    write_table(COLUMNS, rows, whole=("version", "verdict"))
    for secret in plan.secrets:
        if secret.why:
            note(f"{secret.path}: {secret.why}")
        for copy in secret.copies:
            if copy.why and copy.why not in secret.why:
                note(f"{secret.path}: {copy.place} is not taken: {copy.why}")
    if keys is None:
        note("the key of the fingerprints is missing: nothing above is proven; copies were compared with each other")
    elif plan.changed and not plan.matching:
        note(WRONG_KEY)
    for store, error in plan.found.unread.items():
        note(f"{store} could not be looked at: {error}")
    show_left("nothing of the catalogue pushes, so no copy of it is taken", plan.found.undeclared)
    show_left("another catalogue has made", plan.found.foreign)


def show_left(words: str, paths: "tuple[str, ...] | Any") -> None:
    if listed := sorted(paths):
        more = f", and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
        note(f"{words}: {', '.join(listed[:SHOWN])}{more}")


def end_with(plan: "Plan") -> None:
    from keyturn.recovery.rehydrate import DONE, Rehydration

    left = [secret for secret in plan.secrets if secret.verdict not in DONE]
    if not left:
        return
    counts = {verdict: sum(secret.verdict is verdict for secret in left) for verdict in Rehydration}
    words = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    remedies = {
        Rehydration.UNTESTED: "see what uses it, then: keyturn repair rehydrate --untested",
        Rehydration.REFUSED: "make a new credential: keyturn rotate PATH --now",
        Rehydration.NOTHING: "write it to the hub by hand, or: keyturn rotate PATH --now",
        Rehydration.UNKNOWN: "fix what could not be checked, then run it again",
        Rehydration.DISAGREE: "remove the wrong copy in its store, then run it again",
        Rehydration.FAILED: "fix what its line names, then run it again",
    }
    hint = "; ".join(f"{verdict}: {remedies[verdict]}" for verdict, count in counts.items() if count)
    problem = f"{len(left)} of {len(plan.secrets)} secrets are not brought back: {words}"
    end_command(NotFound("rehydrate", "the hub", problem, hint), FAILED)


def rehydration_data(plan: "Plan", keys: "FingerprintKeys | None") -> dict[str, Any]:
    return {
        "secrets": [rehydrated_data(secret) for secret in plan.secrets],
        "key": keys is not None,
        "undeclared": list(plan.found.undeclared),
        "foreign": dict(plan.found.foreign),
        "unread": {store: str(error) for store, error in plan.found.unread.items()},
    }


def rehydrated_data(secret: "Rehydrated") -> dict[str, Any]:
    return {
        "secret": secret.path,
        "verdict": str(secret.verdict),
        "why": secret.why,
        "from": secret.source,
        "held_version": secret.held,
        "proven": secret.proven,
        "whole": secret.whole,
        "works": secret.login,
        "agree": list(secret.agree),
        "copies": [copy_data(copy) for copy in secret.copies],
        "version": secret.version,
        "fingerprint": secret.fingerprint[:12],
        "equal": secret.equal,
    }


def copy_data(copy: "SeenCopy") -> dict[str, Any]:
    return {
        "place": copy.place,
        "standing": str(copy.standing),
        "version": copy.version,
        "made_at": stamp(copy.created_at),
        "why": copy.why,
    }
