"""Every mistake is found, at its place, all of them at once, and no value is ever quoted."""

import os
import pickle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.catalogue import CatalogueInvalid, Problem, find_problems, load_catalogue
from keyturn.catalogue.operator.policy import VARIABLE
from tests.support import sampling

BROKEN = Path(__file__).parent / "broken"
CATALOGUES = sorted(path.name for path in BROKEN.iterdir())
ENV = {"KEYTURN_EMPTY": "", "KEYTURN_WORD": "many"}
JARGON = ("input should", "pydantic", "field required", "extra inputs")


@pytest.fixture(autouse=True, scope="module")
def operated() -> None:
    """The operator of the tests lets catalogues name files."""
    ENV[VARIABLE] = os.environ[VARIABLE]


def said(problem: Problem, directory: Path) -> str:
    """One line as in expected.txt; files are named without their directory."""
    file = Path(problem.file).name
    remedy = problem.remedy.replace(f"{directory}/", "")
    return f"{file}:{problem.line} | {problem.where} | {problem.message} | {remedy}"


@pytest.mark.parametrize("name", CATALOGUES)
def test_a_broken_catalogue_gives_exactly_the_expected_problems(name: str) -> None:
    found = [said(problem, BROKEN / name) for problem in find_problems(BROKEN / name, ENV)]
    assert found == (BROKEN / name / "expected.txt").read_text().splitlines()


@pytest.mark.parametrize("name", CATALOGUES)
def test_a_broken_catalogue_is_not_loaded_and_the_error_holds_every_problem(name: str) -> None:
    with pytest.raises(CatalogueInvalid) as caught:
        load_catalogue(BROKEN / name, ENV)
    problems = find_problems(BROKEN / name, ENV)
    assert list(caught.value.problems) == problems
    assert all(str(problem) in str(caught.value) for problem in caught.value.shown)
    assert caught.value.count in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems  # noqa: S301


@pytest.mark.parametrize("name", CATALOGUES)
def test_no_message_quotes_what_may_be_a_password(name: str) -> None:
    problems = find_problems(BROKEN / name, ENV)
    assert not [problem for problem in problems if "hunter2" in problem.message + problem.remedy]


@pytest.mark.parametrize("name", CATALOGUES)
def test_no_message_speaks_the_validators_language(name: str) -> None:
    for problem in find_problems(BROKEN / name, ENV):
        text = f"{problem.message} {problem.remedy}".lower()
        assert not [words for words in JARGON if words in text]
        assert problem.remedy


def only(problems: list[Problem]) -> Problem:
    """The one problem there is."""
    assert len(problems) == 1, problems
    return problems[0]


def test_a_missing_directory_is_a_problem_with_a_remedy(tmp_path: Path) -> None:
    problem = only(find_problems(tmp_path / "nowhere", {}))
    assert (problem.file, problem.line) == (str(tmp_path / "nowhere"), 0)
    assert "No such file" in problem.message
    assert "*.yaml" in problem.remedy


def test_a_file_given_as_directory_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "stores.yaml").write_text("stores: {}\n")
    assert "Not a directory" in only(find_problems(tmp_path / "stores.yaml", {})).message


def test_a_directory_without_yaml_files_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    assert "no *.yaml file" in only(find_problems(tmp_path, {})).message


def test_a_file_that_can_not_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    assert "can't be read" in only(find_problems(tmp_path, {})).message


def test_a_file_that_is_not_utf_8_is_a_problem_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("stores: {}\n# Schl\u00fcssel\n".encode("latin-1"))
    problem = only(find_problems(tmp_path, {}))
    assert (problem.line, problem.message) == (2, "the file is not UTF-8")


def test_a_control_character_is_a_problem_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "bell.yaml").write_text("stores: {}\n\ntargets: '\x07'\n")
    problem = only(find_problems(tmp_path, {}))
    assert (problem.line, problem.message) == (3, "a control character (U+0007)")


@pytest.mark.parametrize("opening", ["[", "{a: "])
def test_absurd_nesting_is_a_problem_and_no_crash(tmp_path: Path, opening: str) -> None:
    (tmp_path / "deep.yaml").write_text(f"stores: {opening * 20_000}\n")
    assert only(find_problems(tmp_path, {})).remedy


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "marked.yaml").write_bytes(b"\xef\xbb\xbfstores: {}\n")
    assert find_problems(tmp_path, {}) == []


def test_hidden_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "stores.yaml").write_text("stores: {}\n")
    (tmp_path / ".#stores.yaml").write_text("\tnot yaml")
    assert find_problems(tmp_path, {}) == []


def test_the_value_of_a_variable_is_never_quoted(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(
        'stores: {aws: {kind: aws-secrets-manager, region: "${KEYTURN_VALUE}"}}\n'
        'targets: {db: {kind: postgresql, host: a, port: "${KEYTURN_VALUE}", database: b,'
        ' admin: "/${KEYTURN_VALUE}"}}\n'
        'consumers: {app: {url: "${KEYTURN_VALUE}", signing_key: a, timeout: "${KEYTURN_VALUE}"}}\n'
    )
    problems = find_problems(tmp_path, {"KEYTURN_VALUE": "correct horse"})
    assert len(problems) == 5
    assert not [problem for problem in problems if "horse" in str(problem)]


def test_a_problem_reads_as_one_line_that_leads_to_its_place() -> None:
    problem = Problem("catalogue/a.yaml", 7, "secrets.app/key.owner", "is missing", "Add it.")
    assert str(problem) == "catalogue/a.yaml:7: secrets.app/key.owner: is missing. Add it."
    assert str(Problem("catalogue", 0, "", "is empty", "Fill it.")) == "catalogue: is empty. Fill it."


SCALARS = st.sampled_from(
    [None, True, 3, 1.5, "", "app", "30d", "${A}", "[", "generated", "aws-secrets-manager", "\u00fc"]
)
KEYS = st.sampled_from(
    ["stores", "secrets", "aws", "app/key", "kind", "rotation", "strategy", "fields", "window", "users", "store", "x"]
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A sound catalogue in which some values have been replaced by others."""
    catalogue = {
        "stores": {"aws": {"kind": "aws-secrets-manager", "region": "eu-central-1"}},
        "targets": {"db": {"kind": "postgresql", "host": "db", "database": "app", "admin": "targets/db"}},
        "consumers": {"app": {"url": "https://app.example.com", "signing_key": "webhooks/app"}},
        "secrets": {
            "app/db": {
                "owner": "app@example.com",
                "classification": "internal",
                "rotation": {
                    "strategy": draw(
                        st.sampled_from(["alternating-users", "single-user", "vault-dynamic", "generated"])
                    ),
                    "target": "db",
                    "users": ["a", "b"],
                    "fields": {"value": {"form": "hex"}},
                    "window": {"days": ["mon"], "from": "02:00", "to": "05:00", "timezone": "UTC"},
                    "interval": "30d",
                    "grace": "1h",
                },
                "destinations": [{"store": "aws", "name": "app-db"}],
                "consumers": ["app"],
            }
        },
    }
    for _ in range(draw(st.integers(1, 3))):
        place: Any = catalogue
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or draw(st.integers(0, 2)) == 0:
                place[key] = draw(ANYTHING)
                break
            place = place[key]
    return catalogue


def found_in(raw: bytes) -> list[Problem]:
    """The problems of a catalogue of one file."""
    with TemporaryDirectory() as directory:
        (Path(directory) / "all.yaml").write_bytes(raw)
        return find_problems(Path(directory), {})


@settings(max_examples=sampling.examples(60, 300))
@given(mutated())
def test_whatever_stands_in_a_file_is_a_problem_with_a_line_and_never_a_crash(data: Any) -> None:
    for problem in found_in(yaml.safe_dump(data).encode()):
        assert problem.line > 0
        assert problem.message
        assert problem.remedy


@given(st.binary(max_size=200) | st.text(alphabet="a:-[]{}&*!|>'\"%@`#,?\n \t<~1").map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    found_in(raw)
