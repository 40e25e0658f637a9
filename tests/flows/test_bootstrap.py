"""Registering Keyturn with a Prefect server, once and again."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.bootstrap import bootstrap, deploy
from deployments.local.pager import Pager
from deployments.local.ports import LOOPBACK, free_port
from keyturn.core.errors import Invalid, Unavailable
from tests.flows.runs import Installed, register
from tests.flows.site import Architect
from tests.support.prefect_server import PrefectServer

pytestmark = pytest.mark.slow

KINDS = ("work_pools", "deployments", "automations", "block_documents", "v2/concurrency_limits")
LIMIT = "keyturn-target-pg"


def by_name(server: PrefectServer, kind: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in server.all(kind)}


def test_bootstrap_registers_pool_blocks_limits_deployments_and_automations(installed: Installed) -> None:
    server = installed.server
    assert by_name(server, "work_pools")["keyturn"]["type"] == "process"
    assert by_name(server, "v2/concurrency_limits")[LIMIT]["limit"] == 1

    blocks = {(b["block_type"]["slug"], b["name"]) for b in server.all("block_documents")}
    assert {("keyturn-workspace", "default"), ("keyturn-failure-channel", "default")} <= blocks

    deployments = by_name(server, "deployments")
    crons = {name: [s["schedule"]["cron"] for s in d["schedules"]] for name, d in deployments.items()}
    assert crons == {
        "rotate-secret": [],
        "rotate-due": ["*/15 * * * *"],
        "sync": ["7 * * * *"],
        "retire": ["*/10 * * * *"],
    }
    assert all("keyturn" in d["tags"] and d["work_pool_name"] == "keyturn" for d in deployments.values())
    limits = {name: d["global_concurrency_limit"]["limit"] for name, d in deployments.items()}
    assert limits == {"rotate-secret": 16, "rotate-due": 1, "sync": 1, "retire": 1}
    assert deployments["rotate-secret"]["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert deployments["retire"]["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"

    automations = by_name(server, "automations")
    assert set(automations) == {"keyturn: a silent run is crashed", "keyturn: report a failed run"}
    assert all(a["enabled"] for a in automations.values())


def test_a_second_bootstrap_adds_nothing_and_keeps_an_operators_own_limit(
    installed: Installed, prefect: PrefectServer, architect: Architect, pager: Pager
) -> None:
    limit = by_name(prefect, "v2/concurrency_limits")[LIMIT]["id"]
    prefect.patch(f"v2/concurrency_limits/{limit}", limit=3)
    site = architect.build()
    before = {kind: sorted(one["name"] for one in prefect.all(kind)) for kind in KINDS}
    register(site, architect, pager.address)
    installed.rest()
    assert {kind: sorted(one["name"] for one in prefect.all(kind)) for kind in KINDS} == before
    assert by_name(prefect, "v2/concurrency_limits")[LIMIT]["limit"] == 3


def test_without_a_server_bootstrap_says_so_once(prefect: PrefectServer, architect: Architect) -> None:
    said: list[str] = []
    site = architect.build()
    workspace = architect.workspace(architect.directory / site.workspace, architect.lab.world.hub_address)
    nowhere = f"http://{LOOPBACK}:{free_port()}/api"
    with temporary_settings({PREFECT_API_URL: nowhere}), pytest.raises(Unavailable) as told:
        asyncio.run(bootstrap(workspace, site.keyturn.catalogue, None, said.append))
    assert str(told.value).startswith("bootstrap the Prefect server: it does not answer")
    assert told.value.hint == "Check PREFECT_API_URL"
    assert told.value.__cause__ is None
    assert said == ["work pool and limits"]


def test_a_broken_deployment_file_is_refused_with_prefects_last_words(
    installed: Installed, prefect: PrefectServer, tmp_path: Path
) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text("deployments: [")
    with pytest.raises(Invalid, match=r"found '<stream end>' .* line 1, column 15") as told:
        deploy(file)
    assert told.value.name == str(file)
    assert told.value.hint == "Correct prefect.yaml, then run `keyturn bootstrap` again"
    assert not str(told.value).count("..")
