"""Files as a store: the contract in both formats, what other programs read there, and a file system that refuses."""

import json
import os
import resource
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from keyturn.core.errors import Denied, Invalid, NotFound, Unavailable
from keyturn.core.fingerprint import payload
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.store_limits import FILE
from keyturn.core.text.dotenv import Reader
from keyturn.providers.files.directory import identity
from keyturn.providers.files.store import Files
from tests.contracts.merging import MergingCases, Owner
from tests.contracts.store import Raw, StoreContract, assert_silent, fresh_value, marks_for, put
from tests.faults.disk import Disk

NOBODY = 65_534


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "copies" / "here"


class FilesContract(StoreContract):
    """What is the same in either format."""

    kind = FILE
    past_versions = 0
    format: Literal["json", "dotenv"]

    @pytest.fixture
    def store(self, directory: Path) -> Files:
        return Files("files", directory=str(directory), format=self.format)

    @pytest.fixture
    def foreign(self, directory: Path) -> Raw:
        def create(name: str, value: str) -> None:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            (directory / name).write_text(value)

        return create

    @pytest.fixture
    def tampered(self, foreign: Raw) -> Raw:
        return foreign


class TestFilesAsDotenv(MergingCases, FilesContract):
    format = "dotenv"
    keeps_versions = False

    @pytest.fixture
    def owner(self, directory: Path) -> Owner:
        def act(name: str, changes: Mapping[str, str | None]) -> None:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = directory / name
            lines = file.read_text().splitlines(keepends=True) if file.exists() else ["# the owner's\n"]
            kept = [line for line in lines if line.partition("=")[0] not in changes]
            file.write_text("".join([*kept, *(f"{key}={text}\n" for key, text in changes.items() if text)]))

        return act

    def test_an_object_becomes_lines_that_read_back_as_the_object(
        self, store: Files, remote: str, directory: Path
    ) -> None:
        given = {"USER": "ann", "PORT": 5432, "TLS": True, "NO": None, "HOSTS": ["a", "b"], "RATE": 1.0}
        value = payload(SecretFields(given))
        put(store, remote, value)
        lines = "HOSTS='[\"a\",\"b\"]'\nNO='null'\nPORT='5432'\nRATE='1.0'\nTLS='true'\nUSER='ann'\n"
        assert (directory / remote).read_text() == lines
        assert store.read(remote) == value

    @pytest.mark.parametrize("text", ["plain", '{"B":1,"A":2}', "{}", "[1]", 'A="b"\n', "[" * 5000])
    def test_any_other_text_is_written_as_it_is(self, store: Files, remote: str, directory: Path, text: str) -> None:
        put(store, remote, Sensitive(text))
        assert (directory / remote).read_text() == text
        assert store.read(remote) == Sensitive(text)

    @pytest.mark.parametrize("name", ["a-b", "1a", "a b", "a=b", "é", ""])
    def test_a_field_that_can_not_be_a_variable_is_invalid_and_nothing_is_written(
        self, store: Files, remote: str, name: str
    ) -> None:
        value = fresh_value()
        text = payload(SecretFields({name: value.reveal()}))
        with pytest.raises(Invalid, match="format json") as caught:
            put(store, remote, text)
        assert_silent(caught.value, value, store, remote)
        assert store.describe(remote) is None

    def test_a_null_character_is_invalid(self, store: Files, remote: str) -> None:
        with pytest.raises(Invalid, match="null character"):
            put(store, remote, Sensitive(json.dumps({"A": "b\0"}, separators=(",", ":"))))

    def test_a_value_that_the_reader_would_read_as_another_is_invalid_and_nothing_is_written(
        self, store: Files, remote: str, directory: Path
    ) -> None:
        put(store, remote, Sensitive('{"A":"b"}'))
        before = (directory / remote).read_bytes()
        value = Sensitive('{"A":"it\'s `id`"}')
        with pytest.raises(Invalid, match=r"the field A holds .*`reader`") as caught:
            put(store, remote, value, version=2)
        assert_silent(caught.value, value, store, remote)
        assert (directory / remote).read_bytes() == before

    def test_a_file_for_another_reader_is_outdated_and_written_again_and_reads_the_same_until_then(
        self, store: Files, remote: str, directory: Path
    ) -> None:
        value = Sensitive('{"A":"a$b","N":1}')
        put(store, remote, value)
        for_docker = Files("files", directory=str(directory), format="dotenv", reader=Reader.DOCKER)
        found = for_docker.describe(remote)
        assert found is not None
        assert (found.outdated, found.intact, found.marks) == (True, True, marks_for(value))
        assert for_docker.read(remote) == value
        assert not put(for_docker, remote, value).outdated
        assert (directory / remote).read_text() == "A=a$b\nN=1\n"
        assert for_docker.read(remote) == store.read(remote) == value

    def test_a_file_of_a_version_that_told_no_reader_reads_as_it_was_written_and_is_written_again(
        self, store: Files, remote: str, directory: Path
    ) -> None:
        value = Sensitive('{"A":"a\\rb`c","B":"x$y"}')
        put(store, remote, Sensitive('{"A":"1"}'))
        note = directory / f".{remote}.keyturn.json"
        (directory / remote).write_bytes(b"A=\"a\\rb`c\"\nB='x$y'\n")
        told = json.loads(note.read_text()) | {"not_texts": []} | identity((directory / remote).stat())
        del told["reader"]
        note.write_text(json.dumps(told))
        found = store.describe(remote)
        assert found is not None
        assert (found.outdated, found.intact) == (True, True)
        assert store.read(remote) == value

    def test_a_file_that_somebody_changed_reads_as_it_is(self, store: Files, remote: str, directory: Path) -> None:
        put(store, remote, Sensitive('{"A":"b"}'))
        (directory / remote).write_text('A="other"\n')
        assert store.read(remote) == Sensitive('A="other"\n')


class TestFiles(MergingCases, FilesContract):
    keeps_versions = False
    """The contract, and what only a file system has."""

    format = "json"

    def test_files_are_readable_by_their_owner_alone_and_nothing_else_is_left(
        self, store: Files, remote: str, directory: Path
    ) -> None:
        before = os.umask(0)
        try:
            put(store, remote, fresh_value())
            put(store, remote, fresh_value(), version=2)
        finally:
            os.umask(before)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
        assert modes == {remote: 0o600, f".{remote}.keyturn.json": 0o600}

    def test_the_marks_hold_no_value(self, store: Files, remote: str, directory: Path) -> None:
        value = fresh_value()
        put(store, remote, value)
        assert value.reveal() not in (directory / f".{remote}.keyturn.json").read_text()

    def test_the_file_holds_the_text_and_nothing_else(self, store: Files, remote: str, directory: Path) -> None:
        value = Sensitive('{"a":"é"}')
        put(store, remote, value)
        assert (directory / remote).read_bytes() == value.reveal().encode()

    def test_a_write_cut_short_between_marks_and_file_is_not_intact_and_healed(
        self, store: Files, remote: str, directory: Path
    ) -> None:
        old, value = fresh_value(), fresh_value()
        put(store, remote, old)
        kept = directory / "kept"
        os.link(directory / remote, kept)
        put(store, remote, value, version=2)
        kept.replace(directory / remote)  # the file's own rename has not happened yet
        (directory / f".{remote}.keyturn.new").write_text(value.reveal())
        found = store.describe(remote)
        assert found is not None
        assert (found.marks, found.intact) == (marks_for(value, 2), False)
        assert store.read(remote) == old
        assert put(store, remote, value, version=2).intact
        assert store.read(remote) == value
        assert sorted(path.name for path in directory.iterdir()) == [f".{remote}.keyturn.json", remote]

    def test_a_first_write_cut_short_leaves_nothing_to_find(self, store: Files, remote: str, directory: Path) -> None:
        value = fresh_value()
        put(store, remote, value)
        (directory / remote).rename(directory / f".{remote}.keyturn.new")
        assert store.describe(remote) is None
        assert list(store.list_all()) == []
        assert put(store, remote, value) == store.describe(remote)

    def test_what_a_killed_write_left_goes_with_the_copy(self, store: Files, remote: str, directory: Path) -> None:
        put(store, remote, fresh_value())
        (directory / f".{remote}.keyturn.new").write_text(fresh_value().reveal())
        (directory / f".{remote}.keyturn.json.new").write_text("{")
        store.delete(remote)
        assert list(directory.iterdir()) == []

    @pytest.mark.parametrize("format", ["json", "dotenv"])
    def test_what_a_killed_write_left_is_past_and_is_forgotten(
        self, directory: Path, remote: str, format: Literal["json", "dotenv"]
    ) -> None:
        store = Files("files", directory=str(directory), format=format)
        value = payload(SecretFields({"a": "1", "port": 5432}))
        put(store, remote, value)
        (directory / remote).rename(directory / f".{remote}.keyturn.new")
        assert store.old_versions(remote) == {"unfinished": value}
        assert store.purge_old_versions(remote) == ()
        assert [path.name for path in directory.iterdir()] == [f".{remote}.keyturn.json"]
        assert store.old_versions(remote) == {}

    def test_a_draft_that_was_cut_off_within_a_character_is_no_text_and_is_forgotten(
        self, store: Files, remote: str, directory: Path
    ) -> None:
        put(store, remote, fresh_value())
        for left in ("é".encode()[:1], b""):
            (directory / f".{remote}.keyturn.new").write_bytes(left)
            assert store.old_versions(remote) == {}
            assert store.purge_old_versions(remote) == ()
        assert sorted(path.name for path in directory.iterdir()) == [f".{remote}.keyturn.json", remote]

    def test_forgetting_while_others_write_takes_nothing_from_them(
        self, store: Files, remote: str, directory: Path
    ) -> None:
        with ThreadPoolExecutor(8) as pool:
            writes = [pool.submit(put, store, remote, fresh_value(), version) for version in range(1, 41)]
            forgets = [pool.submit(store.purge_old_versions, remote) for _ in range(40)]
        assert all(write.result().marks for write in writes)
        assert all(forget.result() == () for forget in forgets)
        assert sorted(path.name for path in directory.iterdir()) == [f".{remote}.keyturn.json", remote]

    def test_writers_of_one_file_take_turns(self, store: Files, remote: str, directory: Path) -> None:
        values = {version: fresh_value() for version in range(1, 41)}
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda version: put(store, remote, values[version], version), values))
        found = store.describe(remote)
        assert found is not None
        assert found.marks is not None
        assert found.intact
        assert store.read(remote) == values[found.marks.version]
        assert sorted(path.name for path in directory.iterdir()) == [f".{remote}.keyturn.json", remote]

    def test_another_file_in_its_place_and_another_time_show(self, store: Files, remote: str, directory: Path) -> None:
        value = fresh_value()
        put(store, remote, value)
        for change in (lambda: os.utime(directory / remote), lambda: self.replaced(directory / remote)):
            change()
            found = store.describe(remote)
            assert found is not None
            assert not found.intact
            assert put(store, remote, value).intact

    def replaced(self, path: Path) -> None:
        other = path.with_name("other")
        shutil.copy2(path, other)
        other.replace(path)

    @pytest.mark.parametrize("note", ["", "no json", "[]", "{}", '{"keyturn-source": 1}', "[" * 5000])
    def test_marks_that_can_not_be_understood_are_nobodys(
        self, store: Files, remote: str, directory: Path, note: str
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        (directory / f".{remote}.keyturn.json").write_text(note)
        found = store.describe(remote)
        assert found is not None
        assert found.marks is None
        assert put(store, remote, value).intact

    def test_a_symbolic_link_is_nobodys_is_not_read_and_is_replaced_itself(
        self, store: Files, remote: str, directory: Path, tmp_path: Path
    ) -> None:
        outside = tmp_path / "outside"
        outside.write_text("theirs")
        put(store, "other", fresh_value())
        (directory / remote).symlink_to(outside)
        found = store.describe(remote)
        assert found is not None
        assert (found.marks, found.intact) == (None, False)
        with pytest.raises(Invalid, match="not a regular file"):
            store.read(remote)
        assert [copy.name for copy in store.list_all()] == ["other"]
        value = fresh_value()
        put(store, remote, value)
        assert not (directory / remote).is_symlink()
        assert store.read(remote) == value
        assert outside.read_text() == "theirs"

    @pytest.mark.parametrize("beside", [".{}.keyturn.json", ".{}.keyturn.new", ".{}.keyturn.json.new"])
    def test_a_symbolic_link_in_the_place_of_our_own_files_is_not_followed(
        self, store: Files, remote: str, directory: Path, tmp_path: Path, beside: str
    ) -> None:
        outside = tmp_path / "outside"
        outside.write_text("theirs")
        directory.mkdir(mode=0o700, parents=True)
        (directory / beside.format(remote)).symlink_to(outside)
        value = fresh_value()
        try:
            put(store, remote, value)
        except Invalid as error:
            assert_silent(error, value, store, remote)
        assert outside.read_text() == "theirs"

    def test_a_directory_and_a_pipe_in_its_place_are_told(self, store: Files, remote: str, directory: Path) -> None:
        value = fresh_value()
        (directory / remote).mkdir(mode=0o700, parents=True)
        for act in (lambda: put(store, remote, value), lambda: store.read(remote), lambda: store.delete(remote)):
            with pytest.raises(Invalid, match="not a regular file") as caught:
                act()
            assert_silent(caught.value, value, store, remote)
        os.mkfifo(directory / "pipe")
        with pytest.raises(Invalid, match="not a regular file"):
            store.read("pipe")
        assert [path.name for path in directory.iterdir() if path.name.startswith(".")] == []

    def test_what_is_no_utf8_text_is_refused_by_read(self, store: Files, remote: str, foreign: Raw) -> None:
        foreign(remote, "")
        Path(store._directory, remote).write_bytes(b"\xff\xfe")
        with pytest.raises(Invalid, match="UTF-8"):
            store.read(remote)

    def test_what_is_no_character_is_invalid(self, store: Files, remote: str) -> None:
        value = fresh_value()
        with pytest.raises(Invalid, match="no character") as caught:
            store.write(remote, Sensitive(value.reveal() + "\ud800"), marks_for(value), None)
        assert_silent(caught.value, value, store, remote)

    def test_a_directory_that_is_a_file_is_invalid(self, tmp_path: Path, remote: str) -> None:
        (tmp_path / "file").write_text("")
        value = fresh_value()
        for place in ("file", "file/below"):
            store = Files("files", directory=str(tmp_path / place))
            for act in (lambda store=store: store.describe(remote), lambda store=store: put(store, remote, value)):
                with pytest.raises(Invalid, match="no directory") as caught:
                    act()
                assert_silent(caught.value, value, store, remote)

    def test_a_directory_that_others_may_write_to_is_denied(self, store: Files, remote: str, directory: Path) -> None:
        directory.mkdir(parents=True)
        directory.chmod(0o770)
        with pytest.raises(Denied, match="chmod go-w"):
            put(store, remote, fresh_value())
        assert list(directory.iterdir()) == []

    def test_nothing_is_made_by_looking(self, store: Files, remote: str, directory: Path) -> None:
        assert store.describe(remote) is None
        assert list(store.list_all()) == []
        store.delete(remote)
        with pytest.raises(NotFound):
            store.read(remote)
        assert not directory.exists()

    def test_only_regular_files_without_a_leading_dot_are_listed(
        self, store: Files, remote: str, directory: Path
    ) -> None:
        put(store, remote, fresh_value())
        (directory / "folder").mkdir()
        (directory / ".hidden").write_text("")
        (directory / "by hand").write_text("")
        assert {copy.name: bool(copy.marks) for copy in store.list_all()} == {remote: True, "by hand": False}


# a file system that refuses


def test_a_full_disk_is_unavailable_and_what_was_there_stays_whole(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir(mode=0o700)
    with Disk(place) as disk:
        if not disk.mounted:
            pytest.skip("no file system can be mounted here; the limited one is tested besides")
        place.chmod(0o700)
        store = Files("files", directory=str(place))
        value = fresh_value()
        written = put(store, "kept", value)
        disk.fill()
        for name in ("kept", "new"):
            other = Sensitive(fresh_value().reveal() * 5000)
            with pytest.raises(Unavailable, match="No space left") as caught:
                put(store, name, other, version=2)
            assert_silent(caught.value, other, store, name)
        assert (store.describe("kept"), store.read("kept")) == (written, value)
        disk.free()
        assert sorted(path.name for path in place.iterdir()) == [".kept.keyturn.json", "kept"]
        assert put(store, "new", fresh_value()).intact


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writes that would make a file longer fail, in this process."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


@pytest.mark.parametrize("size", [0, 100, 40_000])
def test_a_write_that_ends_halfway_leaves_what_was_there_and_no_half(directory: Path, size: int) -> None:
    store = Files("files", directory=str(directory))
    value, large = fresh_value(), Sensitive("x" * 50_000)
    written = put(store, "kept", value)
    with files_of_at_most(size), pytest.raises(Unavailable, match="Make room"):
        put(store, "kept", large, version=2)
    assert (store.describe("kept"), store.read("kept")) == (written, value)
    assert sorted(path.name for path in directory.iterdir()) == [".kept.keyturn.json", "kept"]


@pytest.fixture
def readable() -> Iterator[Path]:
    """A directory that the user nobody owns and may not write to."""
    place = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(place, NOBODY, NOBODY)
    place.chmod(0o500)
    yield place
    place.chmod(0o700)
    shutil.rmtree(place)


@contextmanager
def unprivileged() -> Iterator[None]:
    """As somebody whom modes bind."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_directory_without_permission_is_denied_with_what_to_check(readable: Path) -> None:
    store = Files("files", directory=str(readable))
    value = fresh_value()
    with unprivileged():
        with pytest.raises(Denied, match="owner and mode") as caught:
            put(store, "new", value)
        assert_silent(caught.value, value, store, "new")
        with pytest.raises(Denied):
            put(Files("below", directory=str(readable / "below")), "new", value)
    assert list(readable.iterdir()) == []
