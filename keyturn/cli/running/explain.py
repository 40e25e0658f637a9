"""``keyturn explain``: what an error's code means, what is safe, and what to do."""

from dataclasses import asdict
from typing import Annotated, Final

import typer

from keyturn.cli.options import JsonOption
from keyturn.cli.output import write_json, write_text
from keyturn.core.error_codes import EXPLANATIONS, Explanation, find_explanation
from keyturn.core.errors import NotFound

CodeArgument = Annotated[str | None, typer.Argument(metavar="CODE", help="Such as KT101; without it, all are listed.")]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="All of them as a page, which docs/errors.md is.")]

PAGE: Final = """# Errors

Every error message of a command ends with a code such as `(KT101)`. Some JSON output has it as `code`. \
The code depends only on the kind of error and never changes its meaning, so scripts and runbooks can rely on it. \
`keyturn explain KT101` shows the same as this page, which is made by `keyturn explain --markdown`.

Errors with a code that begins with `KT1` may pass by themselves: the same call can succeed later, unchanged. \
Those that begin with `KT2` need a person.
"""


def explain(code: CodeArgument = None, as_json: JsonOption = False, markdown: MarkdownOption = False) -> None:
    """Explain an error's code: what it means, what is safe meanwhile, and what to do.

    The code follows the error, such as (KT101). No server is asked.
    """
    if code and markdown:
        raise typer.BadParameter("give a CODE or --markdown, not both")
    entries = [explanation_of(code)] if code else list(EXPLANATIONS)
    if as_json:
        return write_json({"errors": [{**asdict(entry), "kind": entry.kind.__name__} for entry in entries]})
    if markdown:
        return write_text(error_page())
    return write_text(in_words(entries[0]) if code else "\n".join(f"{e.code}  {e.title}" for e in entries))


def explanation_of(code: str) -> Explanation:
    if entry := find_explanation(code):
        return entry
    raise NotFound("explain", code, "there is no such code", "Run `keyturn explain`: it lists all of them")


def in_words(entry: Explanation) -> str:
    parts = (entry.meaning, f"What is safe: {entry.safe}", f"What to do: {entry.remedy}", f"  $ {entry.command}")
    return "\n\n".join((f"{entry.code}: {entry.title}", *parts))


def error_page() -> str:
    """Return the text of ``docs/errors.md``, without its final newline."""
    sections = (
        f"## {entry.code}\n\n**{entry.title}.** {entry.meaning} (`{entry.kind.__name__}`)\n\n"
        f"- Safe: {entry.safe}\n- To do: {entry.remedy}\n- Command: `{entry.command}`"
        for entry in EXPLANATIONS
    )
    return "\n\n".join((PAGE.rstrip(), *sections))
