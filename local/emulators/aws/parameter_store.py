"""moto's Parameter Store, held to what AWS documents where a client that relies on it would notice.

Sources: "PutParameter" in the AWS Systems Manager API reference, "Managing parameter tiers" in its user guide.
A value's size is counted in bytes here, which no value that AWS refuses passes.
"""

import re
from types import ModuleType
from typing import Any, Final

from moto.ssm import urls
from moto.ssm.exceptions import ValidationException
from moto.ssm.models import Parameter, SimpleSystemManagerBackend, ssm_backends

STANDARD: Final = "Standard"
ADVANCED: Final = "Advanced"
MAX_BYTES: Final = {STANDARD: 4_096, ADVANCED: 8_192}
NESTED: Final = re.compile(r"\{\{.*\}\}", re.DOTALL)


class ParameterStore(SimpleSystemManagerBackend):
    """One region's parameters of one account."""

    @property
    def _url_module(self) -> ModuleType:
        # moto finds the addresses beside the class's own module, which here is not moto's.
        return urls

    def put_parameter(
        self,
        name: str,
        description: str,
        value: str,
        parameter_type: str,
        allowed_pattern: str,
        keyid: str,
        overwrite: bool,
        tags: list[dict[str, str]],
        data_type: str,
        tier: str | None,
        policies: str | None,
    ) -> Parameter:
        """PutParameter: sizes and tiers; values that refer to other parameters are refused."""
        if NESTED.search(value or ""):
            raise ValidationException("Parameter value can't nest another parameter. Do not use {{}} in the value.")
        existing = self.get_parameter(name) if name in self._parameters else None
        settled = _settled(tier or self.default_parameter_tier, existing, len((value or "").encode()))
        return super().put_parameter(
            name,
            description,
            value,
            parameter_type,
            allowed_pattern,
            keyid,
            overwrite,
            tags,
            data_type,
            settled,
            policies,
        )

    def describe_parameters(
        self, filters: list[dict[str, Any]], parameter_filters: list[dict[str, Any]]
    ) -> list[Parameter]:
        """DescribeParameters: one parameter by its name costs one look, so that ten thousand are found in seconds."""
        if not filters and len(parameter_filters or ()) == 1 and _by_name(parameter_filters[0]):
            parameters = (self.get_parameter(name) for name in parameter_filters[0]["Values"])
            return [parameter for parameter in parameters if parameter]
        return super().describe_parameters(filters, parameter_filters)


def install() -> None:
    """Make this class the one that answers, in every account and region; call it before the first request."""
    ssm_backends.backend = ParameterStore


def _by_name(condition: dict[str, Any]) -> bool:
    return (
        condition["Key"] == "Name" and condition.get("Option", "Equals") == "Equals" and bool(condition.get("Values"))
    )


def _settled(tier: str, existing: Parameter | None, size: int) -> str:
    """The tier that the parameter gets; raises ValidationException where AWS refuses it."""
    advanced = existing is not None and existing.tier == ADVANCED
    if tier == "Intelligent-Tiering":
        tier = ADVANCED if advanced or size > MAX_BYTES[STANDARD] else STANDARD
    if tier == STANDARD and advanced:
        raise ValidationException(
            "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the "
            "advanced-parameter tier to the standard-parameter tier. If necessary, you can delete the advanced "
            "parameter and recreate it as a standard parameter."
        )
    if size > MAX_BYTES.get(tier, size):
        raise ValidationException(f"{tier} tier parameters support a maximum parameter value of {MAX_BYTES[tier]}.")
    return tier
