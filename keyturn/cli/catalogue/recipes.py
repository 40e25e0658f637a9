"""``keyturn recipe``: list, show, write and check recipes, the kinds of credential that need no code."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from keyturn.catalogue.files.parse import RECIPE_ENDING
from keyturn.cli.environment import DEFAULT_CATALOGUE, catalogue_directory
from keyturn.cli.failures import EXIT_CODES
from keyturn.cli.options import CatalogueOption, JsonOption, YesOption, insist_on_terminal
from keyturn.cli.output import note, write_json, write_table, write_text

if TYPE_CHECKING:
    from keyturn.catalogue.recipes import Library, Recipe
    from keyturn.catalogue.recipes.library import AnyLibrary, R

    L = TypeVar("L", bound=AnyLibrary[Any])

commands = typer.Typer(
    help="List, show, write and test recipes: kinds of credential without code.", no_args_is_help=True
)

COLUMNS: Final = ("recipe", "credential", "field", "strategy", "side by side", "checked")

EXAMPLES: Final = """\b
Examples:
  keyturn recipe list --category ai
  keyturn recipe show openai-project-key
  keyturn recipe new acme-api-key
  keyturn recipe test openai-project-key --live --secret openai/project-key

"""

QUESTIONS: Final = (
    ("title", "The service's name of the credential", "Acme API key"),
    ("url", "The API's address", "https://api.acme.example/v1"),
    ("header", "The admin's header (the value is kept in the hub)", "authorization: Bearer {{admin.token}}"),
    ("create", "The path that creates a key (POST)", "/keys"),
    ("name", "The field of its JSON body that names the key", "name"),
    ("id", "Where the answer holds the key's id (JSON pointer)", "/id"),
    ("key", "Where the answer holds the key itself (JSON pointer)", "/key"),
    ("test", "A path that only a valid key may read (GET)", "/me"),
    ("holder", "The header that carries the new key there", "authorization: Bearer {{key}}"),
    ("list", "The path that lists the keys (GET)", "/keys"),
    ("items", "Where the answer holds the list (JSON pointer; empty for the whole)", "/data"),
    ("document", "The title of the page that documents this", "Acme API reference: keys"),
)
"""What `keyturn recipe new` asks: the answer's name, the question, and the suggested answer."""

NameArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="The recipe's name.")]
CategoryOption = Annotated[str, typer.Option("--category", metavar="FIELD", help="Only this field, such as ai.")]
YamlOption = Annotated[bool, typer.Option("--yaml", help="Print the recipe's own file, to copy and change it.")]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="The shipped ones as a page, docs/recipe-list.md.")]
LiveOption = Annotated[bool, typer.Option("--live", help="At the service itself, with the target of --secret.")]
SecretOption = Annotated[str, typer.Option("--secret", metavar="PATH", help="A secret that uses the recipe.")]
FromOption = Annotated[str, typer.Option("--from", metavar="RECIPE", help="Copy this recipe and ask nothing.")]


def open_library(catalogue: Path | None) -> "Library":
    """Every recipe of a credential, with those in the catalogue's folder if there is one. Raises Invalid."""
    from keyturn.catalogue.recipes import Library

    return searched(Library(own_recipes(catalogue)))


def searched(library: "L") -> "L":
    """Note what is wrong with installed packages' recipes."""
    for flaw in library.search():
        note(str(flaw))
    return library


def own_recipes(catalogue: Path | None) -> dict[Path, bytes]:
    """The files of the recipes in the catalogue's folder, if there is one."""
    folder = catalogue if catalogue is not None or not DEFAULT_CATALOGUE.is_dir() else catalogue_directory(None)
    return {file: file.read_bytes() for file in (folder.glob(f"*{RECIPE_ENDING}") if folder else ())}


def find_recipe(library: "AnyLibrary[R]", name: str) -> "R":
    """Raises NotFound and CatalogueInvalid."""
    from keyturn.core.errors import NotFound
    from keyturn.core.text.suggest import likely

    if name in library:
        return library[name]
    near = likely(name, library)
    hint = f"Did you mean {near}?" if near else f"List them: {library.listing}"
    raise NotFound("read", f"{library.command} {name}", "there is no recipe of this name", hint)


@commands.command("list", epilog=EXAMPLES + EXIT_CODES)
def list_recipes(
    catalogue: CatalogueOption = None,
    category: CategoryOption = "",
    as_json: JsonOption = False,
    markdown: MarkdownOption = False,
) -> None:
    """List every recipe: shipped, from installed packages, and in the catalogue's folder."""
    library = open_library(catalogue)
    if markdown:
        from keyturn.cli.catalogue.recipe_table import shipped_page

        write_text(shipped_page(library))
        return
    chosen = {name: recipe for name, recipe in library.items() if category in ("", recipe.category)}
    if as_json:
        write_json({"recipes": [{"name": name, **summary_of(recipe)} for name, recipe in chosen.items()]})
        return
    rows = [
        (name, recipe.title, recipe.category, recipe.strategy, recipe.facts.side_by_side, recipe.checked)
        for name, recipe in chosen.items()
    ]
    write_table(COLUMNS, rows, whole={"recipe"})
    note(f"{len(rows)} recipes. Show one: keyturn recipe show NAME")


@commands.command("show", epilog=EXAMPLES + EXIT_CODES)
def show_recipe(
    name: NameArgument, catalogue: CatalogueOption = None, as_yaml: YamlOption = False, as_json: JsonOption = False
) -> None:
    """Show one recipe: the lines for your catalogue, what to prepare, limits and sources."""
    library = open_library(catalogue)
    recipe = find_recipe(library, name)
    if as_yaml:
        write_text(library.text(name))
    elif as_json:
        write_json({"name": name, **summary_of(recipe), "catalogue": example_of(name, recipe)})
    else:
        write_text("\n".join(recipe_page(name, recipe)))


@commands.command("new", epilog=EXAMPLES + EXIT_CODES)
def new_recipe(name: NameArgument, catalogue: CatalogueOption = None, copied: FromOption = "") -> None:
    """Ask what a REST API expects, and write NAME.recipe.yaml into the catalogue's folder."""
    from keyturn.catalogue.files.append import write_file
    from keyturn.catalogue.recipes.expand import check_recipe
    from keyturn.core.errors import Invalid

    library = open_library(catalogue)
    file = catalogue_directory(catalogue) / f"{name}{RECIPE_ENDING}"
    if name in library:
        raise Invalid("write", f"recipe {name}", "there is one of this name already", "Choose another name")
    if copied:
        find_recipe(library, copied)
        text = library.text(copied)
    else:
        text = recipe_text({key: typer.prompt(question, default=usual) for key, question, usual in QUESTIONS})
    write_file(file, text, 0o644)
    check_recipe(name, open_library(file.parent)[name], file)
    note(f"wrote {file}. Next: complete its facts, then keyturn catalogue validate")


@commands.command("test", epilog=EXAMPLES + EXIT_CODES)
def try_recipe(
    name: NameArgument,
    catalogue: CatalogueOption = None,
    live: LiveOption = False,
    secret: SecretOption = "",
    yes: YesOption = False,
) -> None:
    """Create, test, list and end one credential of a recipe, and leave nothing.

    Without --live an emulator on this machine plays the service; it is made from the recipe. No value is printed.
    """
    from keyturn.cli.catalogue.recipe_trial import live_trial, try_emulated

    recipe = find_recipe(open_library(catalogue), name)
    if live is not bool(secret):
        raise typer.BadParameter("give both --live and --secret PATH, or neither")
    if not live:
        try_emulated(name, recipe, note)
        note(f"{name} works with its emulator, which knows only what the recipe says")
        return
    insist_on_terminal(yes)
    with live_trial(catalogue, name, secret, note) as (trial, target):
        note(f"This creates a credential at {target} for {trial.path}, tests it and ends it. {recipe.facts.admin}")
        if not yes:
            typer.confirm("Continue?", abort=True)
        trial.run()
    note(f"{name} works at {target}")


def recipe_text(answers: dict[str, str]) -> str:
    """The YAML of a recipe for `http-api-key`."""
    from datetime import UTC, datetime

    import yaml

    def header(text: str) -> dict[str, str]:
        key, _, value = text.partition(":")
        return {key.strip(): value.strip()}

    mark = "keyturn {{path}} {{unique}}"
    created, listed = answers["create"], answers["list"]
    data = {
        "title": answers["title"],
        "category": "business",
        "strategy": "http-api-key",
        "target": {"kind": "http-api", "url": answers["url"], "headers": header(answers["header"])},
        "rotation": {
            "create": {"path": created, "body": {answers["name"]: mark}},
            "answer": {"id": answers["id"], "key": answers["key"]},
            "test": {"path": answers["test"], "headers": header(answers["holder"])},
            "delete": {"path": f"{created}/{{{{id}}}}"},
            "list": {
                "path": listed,
                "items": answers["items"],
                "id": answers["id"],
                "where": {f"/{answers['name']}": mark},
            },
        },
        "defaults": {"interval": "30d", "grace": "1d"},
        "facts": {"side_by_side": "many", "shown_once": True, "ends": "at once", "admin": "unknown"},
        "sources": [{"document": answers["document"], "checked": datetime.now(UTC).date(), "seen": "documentation"}],
    }
    return yaml.safe_dump(data, sort_keys=False, width=110)


def summary_of(recipe: "Recipe") -> dict[str, Any]:
    """Everything but the requests, for JSON."""
    return recipe.model_dump(mode="json", exclude={"rotation", "target", "emulator"})


def example_of(name: str, recipe: "Recipe") -> dict[str, Any]:
    """The entries of a catalogue that uses the recipe, with its examples."""

    def parameters(used: set[str]) -> dict[str, Any]:
        values = {key: recipe.parameters[key].example for key in recipe.parameters if key in used}
        return {"parameters": values} if values else {}

    service = name.partition("-")[0]
    rotation: dict[str, Any] = {"recipe": name}
    targets = {}
    if recipe.takes_target:
        rotation["target"] = service
        admin = {"admin": f"targets/{service}"} if (recipe.target or {}).get("kind") == "http-api" else {}
        targets = {"targets": {service: {"recipe": name, **admin, **parameters(recipe.named(recipe.target))}}}
    rotation |= parameters(recipe.named(recipe.rotation)) | recipe.defaults
    secret = {"owner": "team@example.com", "classification": "restricted", "rotation": rotation}
    return {**targets, "secrets": {f"{service}/{name.removeprefix(f'{service}-')}": secret}}


def recipe_page(name: str, recipe: "Recipe") -> Iterator[str]:
    """The text of `keyturn recipe show`."""
    import yaml

    from keyturn.core.text import templates

    facts = recipe.facts
    yield f"{name}: {recipe.title}\n"
    yield yaml.safe_dump(example_of(name, recipe), sort_keys=False, width=110)
    for parameter, settings in recipe.parameters.items():
        default = f" Default: {settings.default}." if settings.default is not None else ""
        yield f"  {parameter}: {settings.about}{default}"
    names = {part for text in templates.texts([recipe.target, recipe.rotation]) for part in templates.names(text)}
    fields = {part.removeprefix("admin.") for part in names if part.startswith("admin.")}
    if (recipe.target or {}).get("login", {}).get("kind") == "signed-jwt":
        fields.add("private_key")
    if fields:
        yield f"\nWrite the admin credential into the hub first: its fields are {', '.join(sorted(fields))}."
    yield f"Right of the admin credential: {facts.admin}"
    yield f"Side by side: {facts.side_by_side}. Shown once: {'yes' if facts.shown_once else 'no'}. Ends: {facts.ends}."
    yield from (f"Limit: {limit}" for limit in facts.limits)
    yield from (f"Note: {each}" for each in facts.notes)
    yield from (f"Source: {each.document} ({each.seen}, {each.checked})" for each in recipe.sources)
