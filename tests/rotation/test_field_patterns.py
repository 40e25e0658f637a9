"""A rotation of a secret with a copy for each of its fields."""

import pytest

from keyturn.core.errors import Invalid
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.copies.push import look_at_copies
from keyturn.rotation.run import rotate
from tests.support.lab import Declared, Lab, Opened


@pytest.fixture
def secret(lab: Lab) -> Declared:
    """A generated value beside two other fields."""
    return lab.generated(destinations=[{"store": "memory", "name": "x-{field}", "each_field": "*", "case": "lower"}])


@pytest.fixture
def opened(lab: Lab, secret: Declared) -> Opened:
    return lab.open(secret)


def write_beside(lab: Lab, secret: Declared, **fields: str) -> None:
    """What somebody writes beside the value, in a version of its own."""
    info = lab.hub.describe(secret.path)
    plain = {**lab.current(secret), **fields}
    lab.hub.write(secret.path, SecretFields(plain), cas=info.version if info else 0)


def test_it_pushes_each_field_and_its_end_looks_at_each(lab: Lab, secret: Declared, opened: Opened) -> None:
    write_beside(lab, secret, more="m")
    outcome = rotate(opened.workspace, secret.path, Trigger.FORCE)
    current = lab.current(secret)
    assert {pushed.name for pushed in outcome.destinations} == {f"x-{name}" for name in current}
    assert opened.store.read("x-value").reveal() == current["value"]
    copies = look_at_copies(opened.workspace, secret.path)
    assert len(copies) == len(current)
    assert all(copy.in_step for copy in copies)


def test_it_does_not_begin_where_two_fields_would_have_one_copy(lab: Lab, secret: Declared, opened: Opened) -> None:
    write_beside(lab, secret, Value="other")
    before = lab.current(secret)
    with pytest.raises(Invalid, match="the field Value and the field value would both be called memory:x-value"):
        rotate(opened.workspace, secret.path, Trigger.FORCE)
    assert lab.current(secret) == before
    assert list(opened.store.list_all()) == []
