"""The systemd units, installed by the guide and run by a real systemd.

The hub, PostgreSQL and Prefect's server run in that machine too. They are real, and speak TLS.
"""

import json
import re
import time
from functools import partial

import pytest

from tests.deployments.test_systemd import EXPOSURE
from tests.platform.guest import GUIDE
from tests.platform.installation import CHECK, SECRET, SERVICES, SERVING, WORKERS, Installation
from tests.platform.rotation import eventually, rotate_on_schedule


def log(installation: Installation, worker: str = "keyturn-worker") -> str:
    """What a worker's unit has written."""
    return installation.guest.log(worker, 10_000)


def started(installation: Installation, worker: str) -> bool:
    """Whether a worker has logged in to Prefect's server and takes runs."""
    return "started!" in log(installation, worker)


def test_every_service_becomes_ready_and_stays(installed: Installation) -> None:
    for name in (*WORKERS, *SERVING):
        installed.guest.wait(name)
        assert installed.guest.property(name, "NRestarts") == "0", installed.guest.log(name)
    assert {installed.guest.property(name, "Type") for name in SERVING} == {"notify"}  # active, so READY=1 was sent
    assert installed.guest.run("systemctl", "is-active", f"{CHECK}.timer") == "active\n"
    for name in WORKERS:
        eventually(partial(started, installed, name), log(installed, name))


@pytest.mark.attack
@pytest.mark.parametrize("name", SERVICES)
def test_systemd_itself_rates_each_unit_as_confined(installed: Installation, name: str) -> None:
    installed.guest.run("systemd-analyze", "security", f"--threshold={EXPOSURE}", "--no-pager", f"{name}.service")


@pytest.mark.attack
@pytest.mark.parametrize("name", [*WORKERS, *SERVING])
def test_the_kernel_confines_a_running_service(installed: Installation, name: str) -> None:
    pid = installed.guest.property(name, "MainPID")
    status = dict(re.findall(r"(?m)^(\w+):\s+(.*)$", installed.guest.run("cat", f"/proc/{pid}/status")))
    user = installed.guest.property(name, "User")
    assert status["Uid"].split() == [installed.guest.run("id", "--user", user).strip()] * 4
    assert (status["NoNewPrivs"], status["Seccomp"], int(status["CapBnd"], 16)) == ("1", "2", 0)
    inside = ("nsenter", f"--target={pid}", "--mount", "--root", "setpriv", f"--reuid={user}", "--clear-groups")
    assert installed.guest.command(*inside, "touch", "/etc/written").returncode != 0
    # Root alone reads the file; the service reads its copy; another service's user reads neither.
    credential = f"/run/credentials/{name}.service/hub.secret-id"
    role = user.removeprefix("keyturn-")
    assert installed.guest.command(*inside, "cat", f"/etc/keyturn/{role}/hub.secret-id").returncode != 0
    assert installed.guest.command(*inside, "test", "-s", credential).returncode == 0
    stranger = "keyturn-notary" if user != "keyturn-notary" else "keyturn-worker"
    outside = ("setpriv", f"--reuid={stranger}", "--clear-groups")
    assert installed.guest.command(*outside, "cat", credential).returncode != 0


def test_a_unit_rotates_a_secret_that_is_due_by_its_schedule(installed: Installation) -> None:
    assert rotate_on_schedule(installed, partial(log, installed)) == 2
    assert "rotated: version 2 is in force" in installed.guest.log("keyturn-worker")


def test_the_daily_check_finds_everything_once_the_notary_has_signed(installed: Installation) -> None:
    installed.guest.run(
        "prefect", "--no-prompt", "deployment", "run", "keep-ledger/keep-ledger", environment=installed.settings
    )
    eventually(lambda: installed.guest.command("systemctl", "start", CHECK).returncode == 0, "the check still fails")
    assert "READY as revoker" in installed.guest.log(CHECK)


def test_a_worker_that_is_stopped_at_work_ends_its_step_and_loses_nothing(installed: Installation) -> None:
    def stop() -> None:
        began = time.monotonic()
        installed.guest.run("systemctl", "stop", "keyturn-worker")
        assert time.monotonic() - began < 60
        assert installed.guest.property("keyturn-worker", "ActiveState") == "inactive"
        assert installed.guest.property("keyturn-worker", "Result") == "success"
        installed.guest.run("systemctl", "start", "keyturn-worker")

    rotate_on_schedule(installed, partial(log, installed), stop)


def test_a_worker_that_is_killed_at_work_is_started_again_and_loses_nothing(installed: Installation) -> None:
    before = int(installed.guest.property("keyturn-worker", "NRestarts"))

    def kill() -> None:
        installed.guest.run("systemctl", "kill", "--signal=KILL", "--kill-whom=all", "keyturn-worker")

    rotate_on_schedule(installed, partial(log, installed), kill)
    assert int(installed.guest.property("keyturn-worker", "NRestarts")) == before + 1


@pytest.mark.parametrize("name", SERVING)
def test_a_service_that_is_killed_becomes_ready_again(installed: Installation, name: str) -> None:
    pid = installed.guest.property(name, "MainPID")
    installed.guest.run("systemctl", "kill", "--signal=KILL", name)
    eventually(lambda: installed.guest.property(name, "MainPID") not in (pid, "0"), installed.guest.log(name))
    installed.guest.wait(name)


@pytest.mark.parametrize("name", SERVING)
def test_a_service_stops_in_time_when_it_is_asked_to(installed: Installation, name: str) -> None:
    installed.guest.run("systemctl", "stop", name)
    assert installed.guest.property(name, "Result") == "success", installed.guest.log(name)
    installed.guest.run("systemctl", "start", name)


def test_a_login_that_was_replaced_is_used_after_a_restart(installed: Installation) -> None:
    role = "auth/approle/role/keyturn-worker"
    file = "/etc/keyturn/worker/hub.secret-id"
    old = installed.guest.run("cat", file).strip()
    new = installed.hub("write", "-f", "-field=secret_id", f"{role}/secret-id")
    installed.guest.write(file, new)
    copy = "/run/credentials/keyturn-worker.service/hub.secret-id"
    assert installed.guest.run("cat", copy).strip() == old
    installed.guest.run("systemctl", "restart", "keyturn-worker", "keyturn-follower")
    assert installed.guest.run("cat", copy).strip() == new.strip()
    installed.hub("write", f"{role}/secret-id/destroy", f"secret_id={old}")
    rotate_on_schedule(installed, partial(log, installed))
    installed.guest.wait("keyturn-follower")


def test_a_service_whose_login_file_is_missing_fails_at_the_step_that_the_guide_names(installed: Installation) -> None:
    installed.guest.run("mv", "/etc/keyturn/granter/hub.secret-id", "/root/aside")
    try:
        assert installed.guest.command("systemctl", "restart", "keyturn-granter").returncode != 0
        (shown,) = re.findall(r"`(status=\d+/CREDENTIALS)`", GUIDE.read_text())
        assert shown in installed.guest.log("keyturn-granter")
    finally:
        installed.guest.run("mv", "/root/aside", "/etc/keyturn/granter/hub.secret-id")
    installed.guest.run("systemctl", "restart", "keyturn-granter")
    installed.guest.wait("keyturn-granter")


def test_the_ledger_is_whole_after_all_of_it(installed: Installation) -> None:
    installed.keyturn("ledger", "verify")
    states = [rotation["state"] for rotation in json.loads(installed.keyturn("history", SECRET, "--json"))["rotations"]]
    assert states == ["retired"] * (installed.version() - 1)
