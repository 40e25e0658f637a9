"""A retired fingerprint key can't mark a store's secrets as Keyturn's own."""

import dataclasses

import pytest

from keyturn.core.errors import NotOwned
from keyturn.core.fingerprint_keys import FIRST_KEY, FingerprintKeys, read_key
from keyturn.core.plan import Action, Item
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import Sensitive
from keyturn.rotation.copies.labels import UNKNOWN_KEY
from keyturn.rotation.repair.recoverable_values import Useless, held_value
from keyturn.sync.apply import delete
from tests.support.lab import Lab
from tests.support.places import single
from tests.sync.test_own_fingerprints import Turning, steps

pytestmark = pytest.mark.sampled(4, of="file")

THEIRS = Sensitive('{"password":"theirs"}')


@dataclasses.dataclass
class Forged:
    """A copy of somebody's own, under marks that a leaked key has made."""

    site: Turning
    path: str
    marks: OwnershipTags

    def put(self) -> None:
        """Write it over the copy that is there, as a store's own login may."""
        store = self.site.stores["one"]
        store.write(self.path, THEIRS, self.marks, store.describe(self.path))


def marks_by(keys: FingerprintKeys, site: Turning, path: str, version: int = 1) -> OwnershipTags:
    """What a copy of the newest version would bear, made with these keys."""
    copy = site.stores["two"].describe(path)
    assert copy is not None
    assert copy.marks is not None
    return dataclasses.replace(copy.marks, version=version, fingerprint=str(keys.make(path, THEIRS)))


@pytest.fixture
def forged(lab: Lab) -> Forged:
    site = Turning(lab)
    path = site.write("a", password="ours")
    site.run()
    leaked = read_key(1, site.state.entries[FIRST_KEY], site.workspace.hub.now())
    assert leaked is not None
    assert steps(site)[-1] == "retired"
    return Forged(site, path, marks_by(FingerprintKeys((leaked,), 1, leaked.made_at), site, path))


def test_it_is_found_as_drift_by_a_plan_from_listings_and_rewritten(forged: Forged) -> None:
    forged.put()
    item = forged.site.item(f"one:{forged.path}")
    assert (item.action, item.why) == (Action.DRIFTED, UNKNOWN_KEY)
    forged.site.run()
    assert forged.site.served("one") == {forged.path: '{"password":"ours"}'}
    assert set(forged.site.actions(deep=True).values()) == {Action.IN_SYNC}


def test_it_is_only_reported_if_the_catalogue_says_so(forged: Forged) -> None:
    forged.site.syncs["all"]["drift"] = "report"
    forged.put()
    assert forged.site.item(f"one:{forged.path}").hands_off
    assert not forged.site.run()


def test_it_is_never_recovered_into_the_hub(forged: Forged) -> None:
    forged.put()
    workspace = forged.site.workspace
    place = next(place for place in single(workspace.catalogue.destinations(forged.path)) if place.store == "one")
    held = held_value(workspace, forged.path, place, workspace.hub.read(forged.path))
    assert isinstance(held, Useless)


def test_it_is_never_deleted_as_keyturns_own(forged: Forged) -> None:
    forged.put()
    item = Item(Action.DELETE, forged.path, "one", forged.path)
    with pytest.raises(NotOwned, match="retired"):
        delete(forged.site.workspace, item)


def test_a_key_replacement_does_not_renew_its_mark(forged: Forged) -> None:
    forged.put()
    assert steps(forged.site)[-1] == "retired"
    assert forged.site.item(f"one:{forged.path}").action is Action.DRIFTED


def test_a_key_replacement_renews_no_mark_that_does_not_match_its_value(site_of_first: Turning) -> None:
    [path] = site_of_first.served("one")
    site_of_first.stores["one"]._secrets[path].values[-1] = THEIRS  # as a store that shows no such change
    site_of_first.turn(begin=True)
    site_of_first.turn()
    assert site_of_first.turn().marked == 1
    assert site_of_first.turn().step == "retired"
    assert site_of_first.item(f"one:{path}").action is Action.DRIFTED


def test_a_mark_with_an_unknown_key_is_drift(site_of_first: Turning) -> None:
    store, [path] = site_of_first.stores["one"], list(site_of_first.served("one"))
    copy = store.describe(path)
    assert copy is not None
    assert copy.marks is not None
    store._secrets[path].marks = dataclasses.replace(copy.marks, fingerprint=f"{'0' * 64}-99")
    assert site_of_first.item(f"one:{path}").action is Action.DRIFTED


@pytest.fixture
def site_of_first(lab: Lab) -> Turning:
    site = Turning(lab)
    site.write("a", password="ours")
    site.run()
    return site
