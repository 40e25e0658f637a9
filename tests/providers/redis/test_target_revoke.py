"""Ending one password of a user at once, and the user's sessions, on real Redis servers."""

import pytest

from keyturn.core.errors import Denied, Invalid, Superseded, Unavailable, UnsupportedOperation
from keyturn.core.sensitive import SecretFields
from keyturn.providers.redis.target import Redis as Target
from local.redis import Redis
from local.support.ports import free_port
from tests.providers.redis.test_target import NEW, add, assert_silent, own, place, replica  # noqa: F401
from tests.support.acl import Acl, kept

# ruff: noqa: F811 - the fixtures of the other module


@pytest.fixture
def acl(redis: Redis) -> Acl:
    return Acl(redis)


@pytest.fixture
def fields(acl: Acl) -> SecretFields:
    return acl.user()


@pytest.fixture
def user(fields: SecretFields) -> str:
    return fields["username"].reveal()


def test_the_users_other_passwords_stay_and_its_sessions_end_whichever_they_came_with(
    acl: Acl, fields: SecretFields, user: str
) -> None:
    add(acl.target(), user, NEW, 5)
    other = fields.merged({"password": "new"})
    with acl.opened(fields), acl.opened(other):
        assert acl.target().revoke(user, kept(fields), sequence=6) == 2
        assert acl.target().sessions(user) == []
    assert not acl.logs_in(fields)
    assert acl.passwords(user) == {NEW}
    assert acl.logs_in(other)


def test_other_users_keep_their_sessions(acl: Acl, fields: SecretFields, user: str) -> None:
    with acl.opened(acl.user()) as works_still:
        assert acl.target().revoke(user, kept(fields), sequence=6) == 0
        assert works_still()


def test_a_late_cut_ends_no_session_of_a_newer_rotation(acl: Acl, fields: SecretFields, user: str) -> None:
    add(acl.target(), user, NEW, 8)
    with acl.opened(fields.merged({"password": "new"})) as works_still:
        with pytest.raises(Superseded) as caught:
            acl.target().revoke(user, NEW, sequence=7)
        assert works_still()
    assert_silent(caught.value, fields["password"])


def test_cutting_what_is_absent_is_quiet(acl: Acl, fields: SecretFields, user: str) -> None:
    assert acl.target().revoke("nobody-at-all", NEW, sequence=1) == 0
    assert acl.target().revoke(user, NEW, sequence=1) == 0
    assert acl.passwords(user) == {kept(fields)}


def test_keyturns_own_user_is_not_cut(acl: Acl) -> None:
    with pytest.raises(UnsupportedOperation, match="Keyturn itself logs in with"):
        acl.target().revoke(acl.server.admin, kept(acl.admin()), sequence=1)


def test_a_user_that_takes_any_password_can_not_be_cut_and_the_remedy_is_told(acl: Acl, user: str) -> None:
    acl.ask("ACL SETUSER", user, "nopass")
    with pytest.raises(Invalid, match=r"takes any password.*which ends that"):
        acl.target().revoke(user, NEW, sequence=1)


def test_a_restart_brings_no_password_back_that_was_cut_even_where_no_session_could_be_ended(
    own: Acl,
) -> None:
    fields = own.user()
    user, admin = fields["username"].reveal(), own.lesser_admin("+client|kill")
    with own.opened(fields) as works_still:
        with pytest.raises(Denied, match=r"ACL SETUSER \w+ \+client\|kill"):
            own.target(admin=admin).revoke(user, kept(fields), sequence=1)
        assert works_still()
    own.server.stop()
    own.server.start()
    assert own.passwords(user) == set()
    assert not own.logs_in(fields)


def test_sessions_end_where_the_users_can_not_be_saved_and_that_is_told(own: Acl) -> None:
    fields = own.user()
    own.server.users.unlink()
    own.server.users.mkdir()
    with own.opened(fields) as works_still:
        with pytest.raises(Invalid, match="can't write its ACL file"):
            own.target().revoke(fields["username"].reveal(), kept(fields), sequence=1)
        assert not works_still()


# --- several nodes -----------------------------------------------------------------------------------------


def test_every_node_is_cut_and_its_sessions_counted(own: Acl, replica: Acl) -> None:
    fields = own.user()
    user = fields["username"].reveal()
    replica.ask("ACL SETUSER", user, "on", f"#{kept(fields)}", "~*", "+@all")
    with own.opened(fields) as first, replica.opened(fields) as second:
        assert own.target(nodes=[place(replica)]).revoke(user, kept(fields), sequence=1) == 2
        assert not first()
        assert not second()
    assert not own.logs_in(fields)
    assert not replica.logs_in(fields)


def test_a_node_that_is_down_is_named_and_the_others_are_cut(own: Acl, replica: Acl) -> None:
    fields = own.user()
    user, password = fields["username"].reveal(), fields["password"]
    first, second = own.target(nodes=[place(replica)]), replica.target(nodes=[place(own)])
    replica.server.stop()
    for target in (second, first):
        with pytest.raises(Unavailable, match=f"{place(replica)} does not answer"):
            target.revoke(user, kept(fields), sequence=1)
        assert not own.logs_in(fields)
        with pytest.raises(Unavailable, match=f"{place(replica)} does not answer"):
            target.accepts(user, password)


def test_a_password_that_one_node_takes_is_accepted(own: Acl, replica: Acl) -> None:
    fields = own.user()
    user, password = fields["username"].reveal(), fields["password"]
    target = replica.target(nodes=[place(own)])
    assert target.accepts(user, password)
    replica.server.stop()
    assert target.accepts(user, password)
    replica.server.start()
    own.ask("ACL SETUSER", user, "off")
    assert not target.accepts(user, password)


def test_a_server_that_does_not_answer_says_nothing_of_the_password(acl: Acl, fields: SecretFields, user: str) -> None:
    nowhere = Target("cache", host="127.0.0.1", port=free_port(), admin=acl.admin, tls=False)
    with pytest.raises(Unavailable) as caught:
        nowhere.accepts(user, fields["password"])
    assert_silent(caught.value, fields["password"])
