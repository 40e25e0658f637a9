"""The daily login check through Prefect reports refused logins."""

from collections.abc import Callable

import pytest

from flows.check_logins import check_logins
from local.pager import Pager
from tests.flows.runs import Installed, ended
from tests.flows.site import Site
from tests.support.lab import Lab
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]


def test_a_login_that_is_refused_is_reported_and_a_run_with_nothing_to_try_leaves_nothing(
    installed: Installed, prefect: PrefectServer, build: Callable[..., Site], lab: Lab, pager: Pager
) -> None:
    changed, well, silent = lab.alternating(), lab.alternating(), lab.generated()
    build(changed, well, silent)
    lab.sql(f'ALTER ROLE "{changed.users[0]}" PASSWORD %s', "somebody-else-has-set-it")
    state = ended(check_logins)
    assert (state.is_completed(), state.message) == (True, "1 accepted, 1 refused, 1 unknown")
    (row,) = installed.rows(str(state.state_details.flow_run_id))
    assert (row["secret"], row["login"], row["version"]) == (changed.path, "refused", 1)
    subject = f"Keyturn: {changed.path} does not log in\n"
    said = wait_for(lambda: next((m for m in pager.messages if m.startswith(subject)), None))
    assert said.splitlines()[1].startswith("CURRENT, version 1, does not log in since ")
    assert f"`keyturn rotate {changed.path} --now`" in said

    idle = ended(check_logins)
    assert (idle.is_completed(), idle.message) == (True, "nothing was due")
    run = str(idle.state_details.flow_run_id)
    for kind in ("task_runs", "artifacts"):
        assert prefect.all(kind, flow_runs={"id": {"any_": [run]}}) == []
    assert ended(check_logins, well.path).message == "1 accepted"
