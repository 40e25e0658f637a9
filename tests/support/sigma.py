"""Sigma rules of this repository's pack, applied to records: the part of Sigma 2.1 that the pack uses.

No permissive and maintained evaluator in Python knows correlations. What a rule uses beyond this raises ValueError, so
that nothing passes by not being understood. Source: the Sigma specification (SigmaHQ/sigma-specification, public
domain), whose JSON schemas stand in ``sigma_schema``.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import yaml

Record = Mapping[str, Any]
Placeholders = Mapping[str, Sequence[str]]
Group = list[tuple[datetime, str]]
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class _Loader(yaml.SafeLoader):
    """YAML's plain values, but for dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if not tag.endswith("timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def documents(file: Path) -> list[dict[str, Any]]:
    """The rules of a file; dates are texts, as Sigma's schemas have them."""
    return list(yaml.load_all(file.read_text(), _Loader))


def values(record: Any, field: str) -> list[Any]:
    """What a record holds in a dotted field; of a list each element, of what is absent nothing."""
    for name in field.split("."):
        if not isinstance(record, Mapping) or name not in record:
            return []
        record = record[name]
    return list(record) if isinstance(record, list) else [record]


@dataclass
class Rule:
    """A rule on one record."""

    document: dict[str, Any]
    placeholders: Placeholders

    def matches(self, record: Record) -> bool:
        """Whether it is of this record."""
        detection = self.document["detection"]
        return Condition(detection["condition"]).holds(lambda name: self._all(detection[name], record), detection)

    def _all(self, selection: Any, record: Record) -> bool:
        if not isinstance(selection, dict):
            raise ValueError(f"a selection of fields is asked for, not {selection!r}")
        return all(self._field(key, wanted, record) for key, wanted in selection.items())

    def _field(self, key: str, wanted: Any, record: Record) -> bool:
        field, *modifiers = key.split("|")
        held = values(record, field)
        if modifiers == ["exists"]:
            return bool(held) is wanted
        texts = wanted if isinstance(wanted, list) else [wanted]
        if modifiers == ["expand"]:
            texts, modifiers = [text for name in texts for text in self._expanded(name)], []
        return any(compare(value, text, modifiers) for value in held for text in texts)

    def _expanded(self, name: str) -> Sequence[str]:
        return self.placeholders[name.strip("%")]


def compare(value: Any, text: Any, modifiers: list[str]) -> bool:
    """Whether a value is what a rule asks for; letters of either case are the same."""
    held, wanted = str(value).casefold(), str(text).casefold()
    match modifiers:
        case []:
            return fnmatchcase(held, wanted.replace("[", "[[]"))
        case ["startswith"]:
            return held.startswith(wanted)
        case ["contains"]:
            return wanted in held
        case ["cidr"]:
            address, network = ip_address(held), ip_network(wanted)
            return address.version == network.version and address in network
    raise ValueError(f"modifiers {modifiers} are not known here")


class Condition:
    """A condition of ``and``, ``or``, ``not`` and parentheses."""

    def __init__(self, text: str) -> None:
        self._words = re.findall(r"[()]|[^\s()]+", text)

    def holds(self, selected: Callable[[str], bool], names: Mapping[str, Any]) -> bool:
        """Whether it does, with what is selected."""
        words = list(self._words)
        result = self._either(words, selected, names)
        if words:
            raise ValueError(f"a condition goes on with {words}")
        return result

    def _either(self, words: list[str], selected: Callable[[str], bool], names: Mapping[str, Any]) -> bool:
        result = self._both(words, selected, names)
        while words and words[0] == "or":
            words.pop(0)
            result = self._both(words, selected, names) or result
        return result

    def _both(self, words: list[str], selected: Callable[[str], bool], names: Mapping[str, Any]) -> bool:
        result = self._one(words, selected, names)
        while words and words[0] == "and":
            words.pop(0)
            result = self._one(words, selected, names) and result
        return result

    def _one(self, words: list[str], selected: Callable[[str], bool], names: Mapping[str, Any]) -> bool:
        word = words.pop(0)
        if word == "not":
            return not self._one(words, selected, names)
        if word == "(":
            result = self._either(words, selected, names)
            if words.pop(0) != ")":
                raise ValueError("a parenthesis is not closed")
            return result
        if word not in names:
            raise ValueError(f"a condition names {word}, which is nothing")
        return selected(word)


@dataclass
class Correlation:
    """A rule on how many records match others within a time, for each group."""

    document: dict[str, Any]
    rules: list[Rule]

    def matches(self, records: Sequence[Record]) -> bool:
        """Whether any group has so many within the time."""
        correlation = self.document["correlation"]
        span = timedelta(**{UNITS[correlation["timespan"][-1]]: int(correlation["timespan"][:-1])})
        return any(self._full(group, span) for group in self._groups(records, correlation["group-by"]).values())

    def _groups(
        self, records: Sequence[Record], fields: list[str]
    ) -> dict[tuple[str, ...], list[tuple[datetime, str]]]:
        counted = self.document["correlation"]["condition"].get("field")
        groups: dict[tuple[str, ...], list[tuple[datetime, str]]] = defaultdict(list)
        for number, record in enumerate(records):
            if any(rule.matches(record) for rule in self.rules):
                key = tuple(str(values(record, field)) for field in fields)
                value = str(values(record, counted)) if counted else str(number)
                groups[key].append((datetime.fromisoformat(record["time"].rstrip("Z")[:26] + "+00:00"), value))
        return groups

    def _full(self, group: Group, span: timedelta) -> bool:
        """Slides over the times; a ``value_count`` counts what is distinct, an ``event_count`` each record."""
        correlation = self.document["correlation"]
        if correlation["type"] not in {"event_count", "value_count"}:
            raise ValueError(f"correlations of type {correlation['type']} are not known here")
        group = sorted(group)
        start = 0
        for end, (at, _) in enumerate(group):
            while group[start][0] <= at - span:
                start += 1
            if enough(len({value for _, value in group[start : end + 1]}), correlation["condition"]):
                return True
        return False


def enough(count: int, condition: Mapping[str, Any]) -> bool:
    """Whether a count is what a condition asks for."""
    compared: dict[str, bool] = {"gt": count > condition.get("gt", 0), "gte": count >= condition.get("gte", 0)}
    asked_for = condition.keys() - {"field"}
    if not asked_for or asked_for - compared.keys():
        raise ValueError(f"a condition of {sorted(condition)} is not known here")
    return all(compared[name] for name in asked_for)


class Pack:
    """All rules of a directory."""

    def __init__(self, directory: Path, placeholders: Placeholders) -> None:
        self._files = {file.name: documents(file) for file in sorted(directory.glob("*.yml"))}
        self._placeholders = placeholders

    def fired(self, records: Sequence[Record]) -> set[str]:
        """The files of which a rule is of these records; rules that others count are no alert."""
        return {name for name, rules in self._files.items() if any(self._alerts(rules, records))}

    def _alerts(self, rules: list[dict[str, Any]], records: Sequence[Record]) -> Iterator[bool]:
        named = {rule["name"]: Rule(rule, self._placeholders) for rule in rules if "name" in rule}
        for rule in rules:
            if "correlation" in rule:
                counted = [named[name] for name in rule["correlation"]["rules"]]
                yield Correlation(rule, counted).matches(records)
            elif "name" not in rule:
                yield any(Rule(rule, self._placeholders).matches(record) for record in records)
