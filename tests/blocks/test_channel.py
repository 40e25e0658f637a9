"""The block that failures are reported through."""

import asyncio
import json
import warnings

from blocks.channel import FailureChannel
from local.pager import Pager
from local.support.ports import free_port
from tests.support.lab import fresh
from tests.support.prefect_server import PrefectServer


def test_it_sends_and_its_address_is_hidden_wherever_it_is_shown(prefect: PrefectServer) -> None:
    pager, name = Pager(free_port()), fresh()
    with warnings.catch_warnings():
        # Apprise asks whether a module is there that is on its way out of Python.
        warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
        channel = FailureChannel(url=f"{pager.address}?token=CANARY-of-the-channel", notify_type="failure")
    channel.save(name, _sync=True)  # type: ignore[call-arg]
    asyncio.run(channel.anotify("body", "subject"))
    pager.close()
    assert pager.messages == ["subject\nbody"]
    documents = prefect.all("block_documents", block_documents={"name": {"any_": [name]}})
    assert len(documents) == 1
    assert "CANARY" not in json.dumps(documents)
    assert "CANARY" not in repr(channel)
