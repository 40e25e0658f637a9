"""The scale benchmark's model, and the schedules that it compares."""

import math
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks import schedules
from benchmarks.scale import COMMANDS, exponent, measure
from benchmarks.scale_model import Installation, Site, first_look, hub_requests, store_requests
from benchmarks.scale_site import Site as MeasuredSite

pytestmark = pytest.mark.sampled(4, of="files")

DOCUMENT = Path(__file__).parents[2] / "docs" / "scale.md"
ROW = re.compile(r"^\| ([\d,]+) \| ([a-z, ]+) \| .* \| ([\d,]+) \| (\d+) \| (\d+) \| (\d+) \|$", re.M)
"""Of the measured table: secrets, look, seconds and memory, and the requests to the hub and to the three clouds."""
SECRETS = 130
"""More than a plan looks up one by one, in several pages of Key Vault, Secrets Manager and the parameters."""


def modelled(secrets: int) -> Site:
    """The model of a measured site: every tenth secret is in Parameter Store."""
    return Site(secrets, math.ceil(secrets / 10))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MeasuredSite]:
    """A small site; its environment is gone afterwards."""
    with monkeypatch.context(), ExitStack() as stack:
        for name in environment():
            monkeypatch.setenv(name, "")
        yield MeasuredSite(tmp_path, stack, SECRETS)


def environment() -> list[str]:
    """The variables that a site sets, for itself and for what it starts."""
    from benchmarks.clouds import ENVIRONMENT

    own = ("XDG_STATE_HOME", "XDG_CACHE_HOME", "VAULT_ADDR", "KEYTURN_HUB_TOKEN_FILE", "KEYTURN_CATALOGUE")
    return [*ENVIRONMENT, *own, "AWS_SHARED_CREDENTIALS_FILE", "KEYTURN_LEDGER", "KEYTURN_POLICY"]


def test_what_a_small_site_asks_for_is_what_the_model_says(site: MeasuredSite) -> None:
    model = modelled(SECRETS)
    first, plan, status = measure(site, "due"), measure(site, "plan"), measure(site, "status")
    asked = [first["hub"], plan["hub"], status["hub"]]
    assert asked == [first_look(model), hub_requests(model, "plan"), hub_requests(model, "status")]
    assert {name: plan[name] for name in ("aws", "azure", "gcp")} == store_requests(model)
    assert plan["hub writes"] == first["aws"] == 0


def test_the_documents_measured_requests_are_what_the_model_says() -> None:
    rows = ROW.findall(DOCUMENT.read_text())
    assert {look for _, look, *_ in rows} == {*COMMANDS, "due, first"}
    assert len({secrets for secrets, *_ in rows}) == 3
    for row in rows:
        secrets, look, *asked = row
        model = modelled(number(secrets))
        hub = first_look(model) if look == "due, first" else hub_requests(model, look)
        clouds = store_requests(model) if not look.startswith("due") else dict.fromkeys(("aws", "azure", "gcp"), 0)
        assert [number(count) for count in asked] == [hub, *clouds.values()], row


def test_the_documents_figures_of_a_large_installation_are_the_models() -> None:
    figures = Installation(100_000, 3, 12, 100_000).figures()
    told = dict(re.findall(r"^\| ([^|]+) \| ([\d,.]+) \|$", DOCUMENT.read_text(), re.M))
    assert told == {name: f"{figure:,.1f}" for name, figure in figures.items()}


def number(text: str) -> int:
    """A count as people write it."""
    return int(text.replace(",", ""))


@pytest.mark.parametrize(("power", "constant"), [(1.0, 0.0), (1.4, 0.0), (0.0, 5.0)])
def test_an_exponent_is_found_in_what_grows_by_it(power: float, constant: float) -> None:
    sizes = [1000, 5000, 20000]
    assert exponent(sizes, [3 * size**power + constant for size in sizes]) == pytest.approx(power)
    assert math.isnan(exponent(sizes, [0, 1, 2]))


@pytest.fixture(scope="module")
def ways() -> dict[str, Any]:
    """What each way of placing rotations has come to, in a small world."""
    return schedules.compared(1_200, 50, 14, 2, seed=1)


def test_jitter_spreads_what_cron_heaps_and_neither_is_late(ways: dict[str, Any]) -> None:
    own, _, _, _, late, _ = zip(*ways.values(), strict=True)
    cron, jitter, _, learned = own
    assert jitter < cron / 2
    assert jitter < learned
    assert (late[0], late[1], late[3]) == (0, 0, 0)


def test_a_learned_hour_is_within_the_jitter_and_the_one_that_promised_least() -> None:
    load = [100 if minute % schedules.DAY < 12 * schedules.HOUR else 1 for minute in range(20 * schedules.DAY)]
    learned = schedules.Learned(load)
    now = 15 * schedules.DAY
    at = learned.place("team/one", now, now, schedules.DAY)
    assert now <= at <= now + schedules.DAY
    assert load[at] == 1
    assert learned.placed == {at // schedules.HOUR: 1}
