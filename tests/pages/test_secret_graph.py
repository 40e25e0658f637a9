"""A secret's page: its contents, and that names are escaped."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keyturn.pages.dashboard import Level
from keyturn.pages.secret_graph import LOOK, MOST, Node, SecretGraph

NOW = datetime(2026, 11, 3, 20, 47, tzinfo=UTC)
GRAPH = SecretGraph(
    Node("ml-training/database", "version 12, 3 d old", Level.WELL),
    "alternating-users",
    "ml-postgres",
    [Node("aws:ml-db", "version 12, in sync", Level.WELL), Node("azure:ml-db", "failed", Level.BAD)],
    [Node("trainer", "notified", Level.WELL)],
    NOW,
    3,
    90,
    NOW.replace(month=12),
    "ml_trainer_a still works",
)


def drawn(graph: SecretGraph) -> list[str]:
    """The lines of the graph, without how it looks."""
    text = str(graph).partition(f"```mermaid\n{LOOK}\n")[2].partition("\n```")[0]
    return [line.strip() for line in text.splitlines() if "classDef" not in line]


def test_the_graph_joins_the_hub_to_the_target_each_copy_and_each_consumer() -> None:
    assert drawn(GRAPH) == [
        "flowchart LR",
        'hub[("ml-training/database<br/>version 12, 3 d old")]:::well',
        'target["ml-postgres<br/>alternating-users"]',
        "hub --- target",
        'hub --> c0["aws:ml-db<br/>version 12, in sync"]:::well',
        'hub --> c1["azure:ml-db<br/>failed"]:::bad',
        'hub -.-> a0["trainer<br/>notified"]:::well',
    ]
    facts = str(GRAPH).partition("```")[0]
    assert "As of 2026-11-03 20:47 UTC" in facts
    assert "- Age: 3 of 90 days\n- Next rotation: 2026-12-03 20:47 UTC" in facts
    assert re.findall(r"^- (?:Copy|Consumer).*", facts, re.M) == ["- Copy azure:ml-db: failed"]


@pytest.mark.parametrize("name", ['x"]; click hub href "javascript:alert(1)"', "a```b", "`*_[x](y)_*`", "#quot;<br/>"])
@pytest.mark.attack
def test_a_name_is_text_and_nothing_more(name: str) -> None:
    evil = Node(name, name, Level.BAD)
    page = str(replace(GRAPH, hub=evil, target=name, copies=[evil], consumers=[evil], previous=name))
    assert page.count("```") == 2, "the graph ends where it should"
    for line in drawn(replace(GRAPH, hub=evil, target=name, copies=[evil], consumers=[evil])):
        label = re.search(r'"(.*)"', line)
        texts = label[1].replace("<br/>", "") if label else ""
        assert re.fullmatch(r"([A-Za-z0-9 _./:,@=+-]|#\d+;)*", texts), line
        assert not label or line.count('"') == 2
    facts = page.partition("```")[0]
    assert not re.search(r"(?<!\\)[`\[\]<>*]", facts)


def test_of_many_copies_the_first_are_drawn_and_the_rest_counted() -> None:
    many = [Node(f"aws:{number}", "in sync", Level.WELL) for number in range(MOST + 7)]
    lines = drawn(replace(GRAPH, copies=many))
    assert sum(" --> " in line for line in lines) == MOST + 1
    assert 'hub --> cmore["7 more"]' in lines
