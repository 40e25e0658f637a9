"""Each recipe, stopped at every request, robbed of every answer, and with every request sent twice."""

from collections import Counter
from collections.abc import Iterator

import pytest

from keyturn.core.errors import CredentialLost, Invalid, KeyturnError, TransientError
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from keyturn.strategies.registry import STRATEGIES
from local.emulators.recipes.exchanges import Exchanges
from local.emulators.recipes.play import PLAYERS
from tests.crash.kinds import KINDS
from tests.crash.matrix import KILLED, LOST, REPEATED, Case, Result, Row
from tests.crash.site import Site
from tests.recipes.kind import LIBRARY, RecipeKind, mechanism_of, plain, rows
from tests.support.lab import Declared, Lab
from tests.support.sampling import deep, sample

NAMES = rows()
PER_COMMIT = 3
"""So many recipes are tried with a commit, of different mechanisms, each at some of its requests."""
ONE_IN = 4
MAY_LEAVE = 3
"""A key may be left by the request that creates it alone: killed after it, its answer lost, and sent twice."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with Site(lab) as made:
        yield made


@pytest.mark.sampled(-(-len(NAMES) // PER_COMMIT))
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_loses_no_value_and_leaves_no_orphan(site: Site, name: str) -> None:
    results: list[Result] = []
    row = RecipeRow(site, RecipeKind(name))
    cases = [case for case in row.cases() if is_request(case)]
    cases += [Case(REPEATED, case.number, case.place) for case in cases if case.how == LOST]
    row.run([case for how in (KILLED, LOST, REPEATED) for case in chosen(name, how, cases)], results.append)
    print(mechanism_of(name), dict(Counter(result.case.how for result in results)))  # noqa: T201
    assert [(one.case, one.problems) for one in results if one.problems] == []
    assert {result.case.how for result in results} == {KILLED, LOST, REPEATED}
    if deep() and row.kind.recipe.facts.orphan:
        assert row.kind.orphans, "the recipe states an orphan, and no case leaves one"
    if mechanism_of(name) == "http-api-key":
        assert len(row.kind.orphans) <= MAY_LEAVE, "other requests than the one that creates a key leave one"


def chosen(name: str, how: str, cases: list[Case]) -> list[Case]:
    return sample(f"{how}: {name}", [case for case in cases if case.how == how], ONE_IN)


def is_request(case: Case) -> bool:
    """Whether it stops the rotation at a request to the service: at its boundary, or at its answer."""
    return "HttpApi." in case.place or "recipe" in case.place


class RecipeRow(Row):
    """A token whose successor was in a lost answer is replaced by a person, as the recipe says."""

    kind: RecipeKind

    def _finished(self, workspace: Workspace, secret: Declared) -> Iterator[str]:
        if not isinstance(self.kind.service, Exchanges) or self.kind.recipe.facts.orphan is None:
            yield from super()._finished(workspace, secret)
            return
        # Like that of any row, and a person steps in where the answer with the successor is lost.
        for _ in range(2):
            current = workspace.hub.read(secret.path)
            assert current is not None
            try:
                rotate(workspace, secret.path)
            except TransientError:
                continue
            except KeyturnError as error:
                yield from self._replaced(workspace, secret, current.fields, error)
            break
        retire(workspace, secret.path)

    def _replaced(
        self, workspace: Workspace, secret: Declared, current: SecretFields, error: KeyturnError
    ) -> Iterator[str]:
        """A person makes a token and writes it into the secret; the next rotation exchanges that."""
        service = self.kind.service
        assert isinstance(service, Exchanges)
        if not isinstance(error, Invalid | CredentialLost) or "by hand" not in error.hint:
            yield f"the next run failed without a way out: {error}"
        # Where `test` tries another token than the exchanged one, no one can know whether it was exchanged.
        if service.dies_at_once and not service.spent(plain(current)):
            yield f"CURRENT was never exchanged, and given up: {error}"
        made = self.kind.replace_by_hand(secret.path)
        info = workspace.hub.read(secret.path)
        assert info is not None
        workspace.hub.write(secret.path, info.fields.merged(made), cas=info.version)
        if rotate(workspace, secret.path, Trigger.FORCE).state is not RunState.ROTATED:
            yield "the rotation after the recovery did not succeed"

    def _problems(self, workspace: Workspace, secret: Declared) -> Iterator[str]:
        recovered = workspace.hub.read(secret.path)
        if recovered is None or recovered.version != self.kind.version + 1:
            yield from super()._problems(workspace, secret)
            return
        record = load_record(workspace, secret.path)
        if record.rotation or record.candidate:
            yield f"the record is not closed: {record.rotation}"
        yield from self.kind.left(self.site, secret, SecretFields(recovered.fields))


def test_every_recipe_is_covered_by_this_matrix_or_by_the_row_of_its_strategy() -> None:
    strategies = {kind.name.partition(",")[0] for kind in KINDS}
    assert strategies | {"manual"} == set(STRATEGIES)
    played = {name for name, recipe in LIBRARY.items() if recipe.strategy in PLAYERS}
    # A rotation by hand is none of Keyturn's: there is nothing to stop.
    others = {name for name, recipe in LIBRARY.items() if recipe.strategy in strategies | {"manual"}}
    assert played | others == set(LIBRARY)
    assert {name.removesuffix(" in place") for name in NAMES} == played
