"""The JSON files do what every store must."""

import json
from pathlib import Path

import pytest

from docs.examples.json_files import KIND, JsonFiles, JsonFilesSettings
from keyturn.core.errors import Conflict, NotFound
from tests.contracts.store import Raw, StoreContract, assert_serves, fresh_value, marks_for, put


class TestJsonFiles(StoreContract):
    kind = KIND
    past_versions = 0

    @property
    def settings(self) -> JsonFilesSettings:
        return JsonFilesSettings(kind="json-files", directory="/nowhere")

    @pytest.fixture
    def store(self, tmp_path: Path) -> JsonFiles:
        return JsonFiles("appliance", directory=str(tmp_path))

    @pytest.fixture
    def foreign(self, tmp_path: Path) -> Raw:
        def create(name: str, value: str) -> None:
            (tmp_path / f"{name}.json").write_text(json.dumps({"value": value}))

        return create

    @pytest.fixture
    def tampered(self, tmp_path: Path) -> Raw:
        def change(name: str, value: str) -> None:
            document = json.loads((tmp_path / f"{name}.json").read_text())
            (tmp_path / f"{name}.json").write_text(json.dumps({**document, "value": value}))

        return change

    def test_a_write_over_something_else_than_was_found_is_a_conflict(self, store: JsonFiles, remote: str) -> None:
        looked_at, value = put(store, remote, fresh_value()), fresh_value()
        put(store, remote, value, 2)
        with pytest.raises(Conflict, match="has changed since"):
            store.write(remote, fresh_value(), marks_for(fresh_value()), looked_at)
        assert_serves(store, remote, value)

    def test_a_directory_that_is_not_there_is_told(self, tmp_path: Path, remote: str) -> None:
        store = JsonFiles("appliance", directory=str(tmp_path / "absent"))
        with pytest.raises(NotFound, match="directory is not there"):
            put(store, remote, fresh_value())
