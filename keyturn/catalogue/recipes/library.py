"""Finds recipes: those that are shipped, those of installed packages, and those in the catalogue's own folder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from yaml.nodes import MappingNode

from keyturn.catalogue.files.environment import Expanded
from keyturn.catalogue.files.explain import explain_errors
from keyturn.catalogue.files.problems import CatalogueInvalid, Problem
from keyturn.catalogue.files.reading import read_file
from keyturn.catalogue.files.source import RECIPE_ENDING, CatalogueEntry, Converter
from keyturn.catalogue.files.syntax import NotYaml, compose
from keyturn.catalogue.recipes.model import Recipe

SHIPPED: Final = Path(__file__).parents[2] / "recipes"
GROUP: Final = "keyturn.recipes"
"""Entry points of this group name packages whose ``*.yaml`` files are recipes; they replace no shipped one."""


class Library(Mapping[str, Recipe]):
    """Recipes by name, each read at its first use.

    ``own`` are the bytes of files in the catalogue's folder, by file name. ``taken`` are those whose name is that of a
    shipped or installed recipe, which they don't replace. ``__getitem__`` raises KeyError for an unknown name, and
    CatalogueInvalid for a recipe that is incomplete.
    """

    def __init__(self, own: Mapping[Path, bytes] | None = None) -> None:
        named = {file.name.removesuffix(RECIPE_ENDING): (file, raw) for file, raw in (own or {}).items()}
        self.own = {name: read for name, read in named.items() if self._file(name) is None}
        self.taken = {name: file for name, (file, _) in named.items() if name not in self.own}
        self._read: dict[str, Recipe] = {}

    def __getitem__(self, name: str) -> Recipe:
        if name not in self._read:
            self._read[name] = self._opened(name)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*_in(SHIPPED), *self._installed, *self.own}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self.own or self._file(name) is not None)

    def is_shipped(self, name: str) -> bool:
        """Whether its file belongs to this version of Keyturn."""
        return name in _in(SHIPPED)

    def text(self, name: str) -> str:
        """The recipe's file. Raises KeyError."""
        if name in self.own:
            return self.own[name][1].decode()
        if (file := self._file(name)) is None:
            raise KeyError(name)
        return file.read_text()

    def _opened(self, name: str) -> Recipe:
        if name in self.own:
            own, raw = self.own[name]
            return parse_recipe(own, lambda: raw)
        if (file := self._file(name)) is None:
            raise KeyError(name)
        return parse_recipe(file, lambda: read_file(file))

    def _file(self, name: str) -> Path | None:
        return _in(SHIPPED).get(name) or self._installed.get(name)

    @property
    def broken(self) -> Sequence[Problem]:
        """What is wrong with installed packages, as far as they were searched; their other recipes are used."""
        return self._found[1] if "_found" in self.__dict__ else ()

    def search(self) -> Sequence[Problem]:
        """Search the installed packages, and return what is wrong with them."""
        return self._found[1]

    @property
    def _installed(self) -> Mapping[str, Path]:
        return self._found[0]

    @cached_property
    def _found(self) -> tuple[Mapping[str, Path], Sequence[Problem]]:
        """Recipes of installed packages, without those of a name that two packages have."""
        files: dict[str, list[Path]] = {}
        problems = []
        for entry in entry_points(group=GROUP):
            if not (places := _folders(entry)):
                package = entry.dist.name if entry.dist else entry.name
                message = f"it names {entry.value} as its recipes, which can't be imported"
                problems.append(_of_package(f"the installed package {package}", message))
            for name, file in (each for place in places for each in _in(place).items()):
                files.setdefault(name, []).append(file)
        for name, (file, *rest) in files.items():
            if rest and name not in _in(SHIPPED):
                message = f"another installed package has a recipe {name} too ({rest[0]}), so neither is used"
                problems.append(_of_package(str(file), message))
        return {name: file for name, (file, *rest) in files.items() if not rest}, problems


def _folders(entry: EntryPoint) -> Sequence[Path]:
    try:
        spec = find_spec(entry.value)
    except Exception:  # noqa: BLE001 - it imports the packages around it, which may raise anything
        return ()
    return [Path(place) for place in (spec and spec.submodule_search_locations) or ()]


def _of_package(where: str, message: str) -> Problem:
    return Problem(where, 0, "", message, "Uninstall it, or install a version without this flaw.")


def _in(folder: Path) -> dict[str, Path]:
    return {file.stem: file for file in folder.glob("*.yaml")}


def parse_recipe(file: Path, read: Callable[[], bytes]) -> Recipe:
    """The recipe in one file. Raises CatalogueInvalid with every problem and its line."""
    problems: list[Problem] = []
    try:
        root = compose(read())
        data = Converter(str(file), problems).plain(root) if root else None
    except (OSError, NotYaml) as error:
        raise CatalogueInvalid(str(file), [_unreadable(file, error)], what="recipe") from None
    if not isinstance(root, MappingNode):
        problem = Problem(str(file), 1, "", "the file is not a mapping", "Begin with title: and the credential's name.")
        raise CatalogueInvalid(str(file), [problem], what="recipe")
    entry = CatalogueEntry("", "", str(file), 1, lambda *_: root, data)
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        problems += explain_errors(Expanded(entry), Recipe, error)
    if problems:
        raise CatalogueInvalid(str(file), problems, what="recipe")
    return recipe


def _unreadable(file: Path, error: OSError | NotYaml) -> Problem:
    if isinstance(error, NotYaml):
        return Problem(str(file), error.line, "", error.message, error.remedy)
    return Problem(str(file), 0, "", f"the file can't be read ({error.strerror})", "Make it readable.")
