"""Which commands the manual tells people to type, and where each is run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
LINE: Final = re.compile(r"(?m)^ *\$ ((?:\w+=\S+ )*keyturn (?:.*\\\n)*.*)$")
"""A command of Keyturn in a console block, with variables before it and lines that go on."""


@dataclass(frozen=True)
class Elsewhere:
    """Commands of a page that another test runs: those that begin so, or all."""

    page: str
    test: str
    begin: tuple[str, ...] = ("keyturn ",)


ELSEWHERE: Final[Sequence[Elsewhere]] = (
    Elsewhere("start.md", "tests/cli/test_stack.py::test_the_first_page_and_the_emergency_card_do_what_they_say"),
    Elsewhere(
        "emergency-card.md", "tests/cli/test_stack.py::test_the_first_page_and_the_emergency_card_do_what_they_say"
    ),
    Elsewhere("exec.md", "tests/cli/test_exec.py::test_what_the_guide_says_works"),
    Elsewhere("access-trail.md", "tests/cli/test_trail.py::test_each_command_of_the_guide_runs"),
    Elsewhere("pki.md", "tests/cli/test_pki.py::test_the_guides_catalogue_and_commands_do_what_it_says"),
    Elsewhere(
        "monitoring.md", "tests/access_log/test_replay.py::test_the_guides_settings_and_commands_do_what_it_says"
    ),
    Elsewhere("compliance.md", "tests/evidence/test_command.py::test_every_command_of_the_guide_runs_in_its_order"),
    Elsewhere("init.md", "tests/inventory/test_guide.py::test_every_command_of_the_page_does_what_it_says"),
    Elsewhere("hub.md", "tests/hub_setup/test_guide.py::test_every_command_of_the_page_does_what_it_says"),
    Elsewhere(
        "investigate.md",
        "tests/access_log/trail/test_investigation.py::test_every_command_of_the_guide_runs",
        ("keyturn investigate",),
    ),
    Elsewhere(
        "investigate.md", "tests/access_log/test_unused.py::test_people_and_scripts_are_shown_it", ("keyturn unused",)
    ),
    Elsewhere("stolen-access.md", "tests/wall/test_stolen_login.py::test_without_prefect_everything_is_done_and_seen"),
    Elsewhere(
        "organisations.md",
        "tests/organisations/test_guide.py::test_every_command_of_the_page_does_what_it_says",
        ("keyturn offboard", "keyturn ledger key"),
    ),
    Elsewhere(
        "organisations.md",
        "tests/wall/test_sharing.py::test_the_commands_do_the_same",
        ("keyturn share",),
    ),
    Elsewhere(
        "own-vault-and-clouds.md",
        "tests/test_guide_short_road.py::test_six_commands_lead_to_an_installation_that_is_ready_and_no_query_fails",
        (
            "keyturn setup hub",
            "keyturn setup target ml-postgres --password",
            "keyturn setup store",
            "keyturn setup prefect",
            "keyturn doctor",
        ),
    ),
    Elsewhere(
        "README.md",
        "tests/test_guide_short_road.py::test_six_commands_lead_to_an_installation_that_is_ready_and_no_query_fails",
        ("keyturn setup",),
    ),
    Elsewhere("disaster-recovery.md", "tests/recovery/test_commands.py::test_the_guides_commands_run_in_their_order"),
    Elsewhere("failover.md", "tests/recovery/test_failover.py::test_the_commands_of_the_guide_hand_over_and_take_over"),
    Elsewhere(
        "prefect.md",
        "tests/flows/test_workspaces.py::test_a_rotation_in_one_workspace_never_touches_the_other",
    ),
    Elsewhere(
        "revocation.md",
        "tests/deployments/test_drill_in_a_stack.py::test_the_command_writes_the_report_and_says_what_it_did",
        ("keyturn drill",),
    ),
    Elsewhere(
        "ledger.md",
        "tests/wall/test_which_ledger.py::test_the_commands_say_so_and_move_on_purpose",
        ("keyturn ledger move",),
    ),
)

NOT_HERE: Final[Mapping[tuple[str, str], str]] = {
    (
        "detection-benchmark.md",
        "keyturn monitor replay audit.log --rules monitors.yaml",
    ): "the benchmark makes its log in minutes; tests/access_log/test_replay.py replays another with rules",
    ("own-vault-and-clouds.md", "keyturn login"): "it asks a person in a browser; tests/cli/test_login.py has one",
}
"""Commands that nobody can run here, with why."""

PARSED: Final[Mapping[str, tuple[str, ...]]] = {
    "access.md": ("keyturn up", "keyturn access", "keyturn ledger key"),
    "own-vault-and-clouds.md": ("keyturn rotate", "keyturn history"),
    "README.md": (
        "keyturn whois",
        "keyturn revoke",
        "keyturn plan",
        "keyturn apply",
        "keyturn init",
        "keyturn scan",
        "keyturn import",
        "keyturn follow",
        "keyturn catalogue validate",
    ),
}
"""Commands that are held to the options of their parser alone (``tests/test_documents.py``), by how they begin."""


def lines_of(page: str) -> list[str]:
    """The commands of Keyturn that a page tells one to type, in their order; each is one line."""
    return [line.replace("\\\n", " ").strip() for line in LINE.findall(path_of(page).read_text())]


def path_of(page: str) -> Path:
    """The file of a page, by its name below ``docs``, or the repository's first one."""
    return ROOT / page if page == "README.md" else ROOT / "docs" / page


def pages() -> list[str]:
    """The pages that have commands of Keyturn, by their names below ``docs``."""
    docs = ROOT / "docs"
    found = [str(file.relative_to(docs)) for file in sorted(docs.rglob("*.md")) if LINE.search(file.read_text())]
    return ["README.md", *found]


def elsewhere(page: str, line: str) -> list[str]:
    """The tests that run this command of a page."""
    return [place.test for place in ELSEWHERE if place.page == page and line.startswith(place.begin)]
