"""The report of an incident: what it says and in which order, in all three forms; and that names stay text in each."""

import json
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from keyturn.access_log.readers import LogRead, PathReaders, Readers, Related, SecretReader
from keyturn.core.errors import Unavailable
from keyturn.core.text.plain_text import visible
from keyturn.pages.words import lasted, ranges
from keyturn.revocation.incidents.incident import (
    Event,
    IncidentStatus,
    LeakedVersion,
    Mode,
    Result,
    SecretProgress,
    Step,
)
from keyturn.revocation.proof import Check, CheckAnswer, CheckSubject
from keyturn.revocation.report import LedgerFacts, model, to_data, to_html, to_markdown, write_report
from keyturn.revocation.report.render import environment
from tests.revocation.incidents import (
    AWS,
    AZURE,
    OLD,
    PATH,
    TRIGGER,
    after,
    digest,
    proven,
    readers,
    silence,
    standing,
    stuck,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "incident-report.md"
VOID = {"meta", "wbr"}
CHECKPOINT = "keyturn/demo\n170\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— keyturn/demo Az3grlgtzP=\n"
FACTS = LedgerFacts((120, 121, 122, 170), CHECKPOINT)


class Page(HTMLParser):
    """A page taken apart: its text, its tags, every attribute; tags that are not closed in their order are an error."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: dict[str, set[str]] = {}
        self.said: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.said).split())


def parsed(markdown: str) -> list[Token]:
    """A document's tokens, those within lines too."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    return [one for token in tokens for one in (token, *(token.children or ()))]


def shown(markdown: str) -> str:
    """A document as it is read, without its markup."""
    return "".join(token.content for token in parsed(markdown) if token.type in ("text", "code_inline", "fence"))


def in_order(text: str, *parts: str) -> None:
    """Each part stands in the text, after the one before it."""
    place = 0
    for part in parts:
        found = text.find(part, place)
        assert found >= 0, f"{part!r} is not there, or too early"
        place = found + len(part)


# --- what it says ------------------------------------------------------------------------------------------


ORDER = (
    "INC-1",
    "Open: 1 thing is left to do.",
    "sync the copy: azure:ml-database-credentials: the service does not answer",
    "The target has refused the old credential of ml-training/database since 0.431 s after the trigger.",
    "3 sessions were ended.",
    "A new credential is in force",
    "It is not proven yet that every copy is clear",
    "An old value remains where the service can't remove it",
    "1 principal other than Keyturn's logins has read it",
    "The logs have gaps",
    "leaked in a log",
    "ana@example.com",
    "path ml-training/database",
    "2026-11-25 03:12:04.120",
    "What a service can't remove",
    "AWS deletes version 7 by itself",
    "Who read it",
    "1,204,332 lines",
    "3 of its lines could not be read",
    "it is away",
    "approle trainer",
    "203.0.113.9 (10)",
    "unknown token",
    "Keyturn's own logins",
    "approle keyturn-worker",
    "ml-training/object-store",
    "41 other secrets",
    "How it was proven",
    "not proven yet",
    "Timeline",
    "2026-11-25 03:12:04.532",
    "every credential of it is ended, 3 sessions ended",
    "keyturn ledger verify",
    "120 to 122, 170",
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
)


def test_the_page_says_everything_and_what_is_left_first() -> None:
    in_order(Page(to_html(standing(stuck()), readers(PATH), FACTS)).text, *ORDER)


def test_the_markdown_says_the_same_in_the_same_order() -> None:
    in_order(shown(to_markdown(standing(stuck()), readers(PATH), FACTS)), *ORDER)


@pytest.mark.parametrize("form", [to_html, to_markdown])
def test_a_closed_incident_says_how_it_was_proven(form: Callable[..., str]) -> None:
    made = form(standing(proven()), readers(PATH))
    text = Page(made).text if form is to_html else shown(made)
    in_order(
        text,
        "Closed, and proven: nothing is left to do.",
        "the search was over 4.900 s after the trigger",
        "refused at 2026-11-25 03:12:04 UTC",
        "it gives none of the versions 6 to 7",
        "AWS deletes version 7 by itself",
    )
    assert "not proven yet" not in text


def test_every_place_tells_when_it_had_the_new_value_and_when_the_old_ones_went() -> None:
    (secret,) = to_data(standing(stuck()), silence())["secrets"]
    told = {one["place"]: (one["replaced_seconds"], one["removed_seconds"], one["state"]) for one in secret["places"]}
    assert told == {"hub": (0.9, 1.9, "removed"), AWS: (1.1, 2.2, "remains"), AZURE: (None, None, "failed")}
    assert [one["said"] for one in secret["places"]] == [
        "",
        "AWS deletes version 7 by itself",
        "the service does not answer",
    ]


def test_places_are_clear_once_the_secret_is_proven_but_for_what_remains() -> None:
    (secret,) = to_data(standing(proven()), silence())["secrets"]
    assert {one["place"]: one["state"] for one in secret["places"]} == {"hub": "clear", AWS: "remains", AZURE: "clear"}
    assert secret["clear_seconds"] == 4.9
    assert secret["steps_missing"] == []


def test_a_step_that_failed_after_it_was_done_is_not_told_as_done() -> None:
    again = Event(after(9), Step.PUSH, Result.FAILED, AWS, "somebody else's")
    (secret,) = to_data(standing(replace(stuck(), remains=(), events=(*stuck().events, again))), silence())["secrets"]
    aws = next(one for one in secret["places"] if one["place"] == AWS)
    assert (aws["replaced_at"], aws["state"], aws["said"]) == (None, "failed", "somebody else's")


def test_fingerprints_have_twelve_digits_everywhere() -> None:
    case = standing(proven())
    for made in (to_html(case, silence()), to_markdown(case, silence()), json.dumps(to_data(case, silence()))):
        assert digest(7)[:12] in made
        assert digest("aws 7")[:12] in made
        assert digest(8)[:12] in made
        assert not re.search(r"[0-9a-f]{13}", made)


def test_a_credential_that_is_not_ended_is_shouted() -> None:
    known = SecretProgress(PATH, "postgresql", left=("cut: ml-postgres: the service does not answer",))
    text = Page(to_html(standing(known), silence())).text
    in_order(
        text,
        "Open: 1 thing",
        "end the credential: ml-postgres",
        "STILL VALID: the old credential of ml-training/database",
    )
    assert "has refused" not in text


def test_where_nothing_could_be_tried_it_does_not_say_that_it_was_refused() -> None:
    said = "ended there, and not seen to be refused"
    untried = Check(CheckSubject.TARGET, "ml-postgres", CheckAnswer.IRREVOCABLE, said)
    text = Page(to_html(standing(replace(proven(), refused_at=None, checks=(untried,))), silence())).text
    assert "Closed, and not proven: 1 thing remains." in text
    assert "Not seen to be refused by a target" in text
    assert said in text
    assert "has refused" not in text


def test_without_a_replacement_it_says_who_is_cut_off() -> None:
    done = (Step.CUT, Step.NOTIFY, Step.HUB, Step.FORGET, Step.PROVE)
    alone = replace(proven(), version=0, fingerprint="", done=done)
    text = Page(to_html(standing(alone, mode=Mode.REVOKE_ONLY), silence())).text
    assert "Nothing new was made: who needs it is cut off until a person rotates the secret." in text
    assert to_data(standing(alone, mode=Mode.REVOKE_ONLY), silence())["secrets"][0]["replacement"] is None


def test_what_outlives_the_credential_is_told_at_the_top_and_by_name() -> None:
    known = replace(proven(), outlives=("the console session of ana works until it ends",))
    in_order(
        Page(to_html(standing(known), silence())).text,
        "Something that was given out on the old credential works on: ml-training/database.",
        "What works on although the credential is ended",
        "the console session of ana works until it ends",
    )


def test_an_open_incident_where_nothing_failed_says_which_steps_are_to_come() -> None:
    begun = replace(stuck(), left=(), done=(Step.CUT,))
    data = to_data(standing(begun, closed_at=None), silence())
    assert data["state"] == "open"
    assert data["left"] == [
        f"{PATH}: not done yet: make a new one, sync the copy, notify the consumer, destroy old versions, "
        "remove old versions, prove"
    ]
    done = to_data(standing(proven(), closed_at=None), silence())
    assert done["left"] == ["the last look at everything has not been taken"]


def test_the_incidents_own_events_and_what_is_left_of_it_are_told() -> None:
    events = (
        Event(after(4), Step.PROVE, Result.FAILED, "database/creds/ml/1", "the lease is not ended", "Unavailable"),
    )
    case = standing(proven(), events=events, left=("prove: lease 1",), leases=("database/creds/ml/1",), closed_at=None)
    data = to_data(case, silence())
    assert data["left"] == ["prove: lease 1"]
    lease = next(one for one in data["timeline"] if one["place"] == "database/creds/ml/1")
    assert (lease["secret"], lease["result"], lease["kind"], lease["seconds"]) == ("", "failed", "Unavailable", 4.0)


def test_the_timeline_is_in_order_and_to_the_millisecond() -> None:
    lines = to_data(standing(proven()), silence())["timeline"]
    assert [one["at"] for one in lines] == sorted(one["at"] for one in lines)
    assert lines[0] == {
        "at": "2026-11-25T03:12:04.120Z",
        "seconds": 0.0,
        "secret": "",
        "step": "incident",
        "place": "",
        "result": "done",
        "said": "asked for by ana@example.com",
        "kind": "",
    }
    assert lines[-1]["said"] == "the incident is closed"
    assert len(lines) == 3 + len(proven().events)


# --- who read it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logs", "said"),
    [
        ((), "No access log was given, so who has read it is not known."),
        ((LogRead("audit.log", failed="it is away"),), "No access log could be read, so who has read it is not known."),
    ],
)
def test_without_a_log_it_does_not_say_that_nobody_read_it(logs: tuple[LogRead, ...], said: str) -> None:
    told = replace(silence(), paths=(PathReaders(PATH),), logs=logs)
    for text in (Page(to_html(standing(proven()), told)).text, shown(to_markdown(standing(proven()), told))):
        assert said in text
        assert "name nobody" not in text


def test_with_a_log_it_names_the_secrets_that_nobody_is_told_to_have_read() -> None:
    told = replace(silence(), paths=(PathReaders(PATH),), logs=(LogRead("audit.log"),))
    for text in (Page(to_html(standing(proven()), told)).text, shown(to_markdown(standing(proven()), told))):
        assert "0 principals other than Keyturn's logins have read it" in text
        assert "The logs name nobody who read: ml-training/database" in text


def test_reads_by_keyturn_are_listed_with_their_sources_and_marked_in_the_data() -> None:
    data = to_data(standing(proven()), readers(PATH))
    own = [one for one in data["readers"]["principals"] if one["own"]]
    assert [(one["principal"], one["sources"]) for one in own] == [
        ("approle keyturn-worker", [{"name": "10.0.0.5", "count": 168}])
    ]
    in_order(
        Page(to_html(standing(proven()), readers(PATH))).text,
        "Keyturn's own logins",
        "An address that is not Keyturn's means that its login was stolen.",
        "10.0.0.5 (168)",
    )


def test_many_logins_are_cut_short_for_people_and_whole_in_the_data() -> None:
    logins = tuple((f"{number:08x}", 1) for number in range(8_640))
    reader = SecretReader("hub", "approle trainer", 8_640, 0, TRIGGER, TRIGGER, logins=logins)
    told = replace(silence(), paths=(PathReaders(PATH, (reader,)),), logs=(LogRead("audit.log"),))
    assert "and 8,632 more" in Page(to_html(standing(proven()), told)).text
    assert "and 8,637 more" in shown(to_markdown(standing(proven()), told))
    assert len(to_data(standing(proven()), told)["readers"]["principals"][0]["logins"]) == 8_640


# --- nothing, and a lot ------------------------------------------------------------------------------------


@pytest.mark.parametrize("open_", [True, False])
def test_a_report_without_any_data_is_a_report(open_: bool) -> None:
    nothing = standing(closed_at=None if open_ else after(1), selector="lease prefix database/creds/ml")
    in_order(Page(to_html(nothing, silence())).text, "Open: 1 thing" if open_ else "Closed", "No secret was chosen")
    assert "# Incident INC" in to_markdown(nothing, silence())
    assert to_data(nothing, silence())["time_to_revoke"] == {
        "secrets": 0,
        "refused": 0,
        "refused_seconds": None,
        "clear": 0,
        "clear_seconds": None,
    }


def test_a_secret_that_nothing_is_known_of_has_its_place() -> None:
    bare = SecretProgress(PATH, "")
    for made in (to_html(standing(bare), silence()), to_markdown(standing(bare), silence())):
        assert PATH.replace("/", "") in made.replace("<wbr>", "").replace("/", "")


def hundred() -> IncidentStatus:
    return standing(
        *(stuck(f"ml/{number:03}") if number % 10 == 0 else proven(f"ml/{number:03}") for number in range(100))
    )


def test_a_hundred_secrets_are_all_in_the_page_and_the_data() -> None:
    case = hundred()
    told = readers(*case.incident.paths)
    page = Page(to_html(case, told)).text
    assert "Open: 10 things are left to do, in 10 of 100 secrets." in page
    assert "of all 100 secrets since 0.431 s" in page
    assert all(page.count(path) > 3 for path in case.incident.paths)
    data = to_data(case, told)
    assert data["time_to_revoke"] == {
        "secrets": 100,
        "refused": 100,
        "refused_seconds": 0.431,
        "clear": 90,
        "clear_seconds": 4.9,
    }
    assert len(data["timeline"]) == 2 + 90 * len(proven().events) + 10 * len(stuck().events)


def test_the_markdown_of_a_hundred_secrets_is_cut_and_says_so() -> None:
    made = to_markdown(hundred(), readers(*hundred().incident.paths))
    assert len(made) < 200_000
    assert "more, in the HTML and JSON files" in made
    assert "Open: 10 things are left to do, in 10 of 100 secrets." in shown(made)


# --- names stay text ---------------------------------------------------------------------------------------

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "a | b || c",
    "`code` ``more`` ```",
    "**bold** _soft_ ~~gone~~ # head",
    "[link](https://evil.example) ![picture](https://evil.example/x.png)",
    "<https://evil.example> www.evil.example https://evil.example",
    "[x]: https://evil.example",
    "line\n\n# Incident closed\n\n- all is well\r\n---",
    "1. one",
    "- item",
    "    indented",
    "&lt;b&gt; &amp; &#60;",
    "\\| \\` \\",
    "left\u202egnp.exe\u202c \u2066x\u2069 \u200f\u200b\ufeff",
    "\x00\x07\x1b[31mred\x1b[0m\x7f\x85\u2028\u2029\ud800",
    "{{ jinja }} ${shell} %s",
    "{% include '/etc/passwd' %}{# gone #}{{ 7 * 7 }}",
    "שלום עולם",
    "x" * 5_000,
)


def poisoned(text: str) -> tuple[IncidentStatus, Readers]:
    """An incident in which everything that somebody else may choose is this text."""
    known = replace(
        proven(text),
        strategy=text,
        owner=text,
        classification=text,
        old=(*OLD, LeakedVersion(5, {"": text, text: text})),
        fingerprint=text,
        outlives=(text,),
        remains=(text,),
        left=(text,),
        events=(
            *proven().events,
            Event(after(1), Step.PUSH, Result.FAILED, text, text, text),
            Event(after(1), Step.NOTIFY, Result.DONE, text, text),
        ),
    )
    reader = SecretReader("hub", text, 2, 1, TRIGGER, TRIGGER, ((text, 2),), ((text, 2),), (7,))
    own = replace(reader, own=True)
    told = replace(
        readers(text),
        paths=(PathReaders(text, (reader, own)), PathReaders(f"{text} other")),
        related=(Related("hub", text, text, 1, TRIGGER, TRIGGER),),
        logs=(LogRead(text, readers(text).logs[0].coverage), LogRead(text, failed=text)),
    )
    case = standing(known, known, id=text, reason=text, actor=text, selector=text, left=(text,), leases=(text,))
    return case, told


PLAIN_TAGS = set(Page(to_html(standing(stuck(), proven()), readers(PATH), FACTS)).tags) | {"h3"}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_becomes_markup_in_the_page(text: str) -> None:
    case, told = poisoned(text)
    page = Page(to_html(case, told, LedgerFacts((), text)))
    assert set(page.tags) <= PLAIN_TAGS
    assert set(page.attributes) <= {
        *("lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "scope", "tabindex", "data-label"),
    }
    assert all(value.startswith("#") for value in page.attributes["href"])
    assert " ".join(visible(text).split()) in page.text


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_becomes_markup_in_the_markdown(text: str) -> None:
    case, told = poisoned(text)
    made = to_markdown(case, told, LedgerFacts((), text))
    honest = to_markdown(*poisoned("plain"), LedgerFacts((), "plain"))
    kinds = [token.type for token in parsed(made) if token.nesting >= 0 and token.type not in ("text", "softbreak")]
    expected = [
        token.type for token in parsed(honest) if token.nesting >= 0 and token.type not in ("text", "softbreak")
    ]
    assert [kind for kind in kinds if kind != "text_special"] == expected
    assert visible(text).strip() in shown(made)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("form", [to_html, to_markdown])
def test_nothing_unseen_and_nothing_that_turns_writing_around_is_left(text: str, form: Callable[..., str]) -> None:
    case, told = poisoned(text)
    made = form(case, told, LedgerFacts((), text))
    assert [letter for letter in made if not letter.isprintable() and letter != "\n"] == []
    made.encode()


@pytest.mark.parametrize("kind", ["html", "markdown"])
def test_a_template_that_does_not_think_of_it_writes_text(kind: str) -> None:
    words, macro = "<script>|`**x**`</script>\n# head", "{% macro say(words) %}{{ words }}{% endmacro %}"
    made = environment(kind).from_string(f"{macro}{{{{ words }}}}{{{{ say(words) }}}}").render(words=words)
    assert made.count("script" if kind == "html" else "\\<script\\>") in (2, 4)
    assert not re.search(r"<script|(?<!\\)[|`*]|\n" if kind == "markdown" else r"<|\n", made.replace("\\<", ""))


def test_only_who_writes_a_report_imports_what_writes_it() -> None:
    asked = "import sys, keyturn.cli.emergencies.revoke, keyturn.revocation.run, keyturn.revocation.report.facts as _;"
    done = subprocess.run([sys.executable, "-c", f"{asked} print('jinja2' in sys.modules)"], capture_output=True)
    assert (done.stdout, done.stderr) == (b"False\n", b"")


def test_a_link_that_renderers_make_by_themselves_is_broken_up() -> None:
    made = to_markdown(*poisoned("https://evil.example and WWW.evil.example and ana@evil.example"))
    assert "://" not in made
    assert not re.search(r"(?i)www\.", made)
    assert "ana@" not in made


def test_the_data_keeps_names_as_they_are_and_its_file_is_plain_ascii(tmp_path: Path) -> None:
    for text in HOSTILE:
        case, told = poisoned(text)
        (_, file) = write_report(case, told, tmp_path)
        read = file.read_bytes()
        assert read.isascii()
        assert json.loads(read)["incident"]["reason"] == text


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    made = to_html(standing(stuck()), readers(PATH), FACTS)
    assert "script" not in made
    assert not re.search(r"https?:|url\(|@import|src=", made)
    assert "default-src 'none'" in made
    for words in ("prefers-color-scheme: dark", "size: A4", "max-width: 46rem", "width=device-width"):
        assert words in made


# --- the data and the files --------------------------------------------------------------------------------


def keys_of(kind: Any) -> dict[str, Any]:
    """The keys of one part of the model, and the parts below it."""
    hints = get_type_hints(kind)
    return {one.name: below(hints[one.name]) for one in fields(kind)}


def below(hint: Any) -> Any:
    found = [one for one in (hint, *get_args(hint)) if is_dataclass(one)]
    return keys_of(found[0]) if found else None


def test_every_part_of_the_data_has_exactly_the_keys_of_the_model() -> None:
    def compare(data: Any, keys: dict[str, Any]) -> None:
        assert set(data) == set(keys)
        for name, part in keys.items():
            for one in data[name] if isinstance(data[name], list) else [data[name]]:
                if part and one is not None:
                    compare(one, part)

    compare(to_data(standing(proven(), stuck()), readers(PATH), FACTS), keys_of(model.IncidentReport))


def test_the_keys_of_the_data_are_those_that_the_documentation_promises() -> None:
    said = set(re.findall(r"`([a-z_]+)`", DOCUMENT.read_text()))

    def names(keys: dict[str, Any]) -> set[str]:
        return set(keys) | {name for part in keys.values() if part for name in names(part)}

    assert names(keys_of(model.IncidentReport)) <= said
    assert model.SCHEMA in DOCUMENT.read_text()


def test_the_data_can_be_written_as_json_and_says_when_it_was_made() -> None:
    data = to_data(standing(stuck()), readers(PATH), FACTS, at=after(60))
    assert json.loads(json.dumps(data)) == data
    assert data["schema"] == "keyturn.incident-report/1"
    assert data["written_at"] == "2026-11-25T03:13:04.120Z"
    assert data["ledger"] == {
        "sequences": [120, 121, 122, 170],
        "checkpoint": CHECKPOINT,
        "verify": "keyturn ledger verify",
    }


def test_the_files_are_for_their_owner_alone_and_replace_earlier_ones(tmp_path: Path) -> None:
    place = tmp_path / "reports" / "here"
    write_report(standing(stuck()), readers(PATH), place)
    files = write_report(standing(proven()), readers(PATH), place)
    assert files == [place / "INC-1.html", place / "INC-1.json"]
    assert sorted(one.name for one in place.iterdir()) == ["INC-1.html", "INC-1.json"]
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}
    assert "Closed, and proven: nothing is left to do." in files[0].read_text()
    assert json.loads(files[1].read_text())["state"] == "closed"


def test_a_file_that_can_not_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "INC-1.html").mkdir()
    with pytest.raises(Unavailable, match=r"write .*INC-1\.html"):
        write_report(standing(stuck()), silence(), tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["INC-1.html"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", ".hidden", "..", "", "INC 1", "é", "x" * 300, "\ud800"])
def test_no_name_of_an_incident_leads_out_of_the_directory(tmp_path: Path, name: str) -> None:
    files = write_report(standing(stuck(), id=name), silence(), tmp_path)
    assert {one.parent for one in files} == {tmp_path}
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]+\.(html|json)", one.name) for one in files)


def test_two_incidents_with_like_names_have_files_of_their_own(tmp_path: Path) -> None:
    files = {one for name in ("a/b", "a b", "a-b") for one in write_report(standing(id=name), silence(), tmp_path)}
    assert len(files) == 6


# --- words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "not yet"),
        (0.0004, "0.000 s"),
        (0.431, "0.431 s"),
        (89.9, "89.900 s"),
        (125.2, "2 min 05 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_a_time_span_is_exact_where_it_is_short(seconds: float | None, said: str) -> None:
    assert lasted(seconds) == said


@pytest.mark.parametrize(
    ("numbers", "said"), [((), ""), ((3,), "3"), ((5, 3, 4, 9, 9), "3 to 5, 9"), ((1, 2, 4, 6, 7), "1 to 2, 4, 6 to 7")]
)
def test_runs_of_numbers_are_drawn_together(numbers: tuple[int, ...], said: str) -> None:
    assert ranges(numbers) == said


def test_a_moment_in_another_zone_is_told_in_utc() -> None:
    there = TRIGGER.astimezone(timezone(timedelta(hours=9)))
    assert (
        to_data(standing(stuck(), triggered_at=there), silence())["incident"]["triggered_at"]
        == "2026-11-25T03:12:04.120Z"
    )
