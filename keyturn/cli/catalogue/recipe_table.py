"""``keyturn recipe list --markdown``: the page of all shipped recipes, ``docs/recipe-list.md``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, get_args

from keyturn.settings import durations

if TYPE_CHECKING:
    from keyturn.catalogue.recipes import Library, Recipe

PAGE: Final = """# List of recipes

The {count} kinds of credential that Keyturn ships as [recipes](recipes.md). `keyturn recipe show NAME` shows the \
requests' parameters, the admin right, limits and notes. This page is made by `keyturn recipe list --markdown`.

- **Side by side**: how many credentials of an account work at once. With 1, consumers are refused until they have \
read the new one.
- **Shown once**: the service shows the value only when it creates it.
- **Dead after**: how long an ended credential may keep working.
- **May leave**: how long a credential may live that no one knows, after a lost answer or a request sent twice. \
Only services that list nothing, or that exchange tokens, leave one.
- **Checked**: the newest source, its day, and how the sources were seen. *memory* means that a part was written \
without reading a document.
"""

TITLES: Final = {
    "ai": "AI",
    "ci": "CI",
    "data": "Data platforms",
    "code": "Code hosting",
    "cloud": "Cloud and hosting",
    "database": "Databases",
    "network": "Network",
    "business": "Business",
}
COLUMNS: Final = (
    "recipe",
    "credential",
    "strategy",
    "side by side",
    "shown once",
    "dead after",
    "may leave",
    "checked",
)


def shipped_page(library: "Library") -> str:
    """Return the text of ``docs/recipe-list.md``, without its final newline."""
    from keyturn.catalogue.recipes.model import Category

    shipped = {name: recipe for name, recipe in library.items() if library.is_shipped(name)}
    parts = [PAGE.format(count=len(shipped)).rstrip()]
    for category in get_args(Category):
        rows = [row(name, recipe) for name, recipe in shipped.items() if recipe.category == category]
        if rows:
            head = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
            parts.append("\n".join((f"## {TITLES.get(category, category.title())}\n", *head, *rows)))
    return "\n\n".join(parts)


def row(name: str, recipe: "Recipe") -> str:
    texts = [text.replace("|", "\\|") for text in cells(name, recipe)]
    return f"| {' | '.join(texts)} |"


def cells(name: str, recipe: "Recipe") -> Iterator[str]:
    facts, newest = recipe.facts, max(recipe.sources, key=lambda source: source.checked)
    yield f"`{name}`"
    yield recipe.title
    yield f"[{recipe.strategy}](strategies/{recipe.strategy}.md)"
    yield str(facts.side_by_side)
    yield "yes" if facts.shown_once else "no"
    yield facts.ends
    yield left(recipe)
    kinds = ", ".join(sorted({source.seen for source in recipe.sources}))
    yield f"{newest.checked}, {newest.document} ({kinds})"


def left(recipe: "Recipe") -> str:
    orphan = recipe.facts.orphan
    if orphan is None:
        return "-" if recipe.strategy == "manual" else "nothing"
    return durations.show(orphan.lives) if orphan.lives else "until deleted"
