"""What takes a process of its own: compliance-trestle, and an interpreter whose sets have another order."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keyturn.evidence.formats import FORMATS, write_format
from keyturn.evidence.frameworks import FRAMEWORKS
from tests.evidence.scene import House, house

pytestmark = pytest.mark.sampled(2, of="file")

ROOT = Path(__file__).parents[2]

READ = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")  # its own imports are deprecated
from trestle.oscal.assessment_results import Model
for name in sys.argv[1:]:
    results = Model.model_validate_json(Path(name).read_text()).assessment_results
    print(name, results.metadata.oscal_version.root.root, len(results.results[0].findings))
"""


def test_trestle_takes_every_framework(home: House, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.json" for name in FRAMEWORKS]
    for file in files:
        file.write_text(write_format("oscal", home.report(file.stem))[1])
    command = [sys.executable, "-c", READ, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [[str(file), "1.2.0"] for file in files]


SEEDED = """
import tempfile
from pathlib import Path
from tests.evidence import scene, test_processes
with tempfile.TemporaryDirectory() as directory, scene.house(Path(directory)) as built:
    print(test_processes.digest_of_all(built))
"""


def digest_of_all(built: House) -> str:
    """Of all formats of a report, but for what the key and so the signature makes."""
    document = built.report()
    for row in document["rows"]:
        row.pop("hashes", None)
    document["ledger"]["checkpoint"] = document["digest"] = ""
    texts = [write_format(name, document)[1] for name in FORMATS]
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def test_no_order_of_a_set_shows_in_a_report(tmp_path: Path) -> None:
    with house(tmp_path) as built:
        own = digest_of_all(built)
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    env = {**os.environ, "PYTHONHASHSEED": seed}
    child = subprocess.run(
        [sys.executable, "-c", SEEDED], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == own
