"""``keyturn login`` and ``keyturn logout``: a person's own login to the hub, stored where `vault login` stores it."""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.output import note, write_text
from keyturn.core.errors import Denied, Invalid
from keyturn.core.sensitive import Sensitive

if TYPE_CHECKING:
    from keyturn.providers.vault.person import PersonLogin

PORT: Final = 8250
"""The port of `vault login -method=oidc`, which roles usually allow."""


class Method(StrEnum):
    """How people log in."""

    OIDC = "oidc"
    USERPASS = "userpass"


def login(
    username: Annotated[str | None, typer.Argument(help="With userpass: your name there.")] = None,
    method: Annotated[Method, typer.Option("--method", help="How the hub knows you.")] = Method.OIDC,
    path: Annotated[
        str | None, typer.Option("--path", metavar="MOUNT", help="Where it is mounted; the method's name by default.")
    ] = None,
    role: Annotated[
        str | None, typer.Option("--role", help="With oidc: the role; the hub's default one by default.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="With oidc: where your browser comes back to.")
    ] = PORT,
    browser: Annotated[bool, typer.Option(help="With oidc: open a browser, or only say which page to open.")] = True,
) -> None:
    """Log in to the hub yourself, with the browser (OIDC) or a password (userpass).

    Nothing is kept but the hub's token, in ~/.vault-token, where `vault` and `bao` keep it too, or by the token helper
    that ~/.vault names. VAULT_TOKEN and a program's own login (KEYTURN_HUB_*) come before it.
    """
    if (username is not None) is not (method is Method.USERPASS):
        raise typer.BadParameter("give a name with --method userpass, and with nothing else")
    file = token_file()
    with the_person() as person:
        if method is Method.OIDC:
            token = through_browser(person, path or method, role, port, browser)
        else:
            token = person.password_token(path or method, str(username), typed_password())
        keep_token(person, file, token)
        identity = person.identity(token)
    note(f"the token is kept by {kept_by(file)}; `keyturn logout` ends it")
    tell_what_comes_first()
    write_text(f"logged in as {identity.display_name}")


def logout() -> None:
    """End your login to the hub, and remove its token from ~/.vault-token, or from your token helper."""
    from keyturn.providers.vault.logins.files import read_own
    from keyturn.providers.vault.logins.helper import erase_token, get_token

    file, program = token_file(), own_helper()
    if not (text := get_token(program) if program else read_own(str(file))):
        return note(f"no one is logged in: {kept_by(file)} holds no token")
    with the_person() as person:
        end_token(person, Sensitive(text), file)
    if program:
        erase_token(program)
    else:
        file.unlink(missing_ok=True)
    return write_text("logged out")


def end_token(person: "PersonLogin", token: Sensitive, file: Path) -> None:
    """Revoke the token, but refuse one that no login made. Raises Denied or Unavailable."""
    try:
        identity = person.identity(token)
    except Denied:
        return note("the hub does not take the token any more")
    if identity.path.startswith("auth/token/"):
        problem = f"the token in {file} was made at {identity.path}, and not by a login"
        raise Denied("log out of", "the hub", problem, f"It may be a person's root token. Remove {file} yourself")
    return person.revoke(token)


@contextmanager
def the_person() -> "Iterator[PersonLogin]":
    """Open the hub of VAULT_ADDR for a person's login, ignoring the logins of programs."""
    from keyturn.providers.vault.person import PersonLogin
    from keyturn.settings.hub import HubSettings
    from keyturn.settings.hub_login import LOGIN_VARIABLES

    settings = HubSettings.from_environment({k: v for k, v in os.environ.items() if k not in LOGIN_VARIABLES})
    note(f"using the hub {settings.address}")
    person = PersonLogin(settings)
    try:
        yield person
    finally:
        person.close()


def token_file() -> Path:
    from keyturn.settings.hub_login import HELPER_FILE

    home = Path(os.environ.get("HOME") or "/nowhere")
    if not os.access(home, os.W_OK | os.X_OK):
        raise Invalid("keep a token in", str(home), "nothing can be written there", "Set HOME to your home directory")
    return home / HELPER_FILE


def own_helper() -> str | None:
    """Return the person's token helper; None if none is configured. Raises Denied or Invalid."""
    from keyturn.providers.vault.logins.helper import token_helper
    from keyturn.settings.hub_login import helper_configuration

    return token_helper(helper_configuration(os.environ, Path(os.environ.get("HOME") or "/nowhere")))


def kept_by(file: Path) -> str:
    return own_helper() or str(file)


def keep_token(person: "PersonLogin", file: Path, token: Sensitive) -> None:
    """Store the token for its owner only, or pass it to the token helper. If that fails, revoke it. Raises OSError."""
    from keyturn.providers.vault.logins.files import write_own
    from keyturn.providers.vault.logins.helper import store_token

    try:
        if program := own_helper():
            store_token(program, token)
        else:
            write_own(str(file), token)
    except BaseException:
        person.revoke(token)
        raise


def through_browser(person: "PersonLogin", mount: str, role: str | None, port: int, browser: bool) -> Sensitive:
    """Have a person sign in on the hub's page, and exchange the answer for a token. Raises KeyturnError."""
    from keyturn.cli.setup.callback import Callback

    callback, nonce = Callback(port), secrets.token_urlsafe(32)
    try:
        page = person.oidc_url(mount, role, callback.url, nonce)
        answer = callback.wait(page, open_browser if browser else show_page)
    finally:
        callback.close()
    return person.oidc_token(mount, {**answer, "client_nonce": nonce})


def open_browser(page: str) -> None:
    """Open the page and print its address, since nothing opens on another machine."""
    import webbrowser

    show_page(page)
    webbrowser.open(page)


def show_page(page: str) -> None:
    note(f"sign in on this page, in a browser of this machine:\n\n    {page}\n")


def typed_password() -> Sensitive:
    """Ask for the password at the terminal, without echo. Raises Invalid without a terminal."""
    from keyturn.cli.emergencies.whois import typed

    if not sys.stdin.isatty():
        hint = "Run it at one; a program logs in with KEYTURN_HUB_AUTH, see docs/own-vault-and-clouds.md"
        raise Invalid("log in to", "the hub", "a password is asked for at a terminal alone", hint)
    if text := typed("Password (not shown): ", "a password", "Use another terminal"):
        return Sensitive(text)
    raise Invalid("log in to", "the hub", "no password was given", "Type it when you are asked")


def tell_what_comes_first() -> None:
    from keyturn.settings.hub_login import LOGIN_VARIABLES

    for name in ("VAULT_TOKEN", *LOGIN_VARIABLES):
        if os.environ.get(name):
            return note(f"{name} is set: commands go by that, and not by this login")
    return None
