"""``keyturn render``: write secrets into files once, as an init container does."""

from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli.options import CatalogueOption
from keyturn.cli.output import note
from keyturn.cli.programs.exec import end_when_told
from keyturn.cli.programs.offline import (
    OfflineHostOption,
    OfflineKeyOption,
    OfflineOption,
    RestrictedOption,
    open_offline,
)
from keyturn.cli.programs.programs import (
    DiskOption,
    FileOption,
    ModeOption,
    SourceOption,
    WaitOption,
    file_named,
    files_of,
    insist_on_places,
    mode_of,
    open_program_client,
    put_once,
    seconds_of,
    with_patience,
    wrong,
)

TemplateOption = Annotated[
    list[str] | None,
    typer.Option("--template", metavar="SOURCE:DEST", help="A Jinja2 template as a file. May be repeated."),
]
DirectoryOption = Annotated[
    Path | None,
    typer.Option("--directory", metavar="DIR", help="An existing directory for files without an absolute path."),
]


def render_files(
    file: FileOption = None,
    template: TemplateOption = None,
    directory: DirectoryOption = None,
    wait: WaitOption = "0s",
    source: SourceOption = None,
    allow_disk: DiskOption = False,
    mode: ModeOption = "0600",
    catalogue: CatalogueOption = None,
    offline: OfflineOption = None,
    offline_key: OfflineKeyOption = None,
    offline_host: OfflineHostOption = "",
    restricted: RestrictedOption = None,
) -> None:
    """Read secrets once and write them into files: all of the files, or none.

    Files of fields must be in memory, on a tmpfs. A file that is up to date is not written again.
    """
    from keyturn.programs.outputs import write_outputs
    from keyturn.programs.rendering import Declaration
    from keyturn.programs.templates import Template

    end_when_told()

    def below() -> Path:
        if directory is None:
            raise wrong("--directory", "give a directory for files without an absolute path")
        return directory.absolute()

    files = files_of(file or (), below)
    templates: dict[Path, Template] = {}
    for text in template or ():
        origin, _, name = text.partition(":")
        if not (origin and name) or ":" in name:
            raise wrong("--template", "write SOURCE:DEST; changes are not watched here")
        put_once(templates, file_named(name, below, "--template"), Template.load(Path(origin)), "--template")
    if not (files or templates):
        raise wrong("--file", "say what is to be written: --file or --template")
    if twice := set(files) & set(templates):
        raise wrong("--template", f"{min(twice)} is given twice")
    insist_on_places([*files, *(place for place in templates if directory and place.parent == below())], allow_disk)
    declaration = Declaration(files=files, templates=templates, mode=mode_of(mode))
    lasting = open_offline(offline, offline_key, offline_host, catalogue, restricted or ())
    with open_program_client(source, catalogue, lasting, restricted or ()) as client:
        rendering = with_patience(lambda: declaration.render(client), seconds_of(wait, "--wait"))
    written = write_outputs(rendering.outputs)
    for output in rendering.outputs:
        note(f"{output.file}: {'written' if output in written else 'holds the same already'}")
