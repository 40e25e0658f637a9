"""A durable hub that is killed while it makes and ends tokens, so that it lists accessors without a usable token."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from local.openbao import OpenBao
from tests.support.lab import Lab

KILLS: Final = 20
"""At most: one in two leaves an accessor behind."""
SETTLES: Final = 3
"""Seconds between two looks: a hub that starts goes on to end what it was ending when it was killed."""
LOGINS: Final = 6
"""Tokens that are made and ended at once."""


def stale_accessors(server: OpenBao) -> list[str]:
    """The accessors that the hub lists and denies the root token to look up."""
    listed = _ask(server, "LIST", "auth/token/accessors").json()["data"]["keys"]
    answers = {one: _ask(server, "POST", "auth/token/lookup-accessor", accessor=one).status_code for one in listed}
    return [one for one, status in answers.items() if status == 403]


def kill_until_stale(server: OpenBao) -> list[str]:
    """Kill the hub with SIGKILL and start it again until it has such accessors; which they are."""
    for _ in range(KILLS):
        _kill_at_work(server)
        if stale := _settled(server):
            return stale
    raise AssertionError(f"{KILLS} kills left no accessor without a token")


def _settled(server: OpenBao) -> list[str]:
    """The same accessors at two looks."""
    before, stale = [""], stale_accessors(server)
    while stale and stale != before:
        time.sleep(SETTLES)
        before, stale = stale, stale_accessors(server)
    return stale


def durable_server(lab: Lab, directory: Any) -> OpenBao:
    """The server of :func:`tests.support.own_lab.own_lab` in this directory."""
    return OpenBao(directory / "hub", urlsplit(lab.world.hub_address).port or 0)


def _kill_at_work(server: OpenBao) -> None:
    with ThreadPoolExecutor(LOGINS) as pool:
        for _ in range(LOGINS):
            pool.submit(_make_and_end_tokens, server)
        time.sleep(0.5)
        assert server.process.pid is not None
        os.kill(server.process.pid, signal.SIGKILL)
    server.stop()
    server.start()


def _make_and_end_tokens(server: OpenBao) -> None:
    """Until the hub answers no more."""
    try:
        while True:
            made = _ask(server, "POST", "auth/token/create-orphan", policies=["default"]).json()["auth"]
            _ask(server, "POST", "auth/token/revoke-accessor", accessor=made["accessor"])
    except (requests.RequestException, KeyError, TypeError):
        return


def _ask(server: OpenBao, method: str, path: str, **body: Any) -> requests.Response:
    headers = {"X-Vault-Token": server.root_token}
    return requests.request(method, f"{server.address}/v1/{path}", json=body or None, headers=headers, timeout=10)
