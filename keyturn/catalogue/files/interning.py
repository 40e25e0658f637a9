"""Shares equal parts of secrets, which saves half of the time and a third of the memory."""

import json
from dataclasses import replace
from typing import Any, cast

from keyturn.catalogue.files.environment import Expanded
from keyturn.catalogue.files.explain import check_entry
from keyturn.catalogue.files.problems import Problem
from keyturn.catalogue.models import Secret, SecretDeclaration
from keyturn.settings.fields import Model


class Alike:
    def __init__(self) -> None:
        self._rotations: dict[str, Any] = {}
        self._fields: dict[frozenset[str], set[str]] = {}

    def check(self, expanded: Expanded) -> tuple[Model | None, list[Problem]]:
        data = expanded.entry.data
        written = json.dumps(data.get("rotation"), sort_keys=True) if isinstance(data, dict) else ""
        if written in self._rotations:
            alike = expanded.entry.holding({**data, "rotation": self._rotations[written]})
            model, problems = check_entry(replace(expanded, entry=alike))
            if model is not None:
                return model, problems
        # Problems must refer to the entry as written.
        model, problems = check_entry(expanded)
        if model is not None:
            self._rotations[written] = cast(SecretDeclaration, model).rotation
        return model, problems

    def share(self, secret: Secret) -> Secret:
        for model in (secret, *secret.pushed_to):
            fields = model.model_fields_set
            object.__setattr__(model, "__pydantic_fields_set__", self._fields.setdefault(frozenset(fields), fields))
        return secret
