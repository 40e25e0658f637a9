"""Programs out of Debian's packages: a repository with tiny ones, and a cache, of the test's own."""

import hashlib
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyturn.core.errors import NotFound, Unavailable
from local import debian
from local.debian import Program, program

LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass
class Repository:
    """A directory with packages that apt may install from, of which this machine has no lists yet."""

    place: Path

    def package(self, name: str, files: dict[str, str], depends: str = "") -> None:
        tree = self.place.parent / name
        self._write(tree, {"DEBIAN/control": control(name, depends), **files})
        file = self.place / f"{name}_1_all.deb"
        subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, file], check=True, capture_output=True)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        entry = f"Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n\n"
        with (self.place / "Packages").open("a") as index:
            index.write(control(name, depends) + entry)

    def _write(self, tree: Path, files: dict[str, str]) -> None:
        for name, text in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(text)
            (tree / name).chmod(0o755)


def control(name: str, depends: str) -> str:
    fields = {"Package": name, "Version": "1", "Architecture": "all", "Maintainer": "Tests <tests@example.com>"}
    fields |= {"Depends": depends} if depends else {}
    return "".join(f"{key}: {value}\n" for key, value in {**fields, "Description": "A test"}.items())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return debian.cache()


@pytest.fixture
def repository(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path / "repository" / "packages")
    made.place.mkdir(parents=True)
    (tmp_path / "lists" / "partial").mkdir(parents=True)
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{made.place} ./\n")
    settings = {"Dir::Etc::sourcelist": "sources.list", "Dir::Etc::sourceparts": "none", "Dir::State::lists": "lists"}
    lines = [f'{name} "{tmp_path / value}";\n' for name, value in settings.items()]
    (tmp_path / "apt.conf").write_text("".join(lines))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return made


@pytest.fixture
def greeter(repository: Repository) -> Repository:
    words = {"usr/share/words/greeting": "good morning\n", f"{LIBRARIES}/libwords.so.1": ""}
    repository.package("keyturn-words", words)
    script = '#!/bin/sh\ncat "${0%/bin/*}/share/words/greeting"\n'
    repository.package("keyturn-greeter", {"usr/bin/keyturn-greeter": script}, depends="keyturn-words, libc6")
    repository.package("keyturn-beside", {"usr/share/beside": ""}, depends="keyturn-nowhere")
    return repository


def said_by(found: Program) -> str:
    environment = {**os.environ, **found.environment}
    return subprocess.run([found.path], env=environment, capture_output=True, text=True, check=True).stdout


def test_a_package_is_unpacked_with_what_it_depends_on_and_its_program_runs(greeter: Repository, cache: Path) -> None:
    found = program("keyturn-greeter", "keyturn-greeter")
    assert said_by(found) == "good morning\n"
    assert found.root == cache / "keyturn-greeter"
    assert found.environment["LD_LIBRARY_PATH"].split(":")[0] == str(found.root / LIBRARIES)
    # What the machine has already is not fetched again.
    assert not (found.root / LIBRARIES / "libc.so.6").exists()


def test_nothing_is_installed_and_no_scratch_is_left(greeter: Repository, cache: Path) -> None:
    program("keyturn-greeter", "keyturn-greeter")
    listed = subprocess.run(["dpkg-query", "-W"], capture_output=True, text=True, check=True).stdout
    assert "keyturn-greeter" not in listed
    assert sorted(path.name for path in cache.iterdir()) == ["apt", "keyturn-greeter", "lock"]


def test_an_unpacked_copy_is_used_again_without_apt(
    greeter: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = program("keyturn-greeter", "keyturn-greeter")
    monkeypatch.setenv("PATH", "")
    assert program("keyturn-greeter", "keyturn-greeter") == first


def test_parts_are_unpacked_beside_it_without_what_they_depend_on(greeter: Repository) -> None:
    found = program("keyturn-greeter", "keyturn-greeter", "keyturn-beside")
    assert found.root is not None
    assert (found.root / "usr/share/beside").exists()
    assert said_by(found) == "good morning\n"


def test_two_at_once_unpack_it_once(greeter: Repository, cache: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: program("keyturn-greeter", "keyturn-greeter"), range(2)))
    assert found[0] == found[1]
    assert said_by(found[0]) == "good morning\n"


def test_what_a_killed_process_left_is_cleared(greeter: Repository, cache: Path) -> None:
    (cache / "new-dead" / "whole").mkdir(parents=True)
    program("keyturn-greeter", "keyturn-greeter")
    assert not (cache / "new-dead").exists()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed greeter, in a directory that is not on PATH."""
    (tmp_path / "sbin").mkdir()
    file = tmp_path / "sbin" / "keyturn-greeter"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    monkeypatch.setattr(debian, "SYSTEM_PROGRAMS", (str(file.parent),))
    return file


def test_a_package_goes_before_an_installed_program(greeter: Repository, installed: Path) -> None:
    assert said_by(program("keyturn-greeter", "keyturn-greeter")) == "good morning\n"


def test_an_installed_program_is_used_on_a_system_without_apt(
    cache: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert program("keyturn-greeter", "keyturn-greeter") == Program(installed, None)
    assert not cache.exists()


def test_an_installed_program_is_used_while_no_package_can_be_fetched_but_not_by_ci(
    greeter: Repository, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greeter.place.rename(greeter.place.with_name("away"))
    monkeypatch.delenv("CI", raising=False)
    assert program("keyturn-greeter", "keyturn-greeter") == Program(installed, None)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(Unavailable):
        program("keyturn-greeter", "keyturn-greeter")


def test_a_program_in_a_folder_that_path_does_not_name(greeter: Repository) -> None:
    greeter.package("keyturn-deep", {"usr/lib/deep/1/bin/keyturn-deep": "#!/bin/sh\necho deep\n"})
    assert said_by(program("keyturn-deep", "keyturn-deep", folder="usr/lib/deep/1/bin")) == "deep\n"


def test_a_system_without_apt_is_told_which_package_to_install(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NotFound, match=r"no apt-get to fetch it with\. Install the package keyturn-greeter"):
        program("keyturn-greeter", "keyturn-greeter")


def test_a_repository_that_cannot_be_reached_is_unavailable(greeter: Repository, cache: Path) -> None:
    greeter.place.rename(greeter.place.with_name("away"))
    with pytest.raises(Unavailable, match="Install the package keyturn-greeter by hand"):
        program("keyturn-greeter", "keyturn-greeter")
    assert sorted(path.name for path in cache.iterdir()) == ["apt", "lock"]


def test_a_package_without_the_program_says_so(greeter: Repository) -> None:
    with pytest.raises(NotFound, match="the package keyturn-words does not hold it"):
        program("keyturn-shouter", "keyturn-words")


def test_a_copy_within_reach_is_made_once_and_runs(greeter: Repository, tmp_path: Path) -> None:
    found = program("keyturn-greeter", "keyturn-greeter")
    reach = tmp_path / "reach"
    reach.mkdir()
    copy = debian.within_reach(found, reach)
    assert copy.path.is_relative_to(reach)
    assert said_by(copy) == "good morning\n"
    assert debian.within_reach(found, reach) == copy
    assert len(list(reach.iterdir())) == 1
