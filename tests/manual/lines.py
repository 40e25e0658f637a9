"""The commands in the manual, and where each is run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
OUTSIDE: Final = ("README.md", "benchmarks/detection.md")
"""Pages that are not below ``docs``."""
LINE: Final = re.compile(
    r"(?m)^ *[a-z]*\$ ((?:\w+=\S+ (?:\\\n *)?)*(?:keyturn |python -m (?:deployments|tools|local)\.)(?:.*\\\n)*.*)$"
)
"""A command of Keyturn in a console block, with variables before it and lines that go on; ``red$`` says who."""


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
    Elsewhere(
        "access-monitoring-reference.md",
        "tests/cli/test_trail.py::test_each_command_of_the_guide_runs",
        ("keyturn trail verify", "keyturn trail events", "keyturn trail prove", "keyturn trail check"),
    ),
    Elsewhere(
        "access-monitoring-reference.md",
        "tests/cli/test_trail.py::test_with_a_hub_its_cursors_are_looked_at_and_what_is_too_old_goes",
        ("keyturn trail expire", "keyturn trail accept-loss"),
    ),
    Elsewhere("pki.md", "tests/cli/test_pki.py::test_the_guides_catalogue_and_commands_do_what_it_says"),
    Elsewhere(
        "access-monitoring.md",
        "tests/access_log/test_replay.py::test_the_guides_settings_and_commands_do_what_it_says",
        ("keyturn monitor",),
    ),
    Elsewhere("compliance.md", "tests/evidence/test_command.py::test_every_command_of_the_guide_runs_in_its_order"),
    Elsewhere("migration.md", "tests/inventory/test_guide.py::test_every_command_of_the_page_does_what_it_says"),
    Elsewhere(
        "hub.md",
        "tests/hub_setup/test_guide.py::test_every_command_of_the_page_does_what_it_says",
        ("keyturn setup hub", "keyturn setup credentials", "keyturn rotate"),
    ),
    Elsewhere(
        "hub.md",
        "tests/hub_setup/test_people.py::test_the_command_shows_what_nobody_can_compare_and_takes_it_for_no_difference",
        ("keyturn setup hub --apply --write-secrets",),
    ),
    Elsewhere(
        "access-monitoring.md",
        "tests/access_log/trail/test_investigation.py::test_every_command_of_the_guide_runs",
        ("keyturn investigate",),
    ),
    Elsewhere(
        "access-monitoring.md",
        "tests/access_log/test_unused.py::test_people_and_scripts_are_shown_it",
        ("keyturn unused",),
    ),
    Elsewhere(
        "operations.md",
        "tests/hub_setup/test_numbers_login.py::test_every_metric_is_available_and_no_value_is_readable",
        (
            "keyturn setup hub --apply",
            "keyturn setup credentials",
            "keyturn policy check --as numbers",
            "keyturn serve --only relay",
        ),
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
        ("keyturn share", "keyturn sync"),
    ),
    Elsewhere(
        "own-vault-and-clouds.md",
        "tests/test_guide_short_road.py::test_seven_commands_make_an_installation_that_is_ready_and_no_query_fails",
        (
            "keyturn setup hub",
            "keyturn setup target ml-postgres --password",
            "keyturn setup store",
            "keyturn setup prefect",
            "keyturn rotate",
            "KEYTURN_HUB_ROLE_ID_FILE=",
            "keyturn doctor",
        ),
    ),
    Elsewhere(
        "disaster-recovery.md",
        "tests/recovery/test_commands.py::test_the_guides_commands_run_in_their_order",
        ("keyturn backup", "keyturn serve"),
    ),
    Elsewhere(
        "disaster-recovery.md",
        "tests/recovery/test_failover.py::test_the_commands_of_the_guide_hand_over_and_take_over",
        ("keyturn failover",),
    ),
    Elsewhere(
        "prefect.md",
        "tests/flows/test_workspaces.py::test_a_rotation_in_one_workspace_never_touches_the_other",
    ),
    Elsewhere(
        "own-vault-and-clouds.md",
        "tests/cli/test_login.py::test_a_person_logs_in_through_the_browser_and_every_command_finds_it",
        ("keyturn login",),
    ),
    Elsewhere(
        "agents.md",
        "tests/agent/test_proxy_command.py::test_the_tools_of_the_manual_call_with_placeholders_and_the_service_sees_the_keys",
    ),
    Elsewhere("add-a-store.md", "tests/test_add_a_store.py::test_one_line_registers_it_for_validate_plan_and_sync"),
    Elsewhere(
        "release.md",
        "tests/deployments/test_release.py::test_a_release_is_wheel_sdist_materials_and_provenance_and_verifies",
        ("python -m tools.release verify",),
    ),
)

OTHERWISE: Final[Mapping[str, Sequence[str]]] = {
    "agent.md": ["agent --token-mode 0640 --webhook-key webhooks/agent-of-host-7"],
    "containers.md": ["investigate ml-training/database"],
    "disaster-recovery.md": [". /etc/keyturn/backup.env && keyturn backup drill --record --json"],
    "kubernetes.md": ['revoke ml-training/database --reason "leaked in a log"'],
}
"""What systemd, cron, Docker and a cluster start, which are not here: it is held to the options of its parser."""


def lines_of(page: str, *begin: str, besides: str = "\0") -> list[str]:
    """The commands of Keyturn that a page tells one to type, in their order; each is one line.

    Where it is said how they ``begin``, those alone; ``besides`` those that have this in them.
    """
    lines = [line.replace("\\\n", " ").strip() for line in LINE.findall(path_of(page).read_text())]
    return [line for line in lines if line.startswith(begin or "") and besides not in line]


def started_otherwise(page: str) -> list[str]:
    """What a block of the page has after `keyturn ` where no prompt stands before it: a unit, a timer, a container."""
    blocks = re.findall(r"(?ms)^ *```\w*\n(.*?)^ *```", path_of(page).read_text())
    rest = [line for block in blocks for line in LINE.sub("", block).splitlines()]
    found = (re.search(r"(?<!--namespace)(?:^|[\s/(])keyturn ([a-z].*)", line) for line in rest)
    return [each[1] for each in found if each]


def path_of(page: str) -> Path:
    """The file of a page, by its name below ``docs``, or one outside."""
    return ROOT / page if page in OUTSIDE else ROOT / "docs" / page


def pages() -> list[str]:
    """The pages that have commands of Keyturn, by their names below ``docs``."""
    docs = ROOT / "docs"
    found = [str(file.relative_to(docs)) for file in sorted(docs.rglob("*.md")) if LINE.search(file.read_text())]
    return [*OUTSIDE, *found]


def elsewhere(page: str, line: str) -> list[str]:
    """The tests that run this command of a page."""
    found = [place for place in ELSEWHERE if place.page == page and line.startswith(place.begin)]
    longest = max((len(begin) for place in found for begin in place.begin if line.startswith(begin)), default=0)
    return [
        place.test for place in found if any(line.startswith(each) and len(each) == longest for each in place.begin)
    ]
