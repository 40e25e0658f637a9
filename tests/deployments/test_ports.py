"""Choosing loopback ports for servers."""

import socket

import pytest

from keyturn.core.errors import Invalid
from local.support.ports import LOOPBACK, RANGE, RANGE_VARIABLE, free_ports, in_use

BELOW = range(RANGE.start - 2_000, RANGE.start - 4)
"""Ports that neither the servers of other tests nor outgoing connections take."""


def test_no_port_is_chosen_twice_nor_one_that_somebody_listens_on(monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(port for port in BELOW if not any(in_use(other) for other in range(port, port + 4)))
    monkeypatch.setenv(RANGE_VARIABLE, f"{first}-{first + 3}")
    with socket.create_server((LOOPBACK, first)):
        chosen = [free_ports(1)[0] for _ in range(3)]
        assert sorted(chosen) == [first + 1, first + 2, first + 3]
        assert free_ports(1)[0] in chosen, "all were chosen once: the first is free again"


@pytest.mark.parametrize("text", ["20000", "a-b", "3-5", "30000-20000", "60000-70000"])
def test_a_range_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(RANGE_VARIABLE, text)
    with pytest.raises(Invalid, match=RANGE_VARIABLE):
        free_ports(1)
