"""The declaration of what one program receives, and its rendering."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.client.client import SecretClient
from keyturn.core.errors import Invalid
from keyturn.core.sensitive import Sensitive
from keyturn.programs.outputs import MODE, Output
from keyturn.programs.references import FieldReference, Reading, Versions

if TYPE_CHECKING:
    from keyturn.programs.templates import Template


@dataclass(frozen=True)
class Rendering:
    environment: Mapping[str, Sensitive] = field(default_factory=dict)
    outputs: Sequence[Output] = ()
    versions: Versions = field(default_factory=dict)


@dataclass(frozen=True)
class Declaration:
    variables: Mapping[str, FieldReference] = field(default_factory=dict)
    prefixes: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[Path, FieldReference] = field(default_factory=dict)
    templates: Mapping[Path, "Template"] = field(default_factory=dict)
    mode: int = MODE

    @property
    def paths(self) -> list[str]:
        """The declared secrets, without those that templates read."""
        references = [*self.variables.values(), *self.files.values()]
        return list(dict.fromkeys([*(reference.path for reference in references), *self.prefixes.values()]))

    def render(self, client: SecretClient) -> Rendering:
        """Render the current values. Raises the client's errors, and Invalid for unsuitable values."""
        reading = Reading(client)
        reading.warm(self.paths)
        environment = self._environment(reading)
        texts = {file: reading.field(reference) for file, reference in self.files.items()}
        texts |= {file: template.render(reading) for file, template in self.templates.items()}
        for file, text in texts.items():
            insist_on_text(str(file), text)
        outputs = [Output(file, text, self.mode) for file, text in texts.items()]
        return Rendering(environment, outputs, reading.versions)

    def _environment(self, reading: Reading) -> dict[str, Sensitive]:
        environment = {name: reading.field(reference) for name, reference in self.variables.items()}
        for prefix, path in self.prefixes.items():
            fields = reading.secret(path).fields
            for name in fields:
                variable = prefix + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
                if variable in environment:
                    raise Invalid("give", variable, f"{path} is not the only one to give it", "Choose another prefix")
                environment[variable] = fields[name]
        for variable, text in environment.items():
            insist_on_text(variable, text)
            if "\0" in text.reveal():
                problem = "its value holds a null character, which no environment can"
                raise Invalid("give", variable, problem, "Give it as a file")
        return environment


def insist_on_text(name: str, text: Sensitive) -> None:
    try:
        text.reveal().encode()
    except UnicodeEncodeError:
        raise Invalid("give", name, "its value is no Unicode text", "Correct the secret") from None
