"""The Sigma rules in deployments/detections are valid and match a hub's own log lines."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hvac
import pytest
from hvac.exceptions import VaultError
from jsonschema import Draft202012Validator

from benchmarks.lab.export import audit_line
from keyturn.access_log.detection.rules.registry import RULES
from keyturn.core.ports.access import LOGIN, Access
from tests.access_log.hub import Hub, read
from tests.support.sigma import Pack, documents

DIRECTORY = Path("deployments/detections")
SCHEMAS = Path("tests/support/sigma_schema")
FILES = sorted(DIRECTORY.glob("*.yml"))
PLACEHOLDERS = {
    "keyturn_decoys": ["secret/data/ml/admin-key"],
    "keyturn_guarded_paths": ["secret/data/payments/*"],
    "keyturn_guarded_readers": ["userpass-ana"],
}
PACK = Pack(DIRECTORY, PLACEHOLDERS)
SCORES = {"daily-limit", "hours", "new-address", "new-path"}
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def schema(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / f"sigma-{name}-schema.json").read_text()))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_file_is_what_sigmas_schemas_ask_for(file: Path) -> None:
    assert re.fullmatch(r"openbao_[a-z0-9_]{2,60}\.yml", file.name)
    for rule in documents(file):
        schema("correlation-rules" if "correlation" in rule else "detection-rule").validate(rule)
        if "name" not in rule:
            assert {"level", "falsepositives", "description", "references", "tags", "id"} <= rule.keys()


def test_no_two_rules_have_an_id_or_name() -> None:
    rules = [rule for file in FILES for rule in documents(file)]
    for key in ("id", "name"):
        there = [rule[key] for rule in rules if key in rule]
        assert len(set(there)) == len(there) > 3


def test_each_rule_and_score_of_the_house_has_its_file_or_a_reason_why_it_has_none() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", (DIRECTORY / "README.md").read_text(), re.M)
    table = dict(rows)
    assert table.keys() == {*RULES, *SCORES}
    tagged = {
        tag.removeprefix("keyturn.") for file in FILES for rule in documents(file) for tag in rule.get("tags", ())
    }
    for name, cell in table.items():
        linked = re.findall(r"\]\((openbao_\w+\.yml)\)", cell)
        assert bool(linked) == (name in tagged)
        assert all((DIRECTORY / file).is_file() for file in linked)
        assert linked or len(cell) > 30


class Log:
    """What the hub's audit file gets while somebody works."""

    def __init__(self, hub: Hub) -> None:
        self._file = hub.server.audit_log

    def during(self, work: Callable[[], object]) -> list[dict[str, Any]]:
        before = self._file.stat().st_size
        work()
        with self._file.open("rb") as text:
            text.seek(before)
            return [json.loads(line) for line in text]


def tried(work: Callable[[], object], times: int = 1) -> None:
    for _ in range(times):
        with suppress(VaultError):
            work()


def test_ordinary_work_on_a_real_hub_fires_nothing(hub: Hub) -> None:
    def work() -> None:
        trainer, ana = hub.approle("trainer"), hub.userpass("ana")
        for _ in range(9):
            read(trainer)
        read(ana)
        tried(lambda: read(ana, "ml/absent"), 9)
        tried(lambda: hub.client("").auth.userpass.login("ana", "mistyped"), 3)

    assert PACK.fired(Log(hub).during(work)) == set()


def test_the_root_token_on_a_real_hub(hub: Hub) -> None:
    assert PACK.fired(Log(hub).during(lambda: read(hub.root))) == {"openbao_root_token_read.yml"}


@pytest.mark.attack
def test_the_rules_match_a_stolen_logins_actions_on_a_real_hub(hub: Hub) -> None:
    """They list, try paths that are refused or not there, ask for a decoy, and for what is somebody else's."""
    trainer = hub.approle("trainer")
    log = Log(hub)
    refused = log.during(lambda: tried(lambda: read(trainer, "payments-of-others/key"), 10))
    absent = log.during(lambda: tried(lambda: read(trainer, "ml/absent"), 10))
    decoy = log.during(lambda: tried(lambda: read(trainer, "ml/admin-key")))
    other = log.during(lambda: tried(lambda: read(trainer, "payments/card")))
    assert PACK.fired(refused) == PACK.fired(absent) == {"openbao_many_reads_refused.yml"}
    assert PACK.fired(refused[:-2]) == set()
    assert PACK.fired(decoy) == {"openbao_decoy_read.yml"}
    assert PACK.fired(other) == {"openbao_read_by_another_reader.yml"}
    assert PACK.fired(log.during(lambda: read_many(trainer, 30))) >= {"openbao_many_secrets_read.yml"}
    listed = log.during(lambda: list_folders(trainer, 20))
    assert PACK.fired(listed) == {"openbao_secrets_listed.yml"}


def read_many(client: hvac.Client, count: int) -> None:
    for number in range(count):
        tried(lambda: read(client, f"ml/key-{number}"))  # noqa: B023  called at once


def list_folders(client: hvac.Client, count: int) -> None:
    for number in range(count):
        tried(lambda: client.secrets.kv.v2.list_secrets(f"ml/folder-{number}"))  # noqa: B023  called at once


def test_secrets_that_are_destroyed_on_a_real_hub(hub: Hub) -> None:
    """In each of the ways there are; ten of them, refused or not, and not by Keyturn."""
    for role in ("trainer", "keyturn-revoker"):
        hub.root.auth.approle.create_or_update_approle(role, token_policies=["reader"])
    logins = (hub.approle("trainer"), hub.root, hub.approle("keyturn-revoker"))
    trainer, root, revoker = (client.secrets.kv.v2 for client in logins)
    for number in range(10):
        root.create_or_update_secret(f"ended/{number}", {"password": "x"})

    def end(kv: Any) -> None:
        for number in range(0, 10, 4):
            tried(lambda: kv.destroy_secret_versions(f"ended/{number}", [1]))  # noqa: B023  called at once
            tried(lambda: kv.delete_secret_versions(f"ended/{number + 1}", [1]))  # noqa: B023  called at once
            tried(lambda: kv.delete_latest_version_of_secret(f"ended/{number + 2}"))  # noqa: B023  called at once
            tried(lambda: kv.delete_metadata_and_all_versions(f"ended/{number + 3}"))  # noqa: B023  called at once

    log = Log(hub)
    refused, done, own = (log.during(lambda: end(kv)) for kv in (trainer, root, revoker))  # noqa: B023  called at once
    assert PACK.fired(refused) == PACK.fired(done) == {"openbao_many_secrets_destroyed.yml"}
    assert PACK.fired(refused[:18]) == set(), "nine"
    assert PACK.fired(own) == set()


def test_passwords_that_are_guessed_on_a_real_hub(hub: Hub) -> None:
    anonymous = hub.client("")
    lines = Log(hub).during(lambda: tried(lambda: anonymous.auth.userpass.login("ana", "guessed"), 10))
    assert PACK.fired(lines) == {"openbao_many_logins_failed.yml"}


def test_attempts_on_the_audit_device_and_at_a_root_token_on_a_real_hub(hub: Hub) -> None:
    trainer, log = hub.approle("trainer"), Log(hub)
    device = log.during(lambda: tried(lambda: trainer.sys.disable_audit_device("no-such-device")))
    generation = log.during(lambda: tried(lambda: trainer.sys.start_root_token_generation("no one time password")))
    assert PACK.fired(device) == {"openbao_audit_device_disabled.yml"}
    assert PACK.fired(generation) == {"openbao_root_token_generated.yml"}


def accesses(count: int, apart: timedelta, **changes: Any) -> list[dict[str, Any]]:
    """So many lines of one login, as a hub writes them."""
    fields = {"system": "hub", "path": "ml/db", "version": 1, "principal": "approle trainer", "source": "10.0.0.1"}
    return [audit_line(Access(NOON + number * apart, **{**fields, **changes})) for number in range(count)]


def test_a_policy_that_is_changed_on_a_real_hub(hub: Hub) -> None:
    policy = {"policy": 'path "a" { capabilities = ["read"] }'}
    changed = Log(hub).during(lambda: hub.root.adapter.put("/v1/sys/policies/acl/a", json=policy))
    tried_only = Log(hub).during(
        lambda: tried(lambda: hub.approle("trainer").adapter.put("/v1/sys/policy/a", json=policy))
    )
    assert PACK.fired(changed) == PACK.fired(tried_only) == {"openbao_policy_changed.yml"}
    assert PACK.fired(Log(hub).during(lambda: hub.root.sys.read_policy("a"))) == set()


def test_one_login_at_three_addresses_within_eight_hours() -> None:
    apart = timedelta(hours=3)
    places = [
        Access(NOON + n * apart, "hub", "ml/db", 1, "approle trainer", f"10.0.{n}.1", login="a") for n in range(3)
    ]
    lines = [audit_line(place) for place in places]
    assert PACK.fired(lines) == {"openbao_login_at_several_addresses.yml"}
    assert PACK.fired(lines[:2]) == set()


def test_an_address_that_is_not_the_labs() -> None:
    """As who uses an instance's stolen credentials from outside."""
    assert PACK.fired(accesses(1, timedelta(0), source="185.1.2.3")) == {"openbao_read_from_outside.yml"}
    assert PACK.fired(accesses(1, timedelta(0), source="2001:db8::1")) == {"openbao_read_from_outside.yml"}
    assert PACK.fired(accesses(1, timedelta(0), source="fd00::1")) == set()


def test_counts_are_of_one_login_and_of_their_time_alone() -> None:
    minute = timedelta(minutes=1)
    lines = accesses(1001, minute)
    assert PACK.fired(lines) == {"openbao_more_than_daily_limit.yml"}
    assert PACK.fired(lines[:1000] + accesses(1, minute, principal="approle evaluator")) == set()
    assert PACK.fired(accesses(40, minute, denied=True)) == set()
    lines = [accesses(1, minute, path=f"team/{number}", denied=True)[0] for number in range(15)]
    assert PACK.fired(lines[:14]) == {"openbao_many_reads_refused.yml"}
    assert PACK.fired(lines[:9]) == set()
    slowly = [{**line, "time": f"2026-11-02T{number:02}:30:00.000000000Z"} for number, line in enumerate(lines)]
    assert PACK.fired(slowly) == {"openbao_slow_guessing.yml"}
    assert PACK.fired(slowly[1:]) == set()
    slow = accesses(10, timedelta(seconds=33), path="auth/approle/login", action=LOGIN, denied=True, login="")
    assert PACK.fired(slow) == {"openbao_many_logins_failed.yml"}
    slower = accesses(10, timedelta(seconds=34), path="auth/approle/login", action=LOGIN, denied=True, login="")
    assert PACK.fired(slower) == set()


# --- the commands of the page

COMMANDS = re.findall(r"^\$ (sigma convert .*)$", (DIRECTORY / "README.md").read_text(), re.M)
PIPELINE = re.search(r"```yaml\n(name: keyturn\n.*?)```", (DIRECTORY / "README.md").read_text(), re.S)
WITH_CORRELATIONS = {"esql", "splunk"}
"""Backends that convert the whole pack, as tried with sigma-cli 3.1, Elastic's backend 2.1 and Splunk's 2.1."""


def test_the_whole_pack_is_converted_only_by_backends_that_know_correlations() -> None:
    backends = [command.split()[3] for command in COMMANDS if command.endswith("/")]
    assert set(backends) == WITH_CORRELATIONS
    assert any("correlation" in rule for file in FILES for rule in documents(file))


@pytest.mark.skipif(not shutil.which("sigma"), reason="sigma-cli and its backends are not installed")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_converts_every_rule(command: str, tmp_path: Path) -> None:
    assert PIPELINE
    (tmp_path / "pipeline.yml").write_text(PIPELINE[1])
    arguments = command.replace("pipeline.yml", str(tmp_path / "pipeline.yml")).split()
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("secret/data/payments/") == 1
