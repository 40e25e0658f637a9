"""One secret with a copy in each of eight stores, revoked; the stores are asked afterwards with their own clients."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.errors import Denied, KeyturnError, Throttled, Unavailable
from keyturn.core.overrides import Waive
from keyturn.core.plan import Action
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.revocation import run
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode, Step
from keyturn.revocation.selector import Selection
from keyturn.rotation.copies.push import CopyState, sync_destinations
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.sync.plan import plan
from keyturn.wiring.registry import open_workspace
from local.openbao import OpenBao
from tests.revocation import eight
from tests.revocation.eight import Eight, Place
from tests.support.clock import Clock
from tests.support.hooks import Replaced
from tests.support.lab import Declared, Lab, catalogue_data, fresh
from tests.support.sender import RecordingSender

pytestmark = pytest.mark.sampled(18, of="file")

REPLACE, REVOKE_ONLY = Mode.REPLACE, Mode.REVOKE_ONLY
VERBS = (
    "describe",
    "list_managed",
    "list_all",
    "write",
    "create",
    "read",
    "read_many",
    "delete",
    "old_versions",
    "purge_old_versions",
    "purge",
)


@pytest.fixture(scope="module")
def stores(openbao: OpenBao, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Eight]:
    with eight.opened(openbao, tmp_path_factory.mktemp("eight")) as opened:
        yield opened


class Everywhere:
    """A secret that has had several values, the last of which every store serves."""

    def __init__(
        self, lab: Lab, stores: Eight, kind: str, older: int = 1, shape: Mapping[str, Any] | None = None
    ) -> None:
        self.lab, self.stores, self.incident = lab, stores, f"INC-{fresh()}"
        secret: Declared = getattr(lab, kind)(grace="1h" if shape else "0s")
        self.path, self.field = secret.path, "password" if kind == "alternating" else "value"
        places = [{**one, **(shape or {})} for one in stores.destinations(self.path)]
        self.secret = secret.having(destinations=places, consumers=["app"])
        data = catalogue_data(lab.world, (self.secret,), {}, {"app": CONSUMER}) | {"stores": stores.stores()}
        self.clock, opened = Clock(), open_workspace(Catalogue.model_validate(data), lab.hub)
        self.workspace = replace(opened, sender=RecordingSender(), clock=self.clock, sleep=lambda seconds: None)
        self.leaked = [self._value()]
        for _ in range(older):
            rotated = rotate(self.workspace, self.path, Trigger.FORCE)
            assert [one for one in rotated.destinations if not one.in_step] == []
            self.leaked.append(self._value())

    def _value(self) -> str:
        return str(self.lab.current(self.secret)[self.field])

    def breaking(self, store: str, error: KeyturnError, *verbs: str) -> Workspace:
        """The same, where one store raises from all of its methods, or from these."""

        def fail(*_: Any, **__: Any) -> Any:
            raise error

        def opened(name: str) -> Any:
            inner = self.workspace.open_store(name)
            return Replaced(inner, **dict.fromkeys(verbs or VERBS, fail)) if name == store else inner

        return replace(self.workspace, open_store=opened)

    def revoke(self, mode: Mode, workspace: Workspace | None = None) -> IncidentStatus:
        """From the trigger on, as far as it goes."""
        opened = workspace or self.workspace
        run.begin(
            opened,
            Selection((self.path,)),
            incident=self.incident,
            reason="leaked in a log",
            mode=mode,
            selector=self.path,
            triggered_at=self.clock(),
            consent=Consent(1),
        )
        return run.finish(opened, self.incident)

    def leaks(self, place: Place) -> set[str]:
        """Which versions of the copy give a value that has leaked."""
        given = place.ask(place.remote(self.path))
        return {version for version, text in given.items() if any(value in text for value in self.leaked)}

    def told(self, stands: IncidentStatus, place: Place) -> set[str]:
        """Which versions of the copy are said to stay."""
        label = f"{place.name}:{place.remote(self.path)}: version "
        (one,) = stands.secrets
        return {said.removeprefix(label).split()[0] for said in one.remains if said.startswith(label)}

    def assert_proven(self, stands: IncidentStatus, mode: Mode) -> None:
        """The incident is over, and every store bears it out."""
        assert (stands.left, stands.open) == ((), False)
        for place in self.stores.places:
            self.assert_clean(stands, place, mode)
        self.assert_ended()

    def assert_clean(self, stands: IncidentStatus, place: Place, mode: Mode) -> None:
        """No version gives what has leaked but those that are told, and what is served is new or gone."""
        given, leaks, told = place.ask(place.remote(self.path)), self.leaks(place), self.told(stands, place)
        if mode is REVOKE_ONLY:
            assert (place.name, given) == (place.name, {})
            return
        assert self._value() in given[""]
        assert (place.name, leaks) == (place.name, told if place.keeps else set())
        assert not place.keeps or leaks

    def assert_ended(self) -> None:
        """Nobody is let in with what has leaked, and the hub gives none of it."""
        info = self.workspace.hub.describe(self.path)
        assert info is not None
        readable = [one.version for one in info.versions if one.readable]
        given = [self.workspace.hub.read(self.path, version) for version in readable]
        assert not [one for one in given if one and one.fields[self.field].reveal() in self.leaked]
        if self.field == "password":
            for user in self.secret.users:
                assert not [value for value in self.leaked if self.logs_in(user, value)]

    def logs_in(self, user: str, password: str) -> bool:
        """Whether the database lets this user in."""
        return self.lab.logs_in(SecretFields({"username": user, "password": password}))


CONSUMER = {"url": "http://127.0.0.1:9/", "signing_key": "webhooks/app"}


@pytest.mark.parametrize("kind", ["generated", "alternating"])
@pytest.mark.parametrize("mode", list(Mode))
def test_no_version_in_any_store_gives_the_old_value_but_those_that_are_told(
    lab: Lab, stores: Eight, kind: str, mode: Mode
) -> None:
    site = Everywhere(lab, stores, kind, older=2)
    for place in stores.places:
        assert "" in site.leaks(place)
    site.assert_proven(site.revoke(mode), mode)


def test_the_value_before_beside_the_new_one_is_in_every_store_for_its_grace_and_goes_with_a_revocation(
    lab: Lab, stores: Eight
) -> None:
    both = {"fields": {"keys": ["value", "previous.value"]}, "templates": {"text": "{value,previous.value}"}}
    site = Everywhere(lab, stores, "generated", shape=both)
    for given in stores.given(site.path).values():
        assert all(value in given[""] for value in site.leaked)
    assert {one.action for one in plan(site.workspace, [site.path]).items} == {Action.IN_SYNC}
    assert retire(site.workspace, site.path, Waive.GRACE).retired
    for given in stores.given(site.path).values():
        assert [value in given[""] for value in site.leaked] == [False, True]
    assert {one.action for one in plan(site.workspace, [site.path]).items} == {Action.IN_SYNC}
    rotate(site.workspace, site.path, Trigger.FORCE)
    site.leaked.append(site._value())
    site.assert_proven(site.revoke(REPLACE), REPLACE)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("store", eight.NAMES)
def test_with_one_store_down_all_else_is_done_and_the_incident_says_which_and_why(
    lab: Lab, stores: Eight, store: str, mode: Mode
) -> None:
    site = Everywhere(lab, stores, "generated")
    error = Unavailable("reach", store, "it does not answer at all", "Try again")
    stands = site.revoke(mode, site.breaking(store, error))
    assert stands.open
    assert all(store in said and "it does not answer at all" in said for said in stands.left)
    assert any(f"{store}:" in said for said in stands.left)
    for place in stores.places:
        if place.name != store:
            site.assert_clean(stands, place, mode)
    site.assert_ended()
    (one,) = stands.secrets
    assert {Step.CUT, Step.NOTIFY, Step.HUB} <= set(one.done)
    site.assert_proven(run.finish(site.workspace, site.incident), mode)


THROTTLED = Throttled("write", "it", "it asks for a slower pace", "It is tried again by itself")
DENIED = Denied("write", "it", "its policy denies that", "Give Keyturn the right to do that there")


@pytest.mark.sampled(6)
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(
    ("store", "error", "verbs"),
    [
        ("aws", THROTTLED, ()),
        ("gcp", THROTTLED, ("write", "create", "purge")),
        ("azure", DENIED, ()),
        ("vault", DENIED, ("purge_old_versions", "purge")),
        ("parameters", DENIED, ("old_versions", "purge")),
        ("kubernetes", DENIED, ("write", "create", "purge")),
    ],
    ids=lambda given: given if isinstance(given, str) else None,
)
def test_a_store_that_throttles_or_denies_is_told_with_its_reason_and_cleared_once_it_does_not(
    lab: Lab, stores: Eight, store: str, error: KeyturnError, verbs: tuple[str, ...], mode: Mode
) -> None:
    site = Everywhere(lab, stores, "generated")
    stands = site.revoke(mode, site.breaking(store, error, *verbs))
    assert stands.open
    assert any(f"{store}:" in said and error.problem in said for said in stands.left)
    for place in stores.places:
        if place.name != store:
            site.assert_clean(stands, place, mode)
    site.assert_proven(run.finish(site.workspace, site.incident), mode)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("store", ["azure", "gcp", "vault"])
def test_a_copy_that_could_not_be_written_at_first_keeps_nothing_of_the_old_value_once_it_is(
    lab: Lab, stores: Eight, store: str
) -> None:
    """Where the old versions are cleared while the copy serves the leaked value still, that becomes one of them."""
    site = Everywhere(lab, stores, "generated")
    assert site.revoke(REPLACE, site.breaking(store, THROTTLED, "write", "create")).open
    site.assert_proven(run.finish(site.workspace, site.incident), REPLACE)


def test_copies_that_keep_what_they_have_get_what_they_lack_and_are_removed_with_it(lab: Lab, stores: Eight) -> None:
    readable = Eight(tuple(one for one in stores.places if one.name != "github"))
    scene = Everywhere(lab, readable, "generated", older=2, shape={"update": "add-fields"})
    current = lab.hub.read(scene.path)
    assert current
    lab.hub.write(scene.path, current.fields.merged({"note": "a field more"}), cas=current.version)
    assert [one for one in sync_destinations(scene.workspace, scene.path) if one.state is not CopyState.UPDATED] == []
    for place, given in readable.given(scene.path).items():
        assert (place, scene.leaked[1] in given[""], "a field more" in given[""]) == (place, True, True)
    for deep in (False, True):
        assert {one.action for one in plan(scene.workspace, [scene.path], deep=deep).items} == {Action.IN_SYNC}
    scene.assert_proven(scene.revoke(REVOKE_ONLY), REVOKE_ONLY)
