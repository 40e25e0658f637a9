"""What is kept, for how long, and what goes first. The clock is a number that the test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.client.cache import Cache, Look
from keyturn.client.policy import RESTRICTED, CachePolicy
from keyturn.client.secrets import Secret
from keyturn.core.errors import NotFound
from tests.support.served import MADE, secret

POLICY = CachePolicy(ttl=100, jitter=0, ahead=0.8, neg_ttl=5, resurrect_ttl=50, retry_after=10)


def missed(path: str) -> Secret:
    raise LookupError(path)


def cache_of(policy: CachePolicy = POLICY, entries: int = 10, size: int = 10_000) -> Cache:
    return Cache(missed, lambda path: policy, entries, size)


def asked(cache: Cache, path: str, now: float) -> tuple[Look, int | None]:
    cache.tick(now)
    look, kept = (Look.GIVE, cache.hot[path]) if path in cache.hot else cache.look(path, now)
    return look, kept.version if kept else None


def test_what_is_kept_is_given_then_read_behind_and_then_read_first() -> None:
    cache = cache_of()
    cache.put(secret("a"), 0)
    assert asked(cache, "a", 79) == (Look.GIVE, 1)
    assert asked(cache, "a", 80) == (Look.GIVE_AND_READ, 1)
    assert asked(cache, "a", 100) == (Look.READ, None)


def test_nothing_old_stays_where_hits_are_read() -> None:
    cache = cache_of()
    cache.put(secret("a"), 0)
    assert cache.tick(10) == 80
    cache.tick(80)
    assert "a" not in cache.hot
    cache.look("a", 85)
    assert "a" in cache.hot
    assert cache.tick(99) == 100
    cache.tick(100)
    assert "a" not in cache.hot


def test_where_a_policy_says_so_what_is_old_is_given_while_it_is_read() -> None:
    cache = cache_of(CachePolicy(ttl=100, jitter=0, revalidate_ttl=20, resurrect_ttl=0))
    cache.put(secret("a"), 0)
    assert asked(cache, "a", 119) == (Look.GIVE_AND_READ, 1)
    assert asked(cache, "a", 120) == (Look.READ, None)


def test_while_sources_are_away_what_is_kept_is_given_up_to_a_limit_and_they_are_asked_now_and_then() -> None:
    cache = cache_of()
    cache.put(secret("a"), 0)
    kept = cache.failed("a", 101)
    assert kept is not None
    assert kept.stale
    assert kept.version == 1
    assert asked(cache, "a", 110) == (Look.GIVE, 1)
    assert asked(cache, "a", 111) == (Look.GIVE_AND_READ, 1)
    assert cache.failed("a", 149) is not None
    assert asked(cache, "a", 150) == (Look.READ, None)
    assert cache.failed("a", 150) is None
    assert len(cache) == 0


def test_what_is_restricted_is_not_given_once_it_is_old() -> None:
    cache = cache_of(RESTRICTED)
    cache.put(secret("a"), 0)
    assert cache.failed("a", 3601) is None


def test_a_source_that_answers_again_ends_that() -> None:
    cache = cache_of()
    cache.put(secret("a"), 0)
    cache.failed("a", 101)
    cache.put(secret("a"), 105)
    assert not cache.hot["a"].stale
    assert asked(cache, "a", 184) == (Look.GIVE, 1)


def test_an_older_version_replaces_no_newer_one_until_that_is_long_ago() -> None:
    cache = cache_of()
    assert cache.put(secret("a", 5), 0)
    assert not cache.put(secret("a", 4), 10)
    assert cache.hot["a"].version == 5
    assert cache.put(secret("a", 4), 601)


def test_a_secret_that_was_removed_and_made_again_is_newer_at_version_1() -> None:
    cache = cache_of()
    cache.put(secret("a", 5), 0)
    later = MADE.replace(month=4)
    assert cache.put(Secret("a", secret("a").fields, 1, "1", "hub", later, later), 10)


def test_what_was_read_before_a_promise_is_not_kept_behind_it() -> None:
    cache = cache_of()
    cache.put(secret("a", 1), 0)
    began = cache.floors.clock()
    cache.promise("a", 2, MADE, 600)
    assert "a" not in cache.hot
    assert not cache.put(secret("a", 2), 1, began)
    assert not cache.put(secret("a", 1), 1, cache.floors.clock())
    assert cache.put(secret("a", 2), 1, cache.floors.clock())


def test_an_older_notice_lowers_nothing() -> None:
    cache = cache_of()
    cache.promise("a", 5, MADE, 600)
    cache.promise("a", 3, MADE, 600)
    assert not cache.put(secret("a", 4), 1, cache.floors.clock())


def test_where_a_source_knows_no_versions_another_revision_is_the_newer() -> None:
    cache = cache_of()

    def served(revision: str) -> Secret:
        return Secret("a", secret("a").fields, None, revision, "aws", MADE)

    cache.put(served("x"), 0)
    cache.promise("a", 2, MADE, 600)
    assert not cache.put(served("x"), 1, cache.floors.clock())
    assert cache.put(served("y"), 1, cache.floors.clock())


def test_that_there_is_none_is_believed_for_a_while() -> None:
    cache = cache_of()
    cache.put(secret("a"), 0)
    cache.put_absence("a", NotFound("read", "hub:a", "there is none", "Check its name"), 1)
    with pytest.raises(NotFound, match="there is none"):
        cache.look("a", 5)
    assert cache.look("a", 6) == (Look.READ, None)


def test_what_was_not_asked_for_since_goes_first() -> None:
    cache = cache_of(entries=4)
    for name in "abcd":
        cache.put(secret(name), 0)
    cache.put(secret("e"), 1)
    for name in "cd":
        cache.look(name, 1)
    cache.put(secret("f"), 1)
    assert "b" not in cache.hot
    assert cache.held("b") is None
    assert {cache.held(name) is not None for name in "cdef"} == {True}
    assert len(cache) == 4


def test_bytes_are_limited_too_and_what_is_larger_than_that_is_not_kept() -> None:
    cache = cache_of(size=100)
    for name in "abcdef":
        cache.put(secret(name, text="x" * 30), 0)
    assert cache.bytes <= 100
    assert len(cache) == 2
    assert cache.put(secret("g", text="x" * 200), 0)
    assert cache.held("g") is None


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 5), st.integers(0, 60), st.booleans()), max_size=60)
)
def test_whatever_is_done_in_whatever_order_limits_hold_and_nothing_old_is_given(
    steps: list[tuple[str, int, int, bool]],
) -> None:
    cache, now, newest = cache_of(entries=4, size=60), 0.0, dict[str, int]()
    for path, version, wait, away in steps:
        now += wait
        look, given_version = asked(cache, path, now)
        assert given_version is None or given_version == newest[path]
        if look is Look.GIVE:
            continue
        if away:
            cache.failed(path, now)
        elif cache.put(secret(path, version), now, cache.floors.clock()):
            newest[path] = version
        assert len(cache) <= 4
        assert cache.bytes <= 60
        assert set(cache.hot) <= {name for name in "abcdefgh" if cache.held(name)}
