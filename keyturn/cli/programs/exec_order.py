"""The options of ``keyturn exec``, and running its program."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from keyturn.cli import INHERITED
from keyturn.cli.output import note
from keyturn.cli.programs.programs import (
    file_named,
    files_of,
    insist_on_places,
    pair_of,
    put_once,
    reference_of,
    with_patience,
    wrong,
)
from keyturn.core.errors import TransientError, Unavailable

if TYPE_CHECKING:
    from keyturn.client.client import SecretClient
    from keyturn.client.webhooks.receiver import Receiver
    from keyturn.core.notifications.notices import Notice
    from keyturn.programs.listener import Listener
    from keyturn.programs.reactions import Reaction
    from keyturn.programs.references import FieldReference
    from keyturn.programs.rendering import Declaration
    from keyturn.programs.templates import Template

    Keys = Callable[[], Sequence[Any]]

FILES: Final = "KEYTURN_FILES"
"""The variable with the directory of the program's files."""

LOGINS: Final = (
    *("KEYTURN_", "VAULT_", "BAO_", "PREFECT_", "KUBECONFIG", "ACTIONS_ID_TOKEN_", "CREDENTIALS_DIRECTORY"),
    *("AWS_", "AZURE_", "GOOGLE_", "CLOUDSDK_", "IDENTITY_", "MSI_", "ARM_"),
)
"""Prefixes of variables that log in to the hub, Prefect and clouds, or name where a unit's credentials are."""
HARMLESS: Final = frozenset({"AWS_REGION", "AWS_DEFAULT_REGION", "GOOGLE_CLOUD_PROJECT"})
"""Variables with such a prefix that hold no login, and that programs often need."""
VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Times:
    """Durations in seconds."""

    grace: float
    settle: float
    poll: float
    wait: float


@dataclass(frozen=True)
class Order:
    """The options of the command line."""

    opened: ExitStack
    command: Sequence[str]
    env: Sequence[str]
    env_all: Sequence[str]
    file: Sequence[str]
    template: Sequence[str]
    on_change: str
    allow_disk: bool
    mode: int
    keep_env: Sequence[str]
    stop_revoked: bool = False

    @cached_property
    def directory(self) -> Path:
        from keyturn.programs.private_directory import PrivateDirectory

        return self.opened.enter_context(PrivateDirectory(on_disk=self.allow_disk)).path

    @cached_property
    def reaction(self) -> "Reaction":
        from keyturn.programs.reactions import Reaction

        try:
            return Reaction.parse(self.on_change)
        except ValueError as error:
            raise wrong("--on-change", str(error)) from None

    @cached_property
    def templates(self) -> "dict[Path, tuple[Template, Reaction]]":
        from keyturn.programs.reactions import Reaction
        from keyturn.programs.templates import Template

        templates: dict[Path, tuple[Template, Reaction]] = {}
        for text in self.template:
            source, name, *action = [*text.split(":", 2), ""][:3]
            if not (source and name):
                raise wrong("--template", "write SOURCE:DEST, or SOURCE:DEST:ACTION")
            try:
                reaction = Reaction.parse_any(action[0]) if action[0] else self.reaction
            except ValueError as error:
                raise wrong("--template", str(error)) from None
            place = file_named(name, lambda: self.directory, "--template")
            put_once(templates, place, (Template.load(Path(source)), reaction), "--template")
        return templates

    @cached_property
    def files(self) -> "dict[Path, FieldReference]":
        return files_of(self.file, lambda: self.directory)

    @cached_property
    def declaration(self) -> "Declaration":
        from keyturn.programs.rendering import Declaration

        variables: dict[str, FieldReference] = {}
        for text in self.env:
            name, reference = pair_of(text, "--env", "NAME=PATH#FIELD")
            put_once(variables, variable(name, "--env"), reference_of(reference, "--env"), "--env")
        prefixes: dict[str, str] = {}
        for text in self.env_all:
            prefix, path = pair_of(text, "--env-all", "PREFIX=PATH, such as DB_=ml-training/database")
            put_once(prefixes, variable(prefix, "--env-all"), path, "--env-all")
        templates = {place: template for place, (template, _) in self.templates.items()}
        return Declaration(variables, prefixes, self.files, templates, self.mode)

    def check(self, receiving: bool) -> None:
        """Refuse an order that gives nothing, or whose changes cannot reach the program."""
        declared = self.declaration
        variables = bool(declared.variables or declared.prefixes)
        reactions = [*([self.reaction] if self.files else []), *(reaction for _, reaction in self.templates.values())]
        if not (variables or reactions):
            raise wrong("--env", "say what CMD is to be given: --env, --env-all, --file or --template")
        if twice := set(self.files) & set(self.templates):
            raise wrong("--template", f"{min(twice)} is given twice")
        if variables and self.reaction.number:
            raise wrong("--on-change", "variables change by a restart alone; with a signal, give files")
        heard = all(reaction.tells for reaction in reactions) and (self.reaction.restart or not variables)
        if receiving and not heard:
            raise wrong("--receive", "a notice can't be acknowledged if CMD does not learn of a change")
        insist_on_places(list(self.files), self.allow_disk)

    def environment(self) -> dict[str, str]:
        """Return this process's environment without its logins, plus the directory of files."""
        inherited = without_logins(INHERITED, self.keep_env)
        own = self.__dict__.get("directory")  # Only if it was made.
        return {**inherited, **({FILES: str(own)} if own else {})}


def variable(name: str, option: str) -> str:
    if not VARIABLE.fullmatch(name):
        raise wrong(option, f"{name} can't be a variable: letters, digits and _ only, no digit first")
    return name


def without_logins(variables: Mapping[str, str], keep: Sequence[str] = ()) -> dict[str, str]:
    """Remove variables that hold logins; names that match a pattern in ``keep`` stay."""

    def stays(name: str) -> bool:
        return name in HARMLESS or not name.startswith(LOGINS) or any(fnmatchcase(name, each) for each in keep)

    return {name: text for name, text in variables.items() if stays(name)}


def carry_out(order: Order, times: Times, client: "SecretClient", listening: "Listening | None") -> int:
    """Run the program, deliver every change of its secrets, and return its exit code. Raises KeyturnError."""
    from keyturn.programs.follower import PATIENCE, Follower
    from keyturn.programs.outputs import remove_outputs
    from keyturn.programs.supervisor import Program, Supervisor

    rendering = with_patience(lambda: order.declaration.render(client), times.wait)
    reactions = {place: reaction for place, (_, reaction) in order.templates.items()}
    program = Program(order.command, order.environment(), order.reaction, reactions, times.grace, times.settle)
    supervisor = Supervisor(program, note)
    longest = times.grace + times.settle + PATIENCE
    follower = Follower(
        client,
        order.declaration,
        rendering,
        supervisor.submit,
        lambda: supervisor.unfinished,
        note,
        times.poll,
        longest,
        stop_revoked=order.stop_revoked,
    )
    order.opened.callback(follower.stop)
    order.opened.callback(lambda: remove_outputs([each for each in supervisor.outputs if each.file in order.files]))
    listener = order.opened.enter_context(listening.open(follower.told)) if listening else None

    def begun() -> None:
        follower.begin()
        if listener:
            listener.begin()
            note(f"ready: notices are taken at port {listener.port}")

    return supervisor.run(rendering, begun)


@dataclass(frozen=True)
class Listening:
    """Where notices arrive, and how they are verified."""

    address: tuple[str, int]
    receiver: "Receiver"
    certificate: Path | None
    key: Path | None

    @staticmethod
    def parse(
        text: str | None, key_file: Path | None, key_path: str | None, certificate: Path | None, key: Path | None
    ) -> "Listening | None":
        """Parse the options; None if no notices are received. Raises BadParameter for contradictory ones."""
        if not text:
            if key_file or key_path or certificate or key:
                raise wrong("--receive", "say where notices are taken, such as 127.0.0.1:8443")
            return None
        if (certificate is None) is not (key is None):
            raise wrong("--receive-cert", "give --receive-cert with --receive-key")
        return Listening(address_of(text), receiver_of(key_file, key_path), certificate, key)

    def open(self, on_notice: "Callable[[Notice], object]") -> "Listener":
        from keyturn.agent.sockets import server_tls
        from keyturn.programs.listener import Listener

        tls = server_tls(self.certificate, self.key) if self.certificate and self.key else None
        return Listener(self.address, self.receiver, on_notice, tls)


def address_of(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise wrong("--receive", "write HOST:PORT, such as 127.0.0.1:8443")
    return host, int(port)


def receiver_of(key_file: Path | None, key_path: str | None) -> "Receiver":
    from keyturn.client.webhooks.receiver import Receiver

    if (key_file is None) is (key_path is None):
        raise wrong("--receive", "give --webhook-key-file or --webhook-key")
    if key_path is not None:
        from keyturn.client.webhooks.keys import HubKeys
        from keyturn.providers.vault.hub import VaultHub
        from keyturn.settings.hub import HubSettings

        return Receiver(usable_keys(HubKeys(VaultHub(HubSettings.from_environment()), key_path)))
    return Receiver(usable_keys(partial(keys_in, Path(str(key_file)))))


def usable_keys(keys: "Keys") -> "Keys":
    """Return ``keys`` after reading them once. A TransientError is only reported; raises other KeyturnErrors."""
    try:
        keys()
    except TransientError as error:
        note(f"{error}. Until then every notice is answered 503")
    return keys


def keys_in(file: Path) -> list[Any]:
    """Return the keys of a file, one a line. Raises Unavailable, so that senders try again."""
    from keyturn.core.sensitive import Sensitive

    hint = "Let it hold the keys of notices, one a line"
    try:
        keys = [Sensitive(line) for line in file.read_text().split()]
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable("read", str(file), f"the file can't be read: {type(error).__name__}", hint) from None
    if not keys:
        raise Unavailable("read", str(file), "the file holds no key", hint)
    return keys
