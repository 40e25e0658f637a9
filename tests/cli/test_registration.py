"""``keyturn setup prefect --apply`` finds the failure channel, and reports first if nothing can be sent there."""

from pathlib import Path

import pytest

from tests.cli.command import one_generated_secret, one_line, run_keyturn, surroundings


@pytest.mark.parametrize(
    ("text", "words"),
    [("nowhere at all\n", "Apprise knows no such address"), (None, "the file that KEYTURN_FAILURE_URL_FILE names")],
    ids=["an address of no service", "no file"],
)
def test_the_failure_channels_file_is_read_and_tried_first(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "channel"
    if text is not None:
        file.write_text(text)
    env = surroundings(
        tmp_path / "home",
        KEYTURN_CATALOGUE=str(one_generated_secret(tmp_path / "catalogue")),
        PREFECT_API_URL="http://127.0.0.1:9/api",
        KEYTURN_FAILURE_URL_FILE=str(file),
    )
    done = run_keyturn("setup", "prefect", "--apply", env=env)
    one_line(done, words)
    assert "nowhere" not in done.stderr
