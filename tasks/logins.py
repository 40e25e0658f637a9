"""Testing whether CURRENT logs in, as a task."""

from keyturn.rotation.state import login_checks as logins
from keyturn.rotation.state.login_checks import LoginCheck
from tasks.step import task
from tasks.workspace import current_workspace


@task("check logins")
def check_logins(paths: list[str], whose_turn: bool) -> dict[str, LoginCheck]:
    """Test these secrets, or those that are due; the result of each."""
    return logins.check_logins(current_workspace(), paths, whose_turn=whose_turn)
