"""What every store must do that lays single keys into secrets of others: cases for its contract.

An adapter's test module adds them to its class: ``class TestItsName(MergingCases, ItsContract)``.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from keyturn.core.errors import Conflict, Invalid, NotFound, NotOwned
from keyturn.core.fingerprint import fingerprint, payload
from keyturn.core.ports.merged_keys import Change, Shared, Shares, sharing
from keyturn.core.ports.stores import OwnershipTags, RemoteSecret, Store
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.rotation.state.copy_parts import Parts, SeenPart, parts_in
from tests.contracts.store import KEY, Raw

Owner = Callable[[str, Mapping[str, str | None]], None]
"""Sets these keys of the secret of that name, and removes those that are None, as somebody without Keyturn does."""

SOURCE = "apps/payments/db"


def view(store: Store, keys: str, source: str = SOURCE, shares: Shares | None = None) -> Parts:
    """The keys, parted by spaces, of one secret of the hub."""
    used = shares or sharing(store)
    assert used is not None
    return Parts(store, used, source, keys.split(), lambda _, text: fingerprint(KEY, text))


def part(keys: str, **more: Any) -> Sensitive:
    """An object with fresh values under these keys."""
    return payload(SecretFields({**{key: secrets.token_hex(8) for key in keys.split()}, **more}))


def lay(parts: Parts, remote: str, value: Sensitive, version: int = 1, source: str = SOURCE) -> RemoteSecret:
    """Write as the flows do: find, then write with what was found."""
    marks = OwnershipTags(source, version, fingerprint(KEY, value), shape="0a1b2c3d", catalogue="team-a")
    return parts.write(remote, value, marks, parts.describe(remote))


class Meanwhile:
    """A store's way to single keys, with somebody who acts each time between a look and a write."""

    def __init__(self, shares: Shares, *acts: Callable[[], None]) -> None:
        self._shares = shares
        self._acts = list(acts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shares, name)

    def put(self, remote: str, change: Change, current: Shared | None) -> None:
        """The write, after the next of the acts."""
        if self._acts:
            self._acts.pop(0)()
        self._shares.put(remote, change, current)


class MergingCases:
    """The cases, for a class that has the contract's fixtures."""

    kind: ClassVar[str]
    settings: Any
    keeps_versions: ClassVar[bool] = True
    """Whether old versions of a secret can be read."""

    @pytest.fixture
    def owner(self, store: Store, foreign: Raw, tampered: Raw) -> Owner:
        def act(name: str, changes: Mapping[str, str | None]) -> None:
            there = store.describe(name) is not None
            members = json.loads(store.read(name).reveal()) if there else {}
            kept = {key: value for key, value in {**members, **changes}.items() if value is not None}
            (tampered if there else foreign)(name, json.dumps(kept, indent=2))

        return act

    def members(self, store: Store, remote: str) -> dict[str, Any]:
        """What is served."""
        shares = sharing(store)
        found = shares.look(remote) if shares else None
        assert found is not None
        return dict(found.members)

    def test_keys_stand_beside_those_of_the_owner_whose_edits_are_no_drift(
        self, store: Store, remote: str, owner: Owner
    ) -> None:
        owner(remote, {"THEIRS": "one", "OTHER": "two"})
        parts, value = view(store, "USER PORT"), part("USER", PORT=5432)
        assert parts.describe(remote) is None
        written = lay(parts, remote, value)
        found = parts.describe(remote)
        assert found == written
        assert found is not None
        assert (found.intact, found.theirs, parts.read(remote)) == (True, (), value)
        owner(remote, {"THEIRS": "three", "OTHER": None, "NEW": "four"})
        assert parts.describe(remote) == written
        assert parts.read(remote) == value
        newer = part("USER", PORT=5433)
        assert lay(parts, remote, newer, 2) == parts.describe(remote)
        theirs = {key: text for key, text in self.members(store, remote).items() if key not in ("USER", "PORT")}
        assert theirs == {"THEIRS": "three", "NEW": "four"}
        assert parts.read(remote) == newer

    def test_what_others_do_to_our_keys_shows_and_a_write_mends_it(
        self, store: Store, remote: str, owner: Owner
    ) -> None:
        parts, value = view(store, "USER PASSWORD"), part("USER PASSWORD")
        owner(remote, {"THEIRS": "one"})
        lay(parts, remote, value)
        for damage in ({"PASSWORD": "changed"}, {"USER": None}):
            owner(remote, damage)
            found = parts.describe(remote)
            assert found is not None
            assert not found.intact
            lay(parts, remote, value)
            assert parts.read(remote) == value
            mended = parts.describe(remote)
            assert mended is not None
            assert mended.intact
        assert self.members(store, remote)["THEIRS"] == "one"

    def test_a_key_that_somebody_else_has_is_told_and_is_ours_once_it_is_taken_over(
        self, store: Store, remote: str, owner: Owner
    ) -> None:
        owner(remote, {"USER": "ann", "THEIRS": "one"})
        parts, value = view(store, "USER PASSWORD"), part("USER PASSWORD")
        found = parts.describe(remote)
        assert isinstance(found, SeenPart)
        assert (found.marks, found.theirs) == (None, ("USER",))
        lay(parts, remote, value)
        assert parts.read(remote) == value
        assert self.members(store, remote)["THEIRS"] == "one"

    def test_two_secrets_have_keys_in_one_and_each_goes_by_itself(self, store: Store, remote: str) -> None:
        one, other = view(store, "USER"), view(store, "TOKEN", "apps/mail")
        first, second = part("USER"), part("TOKEN")
        lay(one, remote, first)
        lay(other, remote, second, source="apps/mail")
        assert (one.read(remote), other.read(remote)) == (first, second)
        shares = sharing(store)
        assert shares is not None
        noted = {note.marks.source: note.keys for name, note in parts_in(shares) if name == remote}
        assert noted == {SOURCE: ("USER",), "apps/mail": ("TOKEN",)}
        greedy = view(store, "TOKEN").describe(remote)
        assert greedy is not None
        assert greedy.theirs == ("TOKEN",)
        one.delete(remote)
        assert one.describe(remote) is None
        with pytest.raises(NotFound):
            one.read(remote)
        assert other.read(remote) == second
        other.delete(remote)
        assert self.members(store, remote) == {}
        assert [name for name, _ in parts_in(shares) if name == remote] == []

    def test_keys_that_are_wanted_no_more_go_and_a_secret_that_is_absent_is_made(
        self, store: Store, remote: str
    ) -> None:
        lay(view(store, "A B"), remote, part("A B"))
        assert self.members(store, remote).keys() == {"A", "B"}
        value = part("B C")
        lay(view(store, "B C"), remote, value, 2)
        assert self.members(store, remote).keys() == {"B", "C"}
        assert view(store, "B C").read(remote) == value
        found = view(store, "B C").describe(remote)
        assert found is not None
        assert (found.intact, found.theirs) == (True, ())

    def test_what_others_write_between_a_look_and_a_write_is_not_lost(
        self, store: Store, remote: str, owner: Owner
    ) -> None:
        owner(remote, {"THEIRS": "one"})
        shares = sharing(store)
        assert shares is not None
        acts = [lambda: owner(remote, {"THEIRS": "two"}), lambda: owner(remote, {"MORE": "three"})]
        parts, value = view(store, "USER", shares=Meanwhile(shares, *acts)), part("USER")  # type: ignore[arg-type]
        lay(parts, remote, value)
        lay(parts, remote, newer := part("USER"), 2)
        assert parts.read(remote) == newer
        theirs = {key: text for key, text in self.members(store, remote).items() if key != "USER"}
        assert theirs == {"THEIRS": "two", "MORE": "three"}
        found = parts.describe(remote)
        assert found is not None
        assert found.intact

    def test_the_same_again_is_no_new_version(self, store: Store, remote: str, owner: Owner) -> None:
        owner(remote, {"THEIRS": "one"})
        parts, value, shares = view(store, "USER PORT"), part("USER", PORT=1), sharing(store)
        assert shares is not None
        lay(parts, remote, value)
        before = shares.look(remote)
        lay(parts, remote, value)
        after = shares.look(remote)
        assert before is not None
        assert after is not None
        assert (after.version_id, after.tags) == (before.version_id, before.tags)

    def test_what_is_too_large_as_a_whole_is_refused_and_nothing_is_written(
        self, store: Store, remote: str, owner: Owner
    ) -> None:
        owner(remote, {"THEIRS": "x" * (self.settings.LIMITS.max_bytes - 100)})
        parts, value = view(store, "USER"), part("USER", USER="y" * 200)
        assert parts.size(remote, value) > self.settings.LIMITS.max_bytes
        with pytest.raises(Invalid, match="with the keys of others"):
            lay(parts, remote, value)
        assert parts.describe(remote) is None

    def test_a_long_note_and_odd_keys_come_back(self, store: Store, remote: str) -> None:
        value = part(" ".join(f"LONG_NAME_OF_A_KEY_{number}" for number in range(20)))
        keys = " ".join(json.loads(value.reveal()))
        source = "apps/" + "long-path/" * 15 + "db"
        lay(view(store, keys, source), remote, value, source=source)
        found = view(store, keys, source).describe(remote)
        assert found is not None
        assert found.marks is not None
        assert (found.intact, found.marks.source, found.marks.catalogue) == (True, source, "team-a")

    def test_old_versions_are_told_and_stay_the_owners(self, store: Store, remote: str, owner: Owner) -> None:
        owner(remote, {"THEIRS": "one"})
        parts, old, new = view(store, "USER"), part("USER"), part("USER")
        lay(parts, remote, old)
        lay(parts, remote, new, 2)
        past = parts.old_versions(remote)
        assert (old in past.values()) is self.keeps_versions
        stays = parts.purge_old_versions(remote)
        assert all(any(f"version {name} " in words for words in stays) for name in past)
        assert parts.old_versions(remote) == past
        assert parts.read(remote) == new
        left = parts.purge(remote)
        assert "USER" not in self.members(store, remote)
        assert self.members(store, remote)["THEIRS"] == "one"
        told = [name for name in parts.old_versions(remote) if not any(f"version {name} " in words for words in left)]
        assert told == []

    def test_keys_that_appear_after_the_look_stay_theirs(self, store: Store, remote: str, owner: Owner) -> None:
        owner(remote, {"THEIRS": "one"})
        parts, value = view(store, "USER"), part("USER")
        seen = parts.describe(remote)
        owner(remote, {"USER": "ann"})
        with pytest.raises(Conflict, match="the key USER"):
            parts.write(remote, value, OwnershipTags(SOURCE, 1, fingerprint(KEY, value)), seen)
        assert self.members(store, remote) == {"THEIRS": "one", "USER": "ann"}

    def test_a_whole_copy_is_no_secret_of_others(self, store: Store, remote: str) -> None:
        value = part("USER")
        store.write(remote, value, OwnershipTags("apps/mail", 1, fingerprint(KEY, value)), None)
        with pytest.raises(NotOwned, match="the whole of it is the copy of apps/mail"):
            view(store, "TOKEN").describe(remote)
        found = store.describe(remote)
        assert found is not None
        assert found.intact
