"""The Redis server: users that outlive it, passwords always, loopback only, least rights for Keyturn."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import AuthenticationError, NoPermissionError

from local.redis import Redis
from local.support.ports import free_port
from tests.support.acl import Acl
from tests.support.programs import command_line


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Redis]:
    # A path with a space is nothing special.
    with Redis(tmp_path / "a server", free_port()) as server:
        yield server


def test_users_outlive_a_restart_and_data_does_not(own: Redis) -> None:
    acl = Acl(own)
    fields, password = acl.user(), own.superuser_password
    acl.ask("ACL SAVE")
    acl.ask("SET", "kept", "no")
    own.stop()
    own.start()
    assert acl.logs_in(fields)
    assert acl.ask("GET", "kept") is None
    assert own.superuser_password == password
    own.stop()
    own.remove()
    assert not own.directory.exists()


def test_nobody_gets_in_without_a_password(redis: Redis) -> None:
    acl = Acl(redis)
    for user, password in (("default", "any"), (redis.superuser, "wrong"), (redis.admin, redis.superuser_password)):
        with pytest.raises(AuthenticationError):
            acl.client(user, password)


def test_it_listens_on_loopback_alone(redis: Redis) -> None:
    acl = Acl(redis)
    assert acl.ask("CONFIG GET", "bind") == {"bind": "127.0.0.1"}
    assert acl.ask("CONFIG GET", "unixsocket") == {"unixsocket": ""}


def test_keyturns_user_may_change_users_and_touch_no_data(redis: Redis) -> None:
    client = Acl(redis).client(redis.admin, redis.admin_password)
    assert client.acl_getuser(redis.admin)
    for command in (("GET", "x"), ("SET", "x", "1"), ("CONFIG", "GET", "*"), ("ACL", "DELUSER", "x"), ("KEYS", "*")):
        with pytest.raises(NoPermissionError):
            client.execute_command(*command)
    client.close()


def test_the_passwords_are_in_private_files_and_on_no_command_line(redis: Redis) -> None:
    # Redis itself writes its ACL file anew, for others to read: the directory is closed to them.
    assert stat.S_IMODE(redis.directory.stat().st_mode) == 0o700
    for kept in ("superuser.password", "admin.password", "redis.conf"):
        assert stat.S_IMODE((redis.directory / kept).stat().st_mode) == 0o600
    listed = command_line(redis.process.pid)
    assert b"redis-server" in listed
    assert redis.superuser_password.encode() not in listed
