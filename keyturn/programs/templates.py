"""Templates with secrets, in Jinja2's sandbox: ``{{ secret("ml-training/database").password }}``.

    template = Template.load(Path("database.ini.j2"))
    text = template.render(Reading(client))

Errors contain the template's file and line, and no part of a value.
"""

import base64
import json
import math
import os
import re
import shlex
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final
from urllib.parse import quote

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, nodes
from jinja2 import Template as Compiled
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from keyturn.client.secrets import Secret
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Unavailable
from keyturn.core.sensitive import Sensitive
from keyturn.programs.references import Reading

LARGEST: Final = 2**20
"""The limit of a template in characters, and of its result in bytes."""

MOST_STEPS: Final = 1_000_000
"""Lines of Python that a rendering may execute, so that it ends within seconds."""

MOST_WORK: Final = 2**28
"""Bytes that one operation may produce, estimated from its operands before it runs."""

RENDER: Final = "render"


class SecretView(Mapping[str, Any]):
    """A secret as templates see it: fields by name, with their JSON types."""

    def __init__(self, secret: Secret) -> None:
        self._fields = secret.fields.reveal()

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"SecretView({', '.join(sorted(self._fields))})"

    def __html__(self) -> str:
        raise Unfit("a secret is written a field at a time, or with the filter json or toml")

    __str__ = __html__


class Environment(ImmutableSandboxedEnvironment):
    """The sandbox: templates read secrets and write text, and reach no file or state of this process."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        insist_on_size((left, right), product=operator != "+")
        if operator == "**" and size(right) > 64:
            raise Unfit(TOO_LARGE)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        insist_on_size((getattr(obj, "__self__", None), *args, *kwargs.values()))
        return super().call(context, obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Bound ``str.format`` by the text, which Jinja2's replacement of the method hides from :meth:`call`."""
        formatted = super().wrap_str_format(value)
        return formatted and partial(_format, value.__self__, formatted)

    def joined(self, parts: tuple[Any, ...]) -> str:
        return self.concat(list(map(str, parts)))

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Bound what a block, a macro or ``~`` puts together."""
        pieces = list(parts)
        insist_on_size(pieces, product=False)
        return "".join(pieces)

    def sized(self, value: Any) -> Any:
        """Bound a list that holds others several times: it takes little memory, but writing it takes forever."""
        insist_on_size((value,))
        return value

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return only fields for a secret, which may have names such as ``items``."""
        return self.getitem(obj, attribute) if isinstance(obj, SecretView) else super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if not isinstance(obj, SecretView):
            return super().getitem(obj, argument)
        return obj[argument] if argument in obj else self.undefined(obj=None, name=str(argument))


class Generator(CodeGenerator):
    """Jinja2's code generator, with ``~`` and literals bounded like the other operators."""

    def visit_Concat(self, node: nodes.Concat, frame: Any) -> None:  # noqa: N802 - Jinja2's name
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_List(self, node: nodes.List, frame: Any) -> None:  # noqa: N802 - Jinja2's name
        self._sized(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Any) -> None:  # noqa: N802 - Jinja2's name
        self._sized(super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Any) -> None:  # noqa: N802 - Jinja2's name
        if node.ctx == "load":
            self._sized(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def _sized(self, visit: Callable[[Any, Any], None], node: nodes.Node, frame: Any) -> None:
        self.write("environment.sized(")
        visit(node, frame)
        self.write(")")


Environment.code_generator_class = Generator


class Template:
    """A template that is read once, even if its file changes."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        self._text = text
        try:
            environment = made_environment()
            code = environment.compile(text, str(file), str(file))
            self._compiled = Compiled.from_code(environment, code, environment.make_globals(None))
        except TemplateSyntaxError as error:
            raise Invalid(RENDER, f"{file}:{error.lineno}", f"{error.message}", "Correct the template") from None

    @staticmethod
    def load(file: Path) -> "Template":
        """Read and compile a template. Raises NotFound, Unavailable, Invalid, and Denied for a world-writable file."""
        try:
            # Without O_NONBLOCK, opening a pipe without a writer would block.
            with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), encoding="utf-8") as opened:
                status = os.fstat(opened.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise Invalid(RENDER, str(file), "it is no regular file", "Give a file with a template")
                if status.st_mode & stat.S_IWOTH:
                    problem = "every user of this machine may write it, and so read what it renders"
                    raise Denied(RENDER, str(file), problem, "Take that right away: chmod o-w")
                text = opened.read(LARGEST + 1)
        except FileNotFoundError:
            raise NotFound(RENDER, str(file), "there is no such template", "Check its name") from None
        except OSError as error:
            raise Unavailable(RENDER, str(file), f"it can't be read: {error.strerror}", "Check its mode") from None
        except UnicodeDecodeError:
            raise Invalid(RENDER, str(file), "it is not UTF-8 text", "Correct the template") from None
        if len(text) > LARGEST:
            raise Invalid(RENDER, str(file), f"it has more than {LARGEST:,} characters", "Split it")
        return Template(file, text)

    def render(self, reading: Reading) -> Sensitive:
        """Return the rendered text. Raises Invalid with file and line, and the client's errors."""
        try:
            text = self._text_of(lambda path: unbounded(lambda: self._view(reading, str(path))))
        except KeyturnError:
            raise
        except Exception as error:  # noqa: BLE001 - the text of whatever it raises may hold a value
            fields = {path: names for path, names in reading.fields.items() if path in self._text}
            problem, hint = explained(error, fields)
            raise Invalid(RENDER, self._place(error.__traceback__), problem, hint) from None
        if text is None:
            raise Invalid(RENDER, str(self.file), f"it becomes more than {LARGEST:,} bytes", "Split it")
        return Sensitive(text)

    def _text_of(self, secret: Callable[[Any], SecretView]) -> str | None:
        pieces, length = list[str](), 0
        with bounded_steps():
            for piece in self._compiled.generate(secret=secret):
                length += len(piece.encode(errors="replace"))
                if length > LARGEST:
                    return None
                pieces.append(piece)
        return "".join(pieces)

    def _view(self, reading: Reading, path: str) -> SecretView:
        try:
            return SecretView(reading.secret(path))
        except KeyturnError as error:
            if path in self._text:
                raise
            # The template computed the name, perhaps from a secret value.
            place = f"a secret for {self.file}"
            raise type(error)(error.doing, place, "it can't be read", "Check the names in the template") from None

    def _place(self, trace: TracebackType | None) -> str:
        line = 0
        while trace:
            if trace.tb_frame.f_code.co_filename == str(self.file):
                line = trace.tb_lineno
            trace = trace.tb_next
        return f"{self.file}:{line}" if line else str(self.file)


class Unfit(ValueError):
    """A value that this format can't represent. The text contains no part of it."""


WIDTH: Final = re.compile(r"[0-9]{4,}")
"""A width in a format, such as %9999999d."""
TOO_LARGE: Final = "it makes more than a template may"
TOO_LONG: Final = "it takes more steps than a template may"


def size(value: Any) -> int:
    count, rest = 0, [value]
    while rest and count <= MOST_WORK:
        inner = rest.pop()
        if isinstance(inner, int):
            count += abs(inner)
        elif isinstance(inner, str | bytes):
            count += len(inner) + widths(inner)
        elif isinstance(inner, list | tuple | set | dict | range):
            count += len(inner)
            rest += inner if not isinstance(inner, dict) else [*inner, *inner.values()]
    return count


def widths(text: str | bytes) -> int:
    """The sum of the widths in a format such as %9999d; 0 for other text."""
    if not isinstance(text, str) or not ("%" in text or "{" in text):
        return 0
    return sum(int(digits[:18]) for digits in WIDTH.findall(text[:LARGEST]))


def insist_on_size(values: Iterable[Any], *, product: bool = True) -> None:
    sizes = [max(1, size(value)) for value in values]
    if (math.prod(sizes) if product else sum(sizes)) > MOST_WORK:
        raise Unfit(TOO_LARGE)


def bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        insist_on_size((*args, *kwargs.values()))
        return function(*args, **kwargs)

    return checked


def _format(text: str, formatted: Callable[..., str], *args: Any, **kwargs: Any) -> str:
    insist_on_size((text, *args, *kwargs.values()))
    return formatted(*args, **kwargs)


@contextmanager
def bounded_steps() -> Iterator[None]:
    """Count the lines that this thread executes in the block. Raises Unfit."""
    left, before = MOST_STEPS, sys.gettrace()

    def step(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Unfit(TOO_LONG)
        return step

    sys.settrace(step)
    try:
        yield
    finally:
        sys.settrace(before)


def unbounded(work: Callable[[], SecretView]) -> SecretView:
    before = sys.gettrace()
    sys.settrace(None)
    try:
        return work()
    finally:
        sys.settrace(before)


def explained(error: Exception, fields: Mapping[str, list[str]]) -> tuple[str, str]:
    """The problem and a hint, from the error's class only, because its text may contain a value."""
    if isinstance(error, UndefinedError):
        shown = "; ".join(f"{path} has {', '.join(names) or 'no fields'}" for path, names in fields.items())
        return "a name or a field in it does not exist", shown or "Check the names in that line"
    if isinstance(error, SecurityError):
        return "it does what a template may not", "A template may read secrets and write texts"
    if isinstance(error, Unfit):
        return str(error), "Use another filter, or change the secret"
    return f"it can't be carried out: {type(error).__name__}", "Correct that line of the template"


def made_environment() -> Environment:
    """A strict environment: undefined names require ``default`` or ``is defined``."""
    made = Environment(undefined=StrictUndefined, keep_trailing_newline=True, finalize=plain)
    made.filters = {name: bounded(function) for name, function in {**made.filters, **FILTERS}.items()}
    made.globals = {name: made.globals[name] for name in ("range", "dict", "namespace")}
    return made


def plain(value: Any) -> Any:
    if isinstance(value, str | StrictUndefined) or hasattr(value, "__html__"):
        return value
    return json_text(value)


def json_text(value: Any) -> str:
    return json.dumps(dict(value) if isinstance(value, SecretView) else value, ensure_ascii=False)


def written_out(value: Any) -> str:
    if isinstance(value, SecretView):
        raise Unfit("a secret is written a field at a time, or with the filter json or toml")
    return value if isinstance(value, str) else json_text(value)


def toml_text(value: Any) -> str:
    """A TOML value: as JSON (TOML 1.0, "String"), except that DEL is escaped and null is invalid."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_text(str(name))} = {toml_text(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    if value is None:
        raise Unfit("TOML knows no null")
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def ini_text(value: Any) -> str:
    """A value for one line of an INI file. Raises Unfit where it would need quotes."""
    text = written_out(value)
    if text != text.strip() or not text.isprintable() or re.match(r"[\"';#]", text) or re.search(r"\s[;#]", text):
        raise Unfit("a value with line breaks, comment signs, quotes or spaces around it is not allowed in an INI file")
    return text


def env_text(value: Any) -> str:
    """A value for an environment file, as Compose, python-dotenv and a shell agree. Raises Unfit."""
    from keyturn.core.text.dotenv import QUOTES, refuses_text

    text = written_out(value)
    if reason := refuses_text(text, None):
        raise Unfit(f"an environment file can't hold {reason}")
    return QUOTES[None](text)


def decoded(value: Any) -> str:
    try:
        return base64.b64decode(written_out(value), validate=True).decode()
    except ValueError:
        raise Unfit("it is not the base64 of a text") from None


FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    "json": json_text,
    "toml": toml_text,
    "ini": ini_text,
    "env": env_text,
    "sh": lambda value: shlex.quote(written_out(value)),
    "url": lambda value: quote(written_out(value), safe=""),
    "base64": lambda value: base64.b64encode(written_out(value).encode()).decode(),
    "base64decode": decoded,
}
