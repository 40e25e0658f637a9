"""What a person does with a store of a recipe: scan, import, plan, and a revocation that clears it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.core.errors import UnsupportedOperation
from keyturn.core.plan import Action
from keyturn.sync.import_secrets import ImportState, import_all, insist_on_readable, look_at_imports
from keyturn.sync.scan import scan_stores
from tests.support.lab import Lab
from tests.support.recipe_stores import Emulated, emulated
from tests.sync.drift.site import STORE, Look, RealSite

READABLE = ("gitlab-project-variables", "consul-kv", "databricks-secret-scope", "infisical-secrets", "nomad-variables")
WRITTEN_ONLY = ("hcp-terraform-variables", "circleci-context")

pytestmark = pytest.mark.sampled(3, of="file", kinds="nothing")


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Emulated]:
    with emulated(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def site(lab: Lab, place: Emulated) -> Iterator[RealSite]:
    with RealSite(lab, place.data, {"separator": place.joint}) as site:
        yield site


@pytest.mark.parametrize("place", [*READABLE, *WRITTEN_ONLY], indirect=True)
def test_a_scan_finds_what_is_not_declared_and_no_marks(site: RealSite, place: Emulated) -> None:
    site.write("a", x="1")
    site.run()
    theirs = place.fresh_name()
    place.service.put_by_hand(theirs, "theirs")
    (found,) = scan_stores(site.workspace, [STORE]).stores
    assert (found.unmanaged, found.undeclared, found.error) == ((theirs,), (), "")


@pytest.mark.parametrize("place", READABLE, indirect=True)
def test_an_import_brings_a_value_into_the_hub(site: RealSite, place: Emulated) -> None:
    name = place.fresh_name()
    place.service.put_by_hand(name, '{"user": "app"}')
    workspace = site.workspace
    insist_on_readable(workspace, STORE)
    (brought,) = import_all(workspace, look_at_imports(workspace, STORE, [name], site.folder))
    assert brought.state is ImportState.IMPORTED
    secret = site.hub.read(brought.path)
    assert secret is not None
    assert secret.fields.reveal() == {"user": "app"}


@pytest.mark.parametrize("place", WRITTEN_ONLY, indirect=True)
def test_an_import_from_a_store_that_is_written_only_is_refused(site: RealSite, place: Emulated) -> None:
    with pytest.raises(UnsupportedOperation):
        insist_on_readable(site.workspace, STORE)


@pytest.mark.parametrize("place", [*READABLE, *WRITTEN_ONLY], indirect=True)
def test_a_plan_of_a_store_that_is_down_names_it_and_the_next_run_continues(site: RealSite, place: Emulated) -> None:
    path = site.write("a", x="1")
    token = Path(place.data["token_file"])
    login = token.read_text()
    token.write_text("another")
    (item,) = site.plan(path).items
    assert str(token) in item.why
    assert site.run(path) == []
    token.write_text(login)
    assert [one.state for one in site.run(path)] == ["created"]
    assert site.item(path, Look.DEEP).action is Action.IN_SYNC
