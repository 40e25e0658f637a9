"""Scanner findings are matched to their secrets, and never shown."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from keyturn.cli.emergencies.incident_runner import Through
from keyturn.cli.emergencies.whois_scanner import End, answer
from keyturn.cli.failures import BEHIND, FAILED
from keyturn.core.errors import Denied, Invalid
from keyturn.core.schedule.due import Trigger
from keyturn.revocation.findings import found_values
from keyturn.revocation.findings.found_values import Leaks, index_values, match_findings
from keyturn.revocation.findings.scanner import FoundValue, ScannerReport
from keyturn.rotation.run import rotate
from tests.revocation.site import Site
from tests.support.lab import Lab

HERE = Through(local=True, timeout=60, workspace="default")
COMMIT = "fbc14303ffbf8fb1c2c1914e8dda7d0121633aca"


def hog(raw: str, raw_v2: str = "", detector: str = "Postgres", **more: Any) -> str:
    """A line of `trufflehog git --json`."""
    git = {
        "commit": COMMIT,
        "file": "deploy/app.env",
        "email": "ana <ana@example.com>",
        "repository": "https://git.example.com/shop.git",
        "timestamp": "2026-06-16 17:17:40 +0000",
        "line": 4,
        "repository_local_path": "/tmp/shop",
    }
    data = {
        "SourceMetadata": {"Data": {"Git": git}},
        "SourceID": 1,
        "SourceType": 16,
        "SourceName": "trufflehog - git",
        "DetectorType": 968,
        "DetectorName": detector,
        "DetectorDescription": "Postgres connection string",
        "DecoderName": "PLAIN",
        "Verified": True,
        "VerificationFromCache": False,
        "Raw": raw,
        "RawV2": raw_v2,
        "Redacted": "",
        "ExtraData": None,
        "StructuredData": None,
    }
    return json.dumps(data | more)


def leak(secret: str, **more: Any) -> dict[str, Any]:
    """An entry of `gitleaks git --report-format json`."""
    return {
        "RuleID": "generic-api-key",
        "Description": "Detected a Generic API Key",
        "StartLine": 12,
        "EndLine": 12,
        "StartColumn": 3,
        "EndColumn": 40,
        "Match": f'key = "{secret}"',
        "Secret": secret,
        "File": "src/config.py",
        "SymlinkFile": "",
        "Commit": COMMIT,
        "Entropy": 4.14,
        "Author": "ana",
        "Email": "ana@example.com",
        "Date": "2026-06-16T17:17:40Z",
        "Message": f"add {secret}",
        "Tags": [],
        "Fingerprint": f"{COMMIT}:src/config.py:generic-api-key:12",
    } | more


def report(text: str | bytes) -> ScannerReport:
    return ScannerReport(io.BytesIO(text.encode() if isinstance(text, str) else text), "report.json")


def found(text: str) -> list[FoundValue]:
    return list(report(text).findings())


@pytest.fixture
def site(lab: Lab) -> Site:
    return Site.of(lab, lab.alternating())


def leaks(site: Site, text: str) -> Leaks:
    index, _ = index_values(site.workspace)
    return match_findings(index, report(text).findings())


def states(leaks: Leaks) -> list[tuple[str, int, str, str]]:
    return [(owner.path, owner.version, owner.part, str(owner.state)) for owner in leaks.known]


def test_each_finding_tells_its_secret_and_where_it_stands(site: Site) -> None:
    path, password = site.secret.path, str(site.secret.first["password"])
    told = leaks(site, "\n".join([hog(password), hog("somebody's else", detector="Github")]))
    assert states(told) == [(path, 1, "password", "in force")]
    ((place,),) = told.known.values()
    assert (place.file, place.line, place.commit) == ("deploy/app.env", 4, COMMIT)
    assert (place.origin, place.detector, place.verified) == ("https://git.example.com/shop.git", "Postgres", True)
    assert [at.detector for at in told.unknown] == ["Github"]


def test_what_was_rotated_away_is_told_as_retired(site: Site) -> None:
    password = str(site.secret.first["password"])
    rotate(site.workspace, site.secret.path, Trigger.FORCE)
    told = leaks(site, json.dumps([leak(password)]))
    works = site.lab.logs_in(site.secret.first)
    assert states(told) == [(site.secret.path, 1, "password", "in its grace" if works else "retired")]
    assert told.working == ((site.secret.path,) if works else ())


@pytest.mark.parametrize(
    "given",
    [
        lambda user, password: hog(f"postgres://{user}:{password}@db.example.com:5432/ml"),
        lambda user, password: hog(user, f"{user}:{password}"),
        lambda user, password: hog(user, f"{user}{password}"),
        lambda user, password: hog(user, SecretParts={"username": user, "password": password}),
        lambda user, password: json.dumps([leak(f" {password}\n")]),
        lambda user, password: json.dumps([leak(password)]).replace("[", "\ufeff[", 1),
        lambda user, password: f'{hog(password)}\r\nno json\n{{"level":"info-0","msg":"scanning"}}\n\n',
    ],
    ids=["url", "pair", "joined", "parts", "space", "mark", "with a log"],
)
def test_a_value_is_known_however_the_scanner_gives_it(site: Site, given: Any) -> None:
    password, user = str(site.secret.first["password"]), str(site.secret.first["username"])
    told = leaks(site, given(user, password))
    assert (site.secret.path, 1, "password", "in force") in states(told)


@pytest.mark.parametrize("field", ["username", "host"])
def test_a_name_or_an_address_is_no_secret(site: Site, field: str) -> None:
    told = leaks(site, hog(str(site.secret.first[field])))
    assert {state for path, _, _, state in states(told) if path == site.secret.path} == {"no secret by itself"}
    assert told.working == ()


def test_what_can_not_be_read_is_counted_and_what_is_redacted_too() -> None:
    lines = report(f'{hog("a value")}\nnot json\n{{"a": 1}}\n')
    assert len(list(lines.findings())) == 1
    assert lines.malformed == 2
    entries = report(json.dumps([leak("REDACTED"), leak("AKIA..."), leak("", Secret=None), leak("a value")]))
    assert len(list(entries.findings())) == 1
    assert entries.redacted == 3
    assert found("") == found("[]") == found("\n \n") == []


@pytest.mark.parametrize("text", ["<sarif/>", "[{", "password,file\n"])
def test_what_is_no_scanner_s_report_is_refused_without_a_word_of_it(text: str) -> None:
    with pytest.raises(Invalid) as error:
        found(text)
    assert text.strip() not in str(error.value)
    assert "trufflehog ... --json" in str(error.value)


def answered(site: Site, directory: Path, lines: Sequence[str], end: End | None, *, as_json: bool = False) -> int:
    """The exit code; what is told goes to the terminal."""
    file = directory / "hog.jsonl"
    file.write_text("\n".join(lines))
    try:
        answer(site.impatient(), file, end, as_json)
    except typer.Exit as over:
        return over.exit_code
    return 0


@pytest.mark.attack
def test_the_command_shows_no_value_even_as_a_file_name(
    site: Site, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    password = str(site.secret.first["password"])
    named = hog(password, SourceMetadata={"Data": {"S3": {"bucket": f"b-{password}", "file": f"keys/{password}.txt"}}})
    lines = [named, hog("another-value-1234"), hog(password)]
    assert answered(site, tmp_path, lines, None) == BEHIND
    assert answered(site, tmp_path, lines, None, as_json=True) == BEHIND
    shown = capfd.readouterr()
    assert site.secret.path in shown.out
    assert '"file": "deploy/app.env"' in shown.out
    assert password not in shown.out + shown.err
    assert "another-value-1234" not in shown.out + shown.err


@pytest.mark.attack
def test_an_unchecked_value_is_never_reported_as_dead(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password, strange, end = (
        str(site.secret.first["password"]),
        hog("somebody's else"),
        End("x", 0, False, True, HERE, None),
    )
    assert answered(site, tmp_path, [strange], None) == 0
    for line in ('{"version": "2.1.0"}', json.dumps({"Raw": 7})):
        assert answered(site, tmp_path, [strange, line], None) == FAILED
        assert answered(site, tmp_path, [strange, line], end) == FAILED
        assert answered(site, tmp_path, [hog(password), line], None) == BEHIND

    def deny(*_: object) -> None:
        raise Denied("read", "it", "the hub denies it", "")

    monkeypatch.setattr(found_values, "read_versions", deny)
    assert answered(site, tmp_path, [hog(password)], None) == FAILED
    assert answered(site, tmp_path, [hog(password)], end) == FAILED
    assert answered(site, tmp_path, [], None) == 0


def test_what_works_still_is_ended_as_one_incident(site: Site, tmp_path: Path) -> None:
    end = End("found in a repository", 0, False, True, HERE, None)
    assert answered(site, tmp_path, [hog(str(site.secret.first["password"]))], end) == 0
    assert not site.lab.logs_in(site.secret.first)
    assert site.lab.logs_in(site.lab.current(site.secret))


def test_a_preview_ends_nothing_and_many_need_their_number(lab: Lab, tmp_path: Path) -> None:
    secrets = [lab.generated() for _ in range(6)]
    site = Site.of(lab, secrets[0])
    opened = lab.open(*secrets, stores=lambda name: site.store)
    site.opened.workspace = opened.workspace
    lines = [hog(str(secret.first["value"])) for secret in secrets]
    assert answered(site, tmp_path, lines, End("found", 0, True, True, HERE, None)) == 0
    with pytest.raises(Invalid, match="more than 5 secrets"):
        answered(site, tmp_path, lines, End("found", 0, False, True, HERE, None))
    assert [lab.current(secret) for secret in secrets] == [secret.first for secret in secrets]
