"""Audit logs of clouds and of Kubernetes: parsing, late files, gaps and malformed records."""

import gzip
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keyturn.access_log.sources import azure_audit, cloudtrail, gcp_audit, object_log
from keyturn.access_log.sources.kubernetes_audit import KubernetesFile
from keyturn.access_log.sources.objects import Directory, StoredObject, dated
from keyturn.core.errors import Unavailable
from keyturn.core.ports.access import Access
from keyturn.core.ports.access_source import AccessSource, Batch, SourceOpening, StoreCopies
from keyturn.core.text.audit_lines import AuditMount
from tests.access_log import cloud_logs as logs
from tests.access_log.cloud_logs import ACCOUNT, NOON, ROLE, DeliveredLog, copy_of, opening, trail_file
from tests.contracts.access_source import PATHS, SourceContract, drained, paths, records

LONG_AGO = 1_700_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "delivered"
    made.mkdir()
    return made


def putting(folder: Path) -> Callable[[str, bytes], None]:
    def put(key: str, data: bytes) -> None:
        file = folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        os.utime(file, (LONG_AGO, LONG_AGO))

    return put


def secret(seconds: int, path: str) -> dict[str, Any]:
    return logs.cloudtrail(seconds, {"secretId": copy_of(path)})


class TestCloudTrailFiles(SourceContract):
    @pytest.fixture
    def log(self, folder: Path) -> DeliveredLog:
        return DeliveredLog(
            putting(folder),
            lambda: cloudtrail.open_trail_files(opening(folder), directory=str(folder)),
            lambda seconds, path: trail_file(secret(seconds, path)),
            lambda text: f'{{"Records": [{{"secretId": "{text}"'.encode(),
            ".json.gz",
        )


class TestAzureAuditFiles(SourceContract):
    @pytest.fixture
    def log(self, folder: Path) -> DeliveredLog:
        return DeliveredLog(
            putting(folder),
            lambda: azure_audit.open_azure_files(opening(folder), directory=str(folder)),
            lambda seconds, path: logs.line(logs.azure(seconds, copy_of(path))),
            lambda text: f'{{"operationName": "SecretGet", "{text}"}}\n'.encode(),
        )


class TestGcpAuditFiles(SourceContract):
    @pytest.fixture
    def log(self, folder: Path) -> DeliveredLog:
        return DeliveredLog(
            putting(folder),
            lambda: gcp_audit.open_gcp_files(opening(folder), directory=str(folder)),
            lambda seconds, path: logs.line(logs.gcp(seconds, f"projects/42/secrets/{copy_of(path)}/versions/5")),
            lambda text: f'{{"protoPayload": "{text}"}}\n'.encode(),
        )


class AuditFile(DeliveredLog):
    """One file that grows, as an API server writes it."""

    def add(self, path: str) -> None:
        self.count += 1
        self.put("audit.log", self.records(self.count, path))

    def spoil(self, text: str) -> None:
        self.put("audit.log", self.spoiled(text))


class TestKubernetesAuditFile(SourceContract):
    @pytest.fixture
    def log(self, folder: Path) -> AuditFile:
        def put(key: str, data: bytes) -> None:
            with (folder / key).open("ab") as file:
                file.write(data)

        return AuditFile(
            put,
            lambda: KubernetesFile(opening(folder), log_file=str(folder / "audit.log"), stores=["cluster"]),
            lambda seconds, path: logs.line(logs.kubernetes(seconds, copy_of(path))),
            lambda text: f'{{"objectRef": {{"resource": "secrets"}}, "verb": "{text}" }} }}\n'.encode(),
        )

    def test_what_the_server_has_rotated_is_read_to_its_end_first(self, folder: Path, log: AuditFile) -> None:
        log.add(PATHS[0])
        (folder / "audit.log").rename(folder / "audit-2026-11-24T12-00-01.123.log")
        log.add(PATHS[1])
        with closing(log.open()) as source:
            assert paths(records(source)) == list(PATHS[:2])


# --- what grows, is late, cut or broken ----------------------------------------------------------------------


def azure_lines(*names: str) -> bytes:
    return b"".join(logs.line(logs.azure(seconds, name)) for seconds, name in enumerate(names, 1))


@pytest.fixture
def azure_log(folder: Path) -> AccessSource:
    return azure_audit.open_azure_files(opening(folder), directory=str(folder))


def test_a_file_that_grows_is_read_on_and_a_half_written_record_waits(folder: Path, azure_log: AccessSource) -> None:
    file = folder / "PT1H.json"
    whole = azure_lines("ml-key", "shop-smtp")
    file.write_bytes(whole[:-40])
    *_, last = drained(azure_log, None)
    assert paths(records(azure_log)) == ["ml/key"]
    assert not azure_log.read(last.cursor, 10).records
    file.write_bytes(whole.rstrip(b"\n"))
    assert paths(records(azure_log, last.cursor)) == ["shop/smtp"]


def test_what_is_half_written_holds_up_no_other_file_and_is_not_read_twice(
    folder: Path, azure_log: AccessSource
) -> None:
    whole = azure_lines("ml-key", "shop-smtp")
    (folder / "a.json").write_bytes(whole[:-40])
    (folder / "b.json").write_bytes(azure_lines("shop-cdn"))
    *batches, last = drained(azure_log, None)
    assert [path for batch in batches for path in paths(list(batch.records))] == ["ml/key", "shop/cdn"]
    (folder / "a.json").write_bytes(whole)
    assert paths(records(azure_log, last.cursor)) == ["shop/smtp"]


def test_a_file_that_was_cut_is_a_gap(folder: Path, azure_log: AccessSource) -> None:
    file = folder / "PT1H.json"
    file.write_bytes(azure_lines("ml-key", "shop-smtp"))
    *_, last = drained(azure_log, None)
    file.write_bytes(azure_lines("ml-key"))
    (gap,) = [gap for batch in drained(azure_log, last.cursor) for gap in batch.gaps]
    assert "PT1H.json" in gap
    assert "was cut" in gap


def test_one_that_comes_late_has_its_turn(folder: Path) -> None:
    source = cloudtrail.open_trail_files(opening(folder), directory=str(folder))
    put = putting(folder)
    put("b.json.gz", trail_file(secret(2, "ml/key")))
    *_, last = drained(source, None)
    put("a.json.gz", trail_file(secret(1, "shop/cdn")))
    assert paths(records(source, last.cursor)) == ["shop/cdn"]


def test_only_the_newest_files_are_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_log, "REMEMBERED", 3)
    monkeypatch.setattr(object_log, "LISTED", 5)
    source = cloudtrail.open_trail_files(opening(folder), directory=str(folder))
    for number in range(12):
        putting(folder)(f"{number:02d}.json.gz", trail_file(secret(number, "ml/key")))
    batches = list(drained(source, None))
    assert sum(len(batch.records) for batch in batches) == 12
    assert len(batches[-1].cursor) < 120
    assert not records(source, batches[-1].cursor)


@pytest.mark.attack
def test_late_files_are_read_once_by_whichever_process_continues(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, however many batches they take, and whatever else was removed before."""
    monkeypatch.setattr(object_log, "REMEMBERED", 3)
    put = putting(folder)

    def opened() -> AccessSource:
        return cloudtrail.open_trail_files(opening(folder), directory=str(folder))

    for number in range(10, 20):
        put(f"{number}.json.gz", trail_file(secret(number, "ml/key")))
    *_, last = drained(opened(), None)
    (folder / "11.json.gz").unlink()
    put("20.json.gz", trail_file(secret(20, "ml/key")))
    *_, last = drained(opened(), last.cursor)
    put("05.json.gz", trail_file(secret(5, "shop/cdn"), secret(6, "shop/smtp")))
    put("03.json.gz", trail_file(secret(3, "ops/pager")))
    put("21.json.gz", trail_file(secret(21, "payments/card")))
    taken, cursor, more = list[str](), last.cursor, True
    while more:
        batch = opened().read(cursor, 1)
        assert batch == opened().read(cursor, 1)
        assert not batch.gaps
        taken += [record.access.path for record in batch.records]
        cursor, more = batch.cursor, batch.more
    assert taken == ["shop/cdn", "shop/smtp", "ops/pager", "payments/card"]
    put("22.json.gz", trail_file(secret(22, "ml/database")))
    assert paths(records(opened(), cursor)) == ["ml/database"]


def test_one_that_comes_late_and_is_not_whole_waits_until_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_log, "REMEMBERED", 3)
    source = azure_audit.open_azure_files(opening(folder), directory=str(folder))
    put = putting(folder)
    for number in range(10, 20):
        put(f"{number}.json", azure_lines("ml-key"))
    *_, last = drained(source, None)
    whole = azure_lines("shop-smtp", "shop-cdn")
    (folder / "05.json").write_bytes(whole[:-40])
    put("06.json", b"")
    put("21.json", azure_lines("ops-pager"))
    *batches, last = drained(source, last.cursor)
    assert [path for batch in batches for path in paths(list(batch.records))] == ["shop/smtp"]
    (folder / "05.json").write_bytes(whole)
    assert paths(records(source, last.cursor)) == ["shop/cdn", "ops/pager"]
    *_, last = drained(source, last.cursor)
    put("22.json", azure_lines("ml-database"))
    assert paths(records(source, last.cursor)) == ["ml/database"]


@pytest.mark.attack
def test_late_files_are_reported_once_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others were removed at the same time, and it is unknown which came."""
    monkeypatch.setattr(object_log, "REMEMBERED", 3)
    source = cloudtrail.open_trail_files(opening(folder), directory=str(folder))
    put = putting(folder)
    for number in range(10, 20):
        put(f"{number}.json.gz", trail_file(secret(number, "ml/key")))
    *_, last = drained(source, None)
    (folder / "11.json.gz").unlink()
    for number in range(5):
        put(f"0{number}.json.gz", trail_file(secret(number, "shop/cdn")))
    put("21.json.gz", trail_file(secret(21, "shop/smtp")))
    batches = list(drained(source, last.cursor))
    (gap,) = [gap for batch in batches for gap in batch.gaps]
    assert gap.startswith("04.json.gz, 03.json.gz, 02.json.gz and 1 more came behind more than 3 newer ones")
    assert [record.access.path for batch in batches for record in batch.records] == ["shop/smtp"]
    assert not source.read(batches[-1].cursor, 10).gaps


@pytest.mark.parametrize("longer", [False, True])
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.attack
def test_a_file_that_is_replaced_is_a_gap_and_read_from_its_beginning(
    folder: Path, azure_log: AccessSource, longer: bool, restarted: bool
) -> None:
    file = folder / "PT1H.json"
    file.write_bytes(azure_lines("ml-key", "shop-smtp"))
    *_, last = drained(azure_log, None)
    assert not azure_log.read(last.cursor, 10).more
    names = ("shop-smtp", "ml-key", *(["shop-cdn"] if longer else []))
    file.write_bytes(azure_lines(*names))
    os.utime(file, (LONG_AGO, LONG_AGO))
    source = azure_audit.open_azure_files(opening(folder), directory=str(folder)) if restarted else azure_log
    batches = list(drained(source, last.cursor))
    (gap,) = [gap for batch in batches for gap in batch.gaps]
    assert "PT1H.json is not what was read of it" in gap
    assert [record.access.path for batch in batches for record in batch.records] == [
        logs.COPIES[name] for name in names
    ]
    assert not source.read(batches[-1].cursor, 10).more


def test_a_packed_file_that_is_being_written_still_waits(folder: Path) -> None:
    source = cloudtrail.open_trail_files(opening(folder), directory=str(folder))
    data = trail_file(secret(1, "ml/key"))
    (folder / "a.json.gz").write_bytes(data[:-9])
    assert not next(iter(drained(source, None))).malformed
    (folder / "a.json.gz").write_bytes(data)
    assert paths(records(source)) == ["ml/key"]


def test_a_packed_file_that_stalls_is_told_as_broken_once_and_read_once_it_is_whole(folder: Path) -> None:
    source = cloudtrail.open_trail_files(opening(folder), directory=str(folder))
    put, data = putting(folder), trail_file(secret(1, "ml/key"), secret(2, "shop/cdn"))
    put("a.json.gz", data[:-9])
    stalled = list(drained(source, None))
    assert [broken.position for batch in stalled for broken in batch.malformed] == ["a.json.gz"]
    put("b.json.gz", trail_file(secret(3, "ml/key")))
    *before, later = drained(source, stalled[-1].cursor)
    assert not any(batch.malformed for batch in before)
    put("a.json.gz", data)
    batches = list(drained(source, later.cursor))
    assert [record.access.path for batch in batches for record in batch.records] == ["ml/key", "shop/cdn"]
    assert not any(batch.malformed for batch in batches)
    assert not records(source, batches[-1].cursor)


def test_what_is_added_between_listing_and_reading_is_told_once(
    folder: Path, azure_log: AccessSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, listed = folder / "PT1H.json", Directory.objects

    def objects(self: Directory, after: str) -> Iterator[StoredObject]:
        there = list(listed(self, after))
        file.write_bytes(azure_lines("ml-key", "shop-smtp"))
        return iter(there)

    file.write_bytes(azure_lines("ml-key"))
    monkeypatch.setattr(Directory, "objects", objects)
    batches = list(drained(azure_log, None))
    batches += drained(azure_log, batches[-1].cursor)
    assert [record.access.path for batch in batches for record in batch.records] == ["ml/key", "shop/smtp"]
    assert not any(batch.gaps for batch in batches)


def test_one_that_is_being_written_is_passed_by_no_more_than_the_cursor_can_tell_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_log, "REMEMBERED", 3)
    source = cloudtrail.open_trail_files(opening(folder), directory=str(folder))
    put, whole = putting(folder), trail_file(secret(0, "shop/cdn"))
    (folder / "00.json.gz").write_bytes(whole[:-9])
    for number in range(1, 9):
        put(f"{number:02d}.json.gz", trail_file(secret(number, "ml/key")))
    *before, last = drained(source, None)
    assert sum(len(batch.records) for batch in before) == 3
    (folder / "00.json.gz").write_bytes(whole)
    assert paths(records(source, last.cursor)) == ["shop/cdn", *["ml/key"] * 5]


def test_a_record_that_breaks_off_for_good_is_told_and_holds_up_nothing(folder: Path, azure_log: AccessSource) -> None:
    put, whole = putting(folder), azure_lines("ml-key", "shop-smtp")
    put("a.json", whole[:-40])
    put("b.json.gz", gzip.compress(whole[:-40]))
    batches = list(drained(azure_log, None))
    assert [record.access.path for batch in batches for record in batch.records] == ["ml/key", "ml/key"]
    positions = [malformed.position.partition("#")[0] for batch in batches for malformed in batch.malformed]
    assert positions == ["a.json", "b.json.gz"]
    assert not azure_log.read(batches[-1].cursor, 10).more


def test_a_line_feed_that_comes_late_is_no_record(folder: Path, azure_log: AccessSource) -> None:
    put, whole = putting(folder), azure_lines("ml-key")
    put("a.json", whole.rstrip(b"\n"))
    *_, last = drained(azure_log, None)
    put("a.json", whole)
    batches = list(drained(azure_log, last.cursor))
    assert not any(batch.lines or batch.malformed for batch in batches)
    assert not azure_log.read(batches[-1].cursor, 10).more


@pytest.mark.attack
def test_a_record_that_is_nested_too_deep_is_malformed(folder: Path, azure_log: AccessSource) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    putting(folder)("a.json", b'{"identity":{"claim":{"x":' + deep + b"}}}\n" + deep + b"\n" + azure_lines("ml-key"))
    batches = list(drained(azure_log, None))
    assert [record.access.path for batch in batches for record in batch.records] == ["ml/key"]
    problems = [malformed.problem for batch in batches for malformed in batch.malformed]
    assert problems[0] == "it is nested too deep"
    assert len(problems) == 2


@pytest.mark.attack
def test_a_file_with_an_odd_name_is_read_as_any_other(folder: Path, azure_log: AccessSource) -> None:
    (folder / os.fsdecode(b"\xff.json")).write_bytes(azure_lines("ml-key"))
    (record,) = records(azure_log)
    assert record.position == "\\xff.json#0"


def test_several_vaults_in_one_directory_are_read_by_date(
    folder: Path, azure_log: AccessSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what comes of the first of them would lie before the place that was read to, and nobody would be told."""
    monkeypatch.setattr(object_log, "REMEMBERED", 3)
    put = putting(folder)

    def hour(vault: str, number: int) -> str:
        return f"resourceId=/SUBSCRIPTIONS/X/VAULTS/{vault}/y=2026/m=11/d=24/h={number:02d}/m=00/PT1H.json"

    for number in range(6):
        for vault in ("A", "B"):
            put(hour(vault, number), azure_lines("ml-key"))
    *_, last = drained(azure_log, None)
    put(hour("A", 6), azure_lines("shop-smtp"))
    assert paths(records(azure_log, last.cursor)) == ["shop/smtp"]


def test_trails_of_several_regions_in_one_directory_are_read_by_their_moments() -> None:
    names = ("us-east-1_20261124T1200Z", "eu-central-1_20261124T1205Z")
    files = [f"2026/11/24/{ACCOUNT}_CloudTrail_{name}_x.json.gz" for name in names]
    assert dated(files[0])[1] < dated(files[1])[1]
    assert dated(f"AWSLogs/{ACCOUNT}/CloudTrail/us-east-1/{files[0]}")[0] == f"AWSLogs/{ACCOUNT}/CloudTrail/us-east-1"


def test_what_copying_programs_are_writing_is_left_alone_and_links_out_of_the_directory_are_followed(
    folder: Path, azure_log: AccessSource, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere" / "2026").mkdir(parents=True)
    (tmp_path / "elsewhere" / "2026" / "a.json").write_bytes(azure_lines("ml-key"))
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "b.json").write_bytes(azure_lines("shop-smtp"))
    for name in ("b.json_.gstmp", "b.json.6eF5b3dA", "b.json.tmp", ".b.json"):
        (folder / name).write_bytes(azure_lines("ops-pager"))
    (folder / "latest").symlink_to(folder / "b.json")
    (folder / "linked" / "back").symlink_to(folder)
    assert paths(records(azure_log)) == ["shop/smtp", "ml/key"]
    (folder / "nowhere.json").symlink_to(tmp_path / "gone.json")
    with pytest.raises(Unavailable, match=r"nowhere\.json"):
        azure_log.read(None, 10)


def test_a_copy_that_is_declared_later_is_found_by_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.access_log.sources.copy_names.RENEWED", 0.0)
    stores: list[StoreCopies] = []
    reads = azure_audit.AzureReads(SourceOpening("azure", 1.0, AuditMount("secret"), "/", lambda: stores))
    line = logs.line(logs.azure(1, "ml-key"))
    assert [access.path for access in reads.accesses(line)] == ["azure:ml-key"]
    stores += logs.STORES
    assert [access.path for access in reads.accesses(line)] == ["ml/key"]


def test_what_is_gone_for_a_while_is_not_told_again(folder: Path) -> None:
    source = cloudtrail.open_trail_files(opening(folder), directory=str(folder))
    put, data = putting(folder), trail_file(secret(1, "ml/key"))
    put("a.json.gz", data)
    *_, last = drained(source, None)
    (folder / "a.json.gz").unlink()
    put("b.json.gz", trail_file(secret(2, "shop/cdn")))
    *_, last = drained(source, last.cursor)
    put("a.json.gz", data)
    assert not records(source, last.cursor)


@pytest.mark.attack
def test_a_directory_that_is_empty_for_a_while_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a mount is gone, and comes back."""
    monkeypatch.setattr(object_log, "REMEMBERED", 3)
    source = cloudtrail.open_trail_files(opening(folder), directory=str(folder))
    for number in range(10, 20):
        putting(folder)(f"{number}.json.gz", trail_file(secret(number, "ml/key")))
    *_, last = drained(source, None)
    folder.rename(folder.with_name("away"))
    folder.mkdir()
    assert source.read(last.cursor, 10) == Batch(last.cursor)
    folder.rmdir()
    folder.with_name("away").rename(folder)
    assert source.read(last.cursor, 10) == Batch(last.cursor)


def test_a_directory_that_is_not_there_is_an_error_and_no_empty_log(tmp_path: Path) -> None:
    source = cloudtrail.open_trail_files(opening(tmp_path), directory=str(tmp_path / "nowhere"))
    with pytest.raises(Unavailable, match="no such directory"):
        source.read(None, 10)


# --- what their records tell ----------------------------------------------------------------------------------


def of_trail(*events: dict[str, Any]) -> list[Access]:
    reads = cloudtrail.CloudTrailReads(opening(Path("/")))
    return [access for event in events for access in reads.accesses(json.dumps(event).encode())]


def test_cloudtrail_names_role_session_address_and_program() -> None:
    (access,) = of_trail(secret(7, "ml/key"))
    assert access == Access(
        at=NOON.replace(second=7),
        system="aws",
        path="ml/key",
        version=None,
        principal=ROLE,
        source="198.51.100.7",
        login="job-17",
        agent="Boto3/1.40",
    )


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        (f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:ml-key-AbC123", ("aws", "ml/key")),
        ("arn:aws:secretsmanager:eu-central-1:999999999999:secret:ml-key-AbC123", ("aws-other", "other/key")),
        (f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:ml-key-AbC123", ("aws", "aws:ml-key-AbC123")),
        ("somebody-elses", ("aws", "aws:somebody-elses")),
    ],
)
def test_cloudtrail_finds_the_copy_by_name_arn_region_and_account(asked: str, place: tuple[str, str]) -> None:
    stores = tuple(store for store in logs.STORES if asked.startswith("arn") or store.name != "aws-other")
    reads = cloudtrail.CloudTrailReads(opening(Path("/"), stores))
    event = json.dumps(logs.cloudtrail(1, {"secretId": asked})).encode()
    assert [(access.system, access.path) for access in reads.accesses(event)] == [place]


def test_cloudtrail_tells_parameters_one_by_one() -> None:
    ssm = {"eventSource": "ssm.amazonaws.com"}
    arn = f"arn:aws:ssm:eu-central-1:{ACCOUNT}:parameter/shop/smtp"
    several = of_trail(
        logs.cloudtrail(1, {"names": ["/shop/smtp", "shop/other:3"]}, eventName="GetParameters", **ssm),
        logs.cloudtrail(2, {"name": arn}, eventName="GetParameter", **ssm),
        logs.cloudtrail(3, {"path": "/shop/"}, eventName="GetParametersByPath", **ssm),
    )
    assert [access.path for access in several] == ["shop/smtp", "ssm:shop/other", "shop/smtp", "ssm:/shop/*"]
    assert {access.system for access in several} == {"ssm"}


def test_cloudtrail_tells_who_decrypts_past_the_service_and_not_the_service_itself() -> None:
    arn = f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:ml-key-AbC123"
    context = {"encryptionContext": {"SecretARN": arn, "SecretVersionId": "x"}}
    kms = {"eventSource": "kms.amazonaws.com", "eventName": "Decrypt"}
    assert [access.path for access in of_trail(logs.cloudtrail(1, context, **kms))] == ["ml/key"]
    by_service = logs.cloudtrail(1, context, sourceIPAddress="secretsmanager.amazonaws.com", **kms)
    assert not of_trail(by_service, logs.cloudtrail(1, {"encryptionContext": {"app": "x"}}, **kms))


def test_cloudtrail_tells_refusals_and_the_root_user() -> None:
    root = {"type": "Root", "arn": f"arn:aws:iam::{ACCOUNT}:root", "accountId": ACCOUNT}
    refused, by_root = of_trail(
        secret(1, "ml/key") | {"errorCode": "AccessDenied"}, secret(2, "ml/key") | {"userIdentity": root}
    )
    assert (refused.denied, refused.root) == (True, False)
    assert (by_root.denied, by_root.root, by_root.principal) == (False, True, f"arn:aws:iam::{ACCOUNT}:root")


def of_azure(*events: dict[str, Any]) -> list[Access]:
    reads = azure_audit.AzureReads(opening(Path("/")))
    return [access for event in events for access in reads.accesses(json.dumps(event).encode())]


def test_azure_names_person_or_application_and_the_first_question_without_a_token_is_no_attempt() -> None:
    user = {"claim": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": "ana@example.com", "appid": "1"}}
    forbidden = {"requestUri": f"{logs.VAULT}/secrets/ml-key?api-version=7.6", "httpStatusCode": 403}
    accesses = of_azure(
        logs.azure(1, "ml-key"),
        logs.azure(2, "ml-key", identity=user),
        logs.azure(3, "x", resultType="Failed", properties=forbidden),
        logs.azure(4, "ml-key", identity={}, properties=forbidden | {"httpStatusCode": 401}),
        logs.azure(5, "ml-key", operationName="SecretList"),
        logs.azure(6, "unknown"),
    )
    assert [(access.system, access.path, access.denied) for access in accesses] == [
        ("azure", "ml/key", False),
        ("azure", "ml/key", False),
        ("azure", "ml/key", True),
        ("azure", "azure:unknown", False),
    ]
    assert [access.principal for access in accesses[:2]] == ["1a2b-application", "ana@example.com"]
    assert accesses[0].agent == "azsdk-python-keyvault-secrets/4.9"


def of_gcp(*events: dict[str, Any]) -> list[Access]:
    reads = gcp_audit.GcpReads(opening(Path("/")))
    return [access for event in events for access in reads.accesses(json.dumps(event).encode())]


def test_gcp_finds_the_project_by_its_id_and_a_regional_secret_by_its_location() -> None:
    accesses = of_gcp(
        logs.gcp(1, "projects/42/secrets/ml-key/versions/5"),
        logs.gcp(2, "projects/42/locations/europe-west3/secrets/ml-key/versions/latest"),
        logs.gcp(3, "projects/42/secrets/ml-key/versions/5", status={"code": 7, "message": "PERMISSION_DENIED"}),
        logs.gcp(4, "projects/42/secrets/ml-key", methodName="google.cloud.secretmanager.v1.X.GetSecret"),
        logs.gcp(5, "projects/42/secrets/ml-key/versions/5", requestMetadata={"callerIp": "private"}),
    )
    assert [(access.system, access.path, access.denied, access.source) for access in accesses] == [
        ("gcp", "ml/key", False, "198.51.100.7"),
        ("gcp-eu", "ml/key", False, "198.51.100.7"),
        ("gcp", "ml/key", True, "198.51.100.7"),
        ("gcp", "ml/key", False, ""),
    ]
    assert accesses[0].principal == "trainer@example-prod.iam.gserviceaccount.com"
    assert accesses[0].login == "k1"


@pytest.mark.attack
def test_kubernetes_logs_give_gets_lists_and_watches_of_their_cluster(folder: Path) -> None:
    listing = {"objectRef": {"resource": "secrets", "namespace": "apps", "apiVersion": "v1"}, "verb": "list"}
    everywhere = {"objectRef": {"resource": "secrets", "apiVersion": "v1"}, "verb": "watch"}
    events = [
        logs.kubernetes(1, "ml-key"),
        logs.kubernetes(2, "", **listing),
        logs.kubernetes(3, "", stage="ResponseStarted", **everywhere),
        logs.kubernetes(4, "", **everywhere),
        logs.kubernetes(5, "ml-key", verb="update"),
        logs.kubernetes(6, "ml-key", stage="RequestReceived"),
        logs.kubernetes(7, "ml-key", responseStatus={"code": 403}, impersonatedUser={"username": "admin"}),
        logs.kubernetes(8, "ml-key", user={"username": "kubernetes-admin", "groups": ["system:masters"]}),
        logs.kubernetes(9, "x", objectRef={"resource": "configmaps", "namespace": "apps", "name": "secrets"}),
    ]
    (folder / "audit.log").write_bytes(b"".join(map(logs.line, events)))
    with closing(KubernetesFile(opening(folder), log_file=str(folder / "audit.log"), stores=["cluster"])) as source:
        accesses = [record.access for record in records(source)]
    assert [access.path for access in accesses] == ["ml/key", "cluster:apps/*", "cluster:*/*", "ml/key", "ml/key"]
    assert [(access.denied, access.login, access.root) for access in accesses[3:]] == [
        (True, "as admin", False),
        (False, "", True),
    ]
    assert accesses[0].principal == "system:serviceaccount:apps:trainer"
    assert accesses[0].source == "10.0.0.1, said to be for 10.0.0.9"


def test_a_bomb_is_no_file_of_a_trail(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.access_log.sources.objects.LARGEST", 1 << 20)
    putting(folder)("a.json.gz", gzip.compress(b" " * (2 << 20)))
    source = cloudtrail.open_trail_files(opening(folder), directory=str(folder))
    (malformed,) = [malformed for batch in drained(source, None) for malformed in batch.malformed]
    assert malformed.problem == "it has more than 1 MiB"
