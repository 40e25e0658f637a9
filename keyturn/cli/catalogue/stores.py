"""``keyturn store``: list and show the stores that recipes describe, and the kinds that are built in."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args

import typer

from keyturn.cli.catalogue.recipes import NameArgument, YamlOption, find_recipe, own_recipes, searched
from keyturn.cli.failures import EXIT_CODES
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, write_json, write_table, write_text

if TYPE_CHECKING:
    from keyturn.catalogue.recipes import StoreLibrary, StoreRecipe
    from keyturn.settings.store_requests import StoreRequests

commands = typer.Typer(help="List and show the stores that secrets can be copied to.", no_args_is_help=True)

COLUMNS: Final = ("store", "service", "values", "marks", "overtaken write", "largest value", "checked")
BUILT_IN: Final = "built in"
EXAMPLES: Final = """\b
Examples:
  keyturn store list
  keyturn store show gitlab-project-variables

"""
PAGE: Final = """# List of stores

Keyturn has {kinds} kinds of store built in, and ships {count} as [recipes](recipe-stores.md). \
`keyturn store show NAME` shows the lines for your catalogue, the rights, limits and notes. \
This page is made by `keyturn store list --markdown`.

Built in: {names}. [Catalogue](catalogue.md#stores) describes them.

- **Values**: *readable*, or *written only*: then the status of a copy is as written, by the service's own version. \
With *unseen*, the service shows no version, and another writer goes unseen.
- **Marks**: where Keyturn keeps its ownership marks.
- **Overtaken write**: *refused* where the service has compare-and-set; otherwise *the later one wins*.
- **Keeps**: what the service keeps of earlier values. Keyturn can't remove that, and a revocation names it.
- **Checked**: the newest source, its day, and how the sources were seen. With *memory*, a part was written \
without reading a document. With *server*, Keyturn's tests run the recipe against the real one.
"""
TITLES: Final = {
    "ci": "CI",
    "code": "Code hosting",
    "hosting": "Hosting",
    "data": "Data platforms and key-value stores",
    "secrets": "Secret managers",
}
MARKS: Final = {
    "tags": "tags",
    "description": "description",
    "companion": "a second entry",
    "name": "name of a second entry",
}
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="The shipped ones as a page, docs/store-list.md.")]


def open_stores(catalogue: Path | None) -> "StoreLibrary":
    """Every recipe of a store, with those in the catalogue's folder if there is one."""
    from keyturn.catalogue.recipes import StoreLibrary

    return searched(StoreLibrary(own_recipes(catalogue)))


@commands.command("list", epilog=EXAMPLES + EXIT_CODES)
def list_stores(
    catalogue: CatalogueOption = None, as_json: JsonOption = False, markdown: MarkdownOption = False
) -> None:
    """List every kind of store: built in, and by recipe."""
    library = open_stores(catalogue)
    if markdown:
        write_text(shipped_page(library))
        return
    built_in = built_in_kinds()
    if as_json:
        recipes = [{"name": name, **summary_of(name, recipe)} for name, recipe in library.items()]
        write_json({"built_in": built_in, "recipes": recipes})
        return
    rows = [(kind, BUILT_IN, *["-"] * (len(COLUMNS) - 2)) for kind in built_in]
    rows += [(name, *cells(name, recipe), str(recipe.checked)) for name, recipe in library.items()]
    write_table(COLUMNS, rows, whole={"store"})
    note(f"{len(rows)} stores. Show one of a recipe: keyturn store show NAME")


@commands.command("show", epilog=EXAMPLES + EXIT_CODES)
def show_store(
    name: NameArgument, catalogue: CatalogueOption = None, as_yaml: YamlOption = False, as_json: JsonOption = False
) -> None:
    """Show one store's recipe: the lines for your catalogue, what to prepare, limits and sources."""
    library = open_stores(catalogue)
    recipe = find_recipe(library, name)
    if as_yaml:
        write_text(library.text(name))
    elif as_json:
        write_json({"name": name, **summary_of(name, recipe), "catalogue": example_of(name, recipe)})
    else:
        write_text("\n".join(store_page(name, recipe)))


def built_in_kinds() -> list[str]:
    """The kinds of store that have an adapter of their own."""
    from keyturn.catalogue.recipes.expand import STORE_KIND
    from keyturn.catalogue.stores import STORE_KINDS

    return [kind for kind in STORE_KINDS if kind != STORE_KIND]


def requests_of(name: str, recipe: "StoreRecipe") -> "StoreRequests":
    """The store's settings with the recipe's examples."""
    from keyturn.catalogue.recipes.expand import store_settings
    from keyturn.catalogue.stores.http import HttpStoreSettings

    login = {"recipe": name, "token_file": login_file(name)}
    return HttpStoreSettings.model_validate(store_settings(recipe, recipe.examples) | recipe.defaults | login)


def login_file(name: str) -> str:
    return f"/etc/keyturn/files/{name.partition('-')[0]}"


def example_of(name: str, recipe: "StoreRecipe") -> dict[str, Any]:
    """The entry of a catalogue that uses the recipe, with its examples."""
    required = {key: each.example for key, each in recipe.parameters.items() if each.default is None}
    parameters = {"parameters": required} if required else {}
    return {"stores": {name.partition("-")[0]: {"recipe": name, "token_file": login_file(name), **parameters}}}


def summary_of(name: str, recipe: "StoreRecipe") -> dict[str, Any]:
    """Everything but the requests, for JSON."""
    requests = requests_of(name, recipe)
    about = recipe.model_dump(mode="json", exclude={"store", "emulator"})
    return {**about, "readable": not requests.write_only, "marks": requests.marks.kept, "max_bytes": requests.max_bytes}


def cells(name: str, recipe: "StoreRecipe") -> Iterator[str]:
    requests = requests_of(name, recipe)
    yield recipe.title
    unseen = ", unseen" if requests.marks.sealed_by == "nothing" else ""
    yield f"written only{unseen}" if requests.write_only else "readable"
    yield MARKS[requests.marks.kept]
    yield "refused" if requests.refuses_overtaken else "the later one wins"
    yield f"{requests.max_bytes:,} bytes"


def store_page(name: str, recipe: "StoreRecipe") -> Iterator[str]:
    """The text of `keyturn store show`."""
    import yaml

    requests, facts = requests_of(name, recipe), recipe.facts
    yield f"{name}: {recipe.title}\n"
    yield yaml.safe_dump(example_of(name, recipe), sort_keys=False, width=110)
    for parameter, settings in recipe.parameters.items():
        default = f" Default: {settings.default}." if settings.default is not None else ""
        yield f"  {parameter}: {settings.about}{default}"
    fields = sorted(requests.admin_fields)
    form = "the token alone" if fields == ["token"] else f"a JSON object with {', '.join(fields)}"
    yield f"\ntoken_file holds {form}. Right of that login: {facts.needs}"
    yield f"Names: {requests.names.rule}. Largest value: {requests.max_bytes:,} bytes."
    if requests.write_only:
        shown = "by the service's own version" if requests.marks.sealed_by == "version" else "and no change of it shows"
        yield f"Values can't be read there: the status of a copy is as written, {shown}."
    yield f"Marks: {MARKS[requests.marks.kept]}, at most {requests.marks.most_bytes} bytes."
    yield f"Overtaken write: {facts.race}"
    yield f"Consumers read a new value {facts.reads}."
    yield f"Earlier values: {requests.history or 'none are kept'}."
    yield from (f"Limit: {limit}" for limit in facts.limits)
    yield from (f"Note: {each}" for each in facts.notes)
    yield from (f"Source: {each.document} ({each.seen}, {each.checked})" for each in recipe.sources)


def shipped_page(library: "StoreLibrary") -> str:
    """Return the text of ``docs/store-list.md``, without its final newline."""
    from keyturn.catalogue.recipes import StoreRecipe

    shipped = {name: recipe for name, recipe in library.items() if library.is_shipped(name)}
    built_in = built_in_kinds()
    names = ", ".join(f"`{kind}`" for kind in built_in)
    parts = [PAGE.format(kinds=len(built_in), count=len(shipped), names=names).rstrip()]
    head = ["store", "service", "values", "marks", "overtaken write", "largest value", "keeps", "limits", "checked"]
    for category in get_args(StoreRecipe.model_fields["category"].annotation):
        rows = [page_row(name, recipe) for name, recipe in shipped.items() if recipe.category == category]
        lines = [f"## {TITLES[category]}\n", f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows]
        parts += ["\n".join(lines)] if rows else []
    return "\n\n".join(parts)


def page_row(name: str, recipe: "StoreRecipe") -> str:
    newest = max(recipe.sources, key=lambda source: source.checked)
    kinds = ", ".join(sorted({source.seen for source in recipe.sources}))
    history = requests_of(name, recipe).history or "nothing"
    last = (history, " ".join(recipe.facts.limits), f"{newest.checked}, {newest.document} ({kinds})")
    texts = (text.replace("|", "\\|") for text in (f"`{name}`", *cells(name, recipe), *last))
    return f"| {' | '.join(texts)} |"
