"""Check the login's rights in the hub, and the clocks."""

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from keyturn.core.clocks import clock_warning
from keyturn.core.ports.restored import look_at_restoration
from keyturn.core.rights.rights import sample
from keyturn.core.text.spans import span
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.pages.words import list_names
from keyturn.rights import check as checks
from keyturn.rights.hub_check import LATE, last_check
from keyturn.rights.roles import needed

AREA: Final = "hub"

LOOKING: Final = frozenset({"worker", "revoker", "backup"})
"""The logins that may read which backup the hub was restored from."""


def check_hub(patient: Patient) -> Iterator[CheckResult]:
    """Check the rights first: the answer also shows the hub's time."""
    yield from check_rights(patient)
    yield from check_clock(patient)
    if patient.role in LOOKING:
        yield from check_restored(patient)
    if patient.role == "worker" and patient.workspace.catalogue.hub:
        yield from check_setup(patient)


def check_restored(patient: Patient) -> Iterator[CheckResult]:
    """Check what remains to be done in a hub restored from a backup; nothing without a restore mark.

    A hub restored from its own snapshot has no mark. The checks of secrets report its losses.
    """
    name = "restored"
    restoration = look_at_restoration(patient.workspace.hub)
    if restoration.error:
        yield unseen(AREA, name, restoration.error)
    elif (mark := restoration.mark) and mark.to_do:
        remedy = "See docs/disaster-recovery.md: who may work with it, and when"
        yield CheckResult(AREA, name, Grade.FAILED, mark.words, remedy)
    elif mark:
        yield CheckResult(AREA, name, Grade.WELL, mark.words)


def check_setup(patient: Patient) -> Iterator[CheckResult]:
    """Check the result of the last daily look at the hub's configuration."""
    last, name = last_check(patient.workspace), "set-up"
    if last is None or patient.workspace.hub_now() - last.at > LATE:
        words = f"whether the hub is set up as declared was not checked for {span(LATE)}"
        remedy = "Run `keyturn setup hub` with an administrator's login, and see that the flow check-hub runs"
        yield CheckResult(AREA, name, Grade.FAILED, words, remedy)
    elif last.sound:
        yield CheckResult(AREA, name, Grade.WELL, last.words)
    else:
        yield CheckResult(AREA, name, Grade.FAILED, last.words, "`keyturn setup hub` shows both values")


def check_rights(patient: Patient) -> Iterator[CheckResult]:
    """Check missing rights, one line per reason, and excess rights."""
    sections = needed(patient.scope, patient.role)
    held = patient.workspace.hub.capabilities(checks.paths_to_ask(patient.scope, sections))
    compared = checks.compare(patient.scope, sections, held)
    rights = f"rights of a {patient.role.partition(':')[0]}"
    remedy = (
        f"An administrator runs `keyturn setup hub --apply`, which writes the policy for a {patient.role}: after each "
        "change to the catalogue"
    )
    if not compared.lacking:
        yield CheckResult(AREA, rights, Grade.WELL, "the login has all that it needs")
    for why, lacking in groupby(compared.lacking, key=lambda finding: finding.why):
        names = [f"{finding.capability} on {finding.path}" for finding in lacking]
        yield CheckResult(AREA, rights, Grade.FAILED, f"lacks {list_names(names)}: {why}", remedy)
    # Without its own rule, as in a policy older than the catalogue, a path has what a wider rule gives.
    without_rule = {sample(finding.path) for finding in compared.lacking}
    if beyond := [finding for finding in compared.beyond if finding.path not in without_rule]:
        names = [f"{finding.capability} on {finding.path}" for finding in beyond]
        words, advice = f"has more than it needs: {list_names(names)}", "Use a login that has its own policy alone"
        yield CheckResult(AREA, rights, Grade.ADVICE, words, advice)


def check_clock(patient: Patient) -> Iterator[CheckResult]:
    """Check this machine's clock against the hub's, which has a resolution of seconds."""
    patient.workspace.hub.now()  # a request, in case there was none before
    if warning := clock_warning(patient.workspace.hub.clock_ahead()):
        words, _, remedy = warning.removeprefix("WARNING: ").partition(". ")
        yield CheckResult(AREA, "clock", Grade.FAILED, words, remedy)
    else:
        yield CheckResult(AREA, "clock", Grade.WELL, "this machine's clock agrees with the hub's")
