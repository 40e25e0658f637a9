"""The fields of the forms in the Prefect UI."""

from typing import Any

from pydantic import Field


def form(title: str, description: str, **more: Any) -> Any:
    return Field(json_schema_extra={"title": title, "description": description}, **more)
