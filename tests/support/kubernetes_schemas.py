"""Kubernetes' own published schemas, which the package kubernetes-validate carries: each is read once."""

import re
from functools import cache
from typing import Any, Final

from jsonschema import Draft202012Validator
from kubernetes_validate.utils import all_versions, major_minor, schema_contents
from referencing import Registry, Resource

VERSIONS: Final = ("1.29", major_minor(all_versions()[-1]))
"""The oldest that the chart says it is for, and the newest that is known here."""


@cache
def _definitions(version: str) -> Registry[Any]:
    return Resource.from_contents(schema_contents(f"{_folder(version)}/_definitions.json", version)) @ Registry()


def _folder(version: str) -> str:
    newest = [each for each in all_versions() if major_minor(each) == version][-1]
    return f"kubernetes-json-schema/v{newest}-local-strict"


@cache
def _validator(version: str, api_version: str, kind: str) -> Draft202012Validator:
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    schema = schema_contents(f"{_folder(version)}/{kind.lower()}-{group}.json", version)
    return Draft202012Validator(schema, registry=Resource.from_contents(schema) @ _definitions(version))


def problems(document: dict[str, Any]) -> list[str]:
    """What the schemas of ``VERSIONS`` have against an object; a field that they don't know, too."""
    return [
        f"{version}: {'.'.join(map(str, error.absolute_path))}: {error.message}"
        for version in VERSIONS
        for error in _validator(version, document["apiVersion"], document["kind"]).iter_errors(document)
    ]
