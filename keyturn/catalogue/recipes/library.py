"""Finds recipes: those that are shipped, those of installed packages, and those in the catalogue's own folder.

Kinds of credential, stores and workload identities are parts of the same library: a store's recipe is in the folder
``stores`` of the package that brings it, and in a catalogue's folder its file ends in ``.store.recipe.yaml``. Those of
identities are in ``identities``, and end in ``.identity.recipe.yaml``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final, Generic, TypeVar

from pydantic import ValidationError
from yaml.nodes import MappingNode

from keyturn.catalogue.files.environment import Expanded
from keyturn.catalogue.files.explain import explain_errors
from keyturn.catalogue.files.parse import RECIPE_ENDING, CatalogueEntry, Converter
from keyturn.catalogue.files.problems import CatalogueInvalid, Problem
from keyturn.catalogue.files.reading import read_file
from keyturn.catalogue.files.syntax import NotYaml, compose
from keyturn.catalogue.recipes.model import AnyRecipe, IdentityRecipe, Recipe, StoreRecipe

SHIPPED: Final = Path(__file__).parents[2] / "recipes"
GROUP: Final = "keyturn.recipes"
"""Entry points of this group name packages whose ``*.yaml`` files are recipes; they replace no shipped one."""

R = TypeVar("R", bound=AnyRecipe)


class AnyLibrary(Mapping[str, R], Generic[R]):
    """Recipes of one ``model`` by name, each read at its first use.

    They are in ``folder`` of a package; in a catalogue's folder, ``ending`` comes before that of every recipe.

    ``own`` are the bytes of files in the catalogue's folder, by file name. ``taken`` are those whose name is that of a
    shipped or installed recipe, which they don't replace. ``__getitem__`` raises KeyError for an unknown name, and
    CatalogueInvalid for a recipe that is incomplete.
    """

    model: type[R]
    command: ClassVar[str] = "recipe"
    """The command, or the group of them, that shows them."""
    listing: ClassVar[str] = "keyturn recipe list"
    """The command that lists them."""
    folder: ClassVar[str] = ""
    ending: ClassVar[str] = ""

    def __init__(self, own: Mapping[Path, bytes] | None = None) -> None:
        stems = {file: file.name.removesuffix(RECIPE_ENDING) for file in own or ()}
        named = {
            stem.removesuffix(self.ending): (file, (own or {})[file])
            for file, stem in stems.items()
            if next((ending for ending in ENDINGS if stem.endswith(ending)), "") == self.ending
        }
        self.own = {name: read for name, read in named.items() if self._file(name) is None}
        self.taken = {name: file for name, (file, _) in named.items() if name not in self.own}
        self._read: dict[str, R] = {}

    def __getitem__(self, name: str) -> R:
        if name not in self._read:
            self._read[name] = self._opened(name)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._shipped, *self._installed, *self.own}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self.own or self._file(name) is not None)

    def is_shipped(self, name: str) -> bool:
        """Whether its file belongs to this version of Keyturn."""
        return name in self._shipped

    def text(self, name: str) -> str:
        """The recipe's file. Raises KeyError."""
        if name in self.own:
            return self.own[name][1].decode()
        if (file := self._file(name)) is None:
            raise KeyError(name)
        return file.read_text()

    def _opened(self, name: str) -> R:
        if name in self.own:
            own, raw = self.own[name]
            return parse_recipe(own, lambda: raw, self.model)
        if (file := self._file(name)) is None:
            raise KeyError(name)
        return parse_recipe(file, lambda: read_file(file), self.model)

    def _file(self, name: str) -> Path | None:
        return self._shipped.get(name) or self._installed.get(name)

    @property
    def _shipped(self) -> Mapping[str, Path]:
        return _in(SHIPPED / self.folder)

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
            for name, file in (each for place in places for each in _in(place / self.folder).items()):
                files.setdefault(name, []).append(file)
        for name, (file, *rest) in files.items():
            if rest and name not in self._shipped:
                message = f"another installed package has a recipe {name} too ({rest[0]}), so neither is used"
                problems.append(_of_package(str(file), message))
        return {name: file for name, (file, *rest) in files.items() if not rest}, problems


class Library(AnyLibrary[Recipe]):
    """The kinds of credential."""

    model = Recipe


class StoreLibrary(AnyLibrary[StoreRecipe]):
    """The stores."""

    model = StoreRecipe
    command = "store"
    listing = "keyturn store list"
    folder = "stores"
    ending = ".store"


class IdentityLibrary(AnyLibrary[IdentityRecipe]):
    """The workload identities."""

    model = IdentityRecipe
    command = "fade"
    listing = "keyturn fade --kinds"
    folder = "identities"
    ending = ".identity"


ENDINGS: Final = (StoreLibrary.ending, IdentityLibrary.ending)
"""What sets the files of a part apart in a catalogue's folder."""


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


def parse_recipe(file: Path, read: Callable[[], bytes], model: type[R]) -> R:
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
        recipe = model.model_validate(data)
    except ValidationError as error:
        problems += explain_errors(Expanded(entry), model, error)
    if problems:
        raise CatalogueInvalid(str(file), problems, what="recipe")
    return recipe


def _unreadable(file: Path, error: OSError | NotYaml) -> Problem:
    if isinstance(error, NotYaml):
        return Problem(str(file), error.line, "", error.message, error.remedy)
    return Problem(str(file), 0, "", f"the file can't be read ({error.strerror})", "Make it readable.")
