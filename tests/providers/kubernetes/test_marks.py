"""Changing only a Secret's marks does not look like a change to its pods."""

from dataclasses import replace

import pytest

from keyturn.core.ports.stores import OwnershipTags
from keyturn.providers.kubernetes.marks import MENDED, KubernetesSecret

FIRST, SECOND, THIRD = (OwnershipTags("a/b", 1, digit * 64) for digit in "abc")


def anew(secret: KubernetesSecret, marks: OwnershipTags) -> KubernetesSecret:
    """The Secret as it is read after it was marked so."""
    laid = secret.marked_anew(marks)
    return replace(secret, marks=marks, mended=(laid[MENDED] or "") if MENDED in laid else secret.mended)


@pytest.mark.parametrize(
    "more", [{}, {"mended": f"{'a' * 12}-77"}, {"restart_for": f"{'a' * 12}-78"}, {"mended": f"{'0' * 12}-7"}]
)
def test_its_content_is_what_it_was(more: dict[str, str]) -> None:
    secret = KubernetesSecret("name", "1", FIRST, **more)  # type: ignore[arg-type]
    second = anew(secret, SECOND)
    assert second.content == secret.content
    assert anew(second, SECOND) == second
    assert anew(second, THIRD).content == secret.content
    assert anew(anew(second, THIRD), FIRST).content == secret.content


def test_pods_that_were_restarted_for_it_meanwhile_have_it_afterwards() -> None:
    secret = anew(KubernetesSecret("name", "1", FIRST, restart_for=f"{'a' * 12}-78"), SECOND)
    mended = secret.restarted["annotations"][MENDED]
    assert replace(secret, restart_for="", mended=mended).content == secret.content


def test_another_value_is_another_content() -> None:
    secret = anew(KubernetesSecret("name", "1", FIRST), SECOND)
    assert replace(secret, marks=THIRD).content != secret.content
