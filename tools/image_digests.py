"""``python -m tools.image_digests FILE``: the digests of the images that the containers are made from.

Asks the registry through ``docker buildx imagetools inspect``, and writes a line for each image that the compose files
name by a variable: ``docker compose --env-file FILE --profile demo up`` starts exactly these then.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from keyturn.core.errors import Invalid, KeyturnError, NotFound, Unavailable
from local.support.files import write_private

COMPOSE: Final = (Path("docker-compose.yml"), Path("docker-compose.production.yml"))
IMAGE: Final = re.compile(r"\$\{(KEYTURN_\w+_IMAGE):-([^}@]+)\}")
"""A variable that names an image, and what it is by default. Keyturn's own is built here: it has no registry."""
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
INSPECT: Final = ("docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}")
SECONDS: Final = 60.0
MODE: Final = 0o644


def all_images(files: Iterable[Path]) -> dict[str, str]:
    """Those of all these files. Raises as :func:`images`."""
    return {variable: image for file in files for variable, image in images(file).items()}


def images(compose: Path) -> dict[str, str]:
    """Each variable's image, by its version. Raises Invalid where the file names none, NotFound."""
    try:
        named = dict(IMAGE.findall(compose.read_text()))
    except OSError as error:
        hint = "Run this where docker-compose.yml lies"
        raise NotFound("read", str(compose), error.strerror or "it can't be read", hint) from None
    if not named:
        raise Invalid("read", str(compose), "it names no image by a variable", "Take it from Keyturn's sources")
    return named


def digest_of(image: str) -> str:
    """What the registry says this version is now. Raises Unavailable, and Invalid for an answer that is no digest."""
    try:
        asked = subprocess.run([*INSPECT, image], capture_output=True, text=True, check=False, timeout=SECONDS)
    except FileNotFoundError:
        raise NotFound("ask for", image, "the program docker is not there", "Run this where Docker is") from None
    except subprocess.TimeoutExpired:
        raise Unavailable("ask for", image, f"no answer within {SECONDS:g} s", "See that it is reached") from None
    answer = asked.stdout.strip()
    if asked.returncode != 0:
        problem = asked.stderr.strip().splitlines()[-1:] or ["docker buildx imagetools inspect failed"]
        raise Unavailable("ask for", image, problem[0], "See that the registry is reached, and has this version")
    if not DIGEST.fullmatch(answer):
        raise Invalid("ask for", image, "the answer is no digest", "docker buildx imagetools inspect shows it")
    return answer


def lines(named: dict[str, str]) -> str:
    """The file's content: each image by version and digest. Raises what :func:`digest_of` raises."""
    return "".join(f"{variable}={image}@{digest_of(image)}\n" for variable, image in named.items())


def main(argv: list[str]) -> int:
    """Write the file, all of it or nothing; 1 where an image can't be asked for."""
    parser = argparse.ArgumentParser(prog="python -m tools.image_digests", description=__doc__)
    parser.add_argument("file", type=Path, help="where the digests are written")
    file = parser.parse_args(argv).file
    try:
        write_private(file, lines(all_images(COMPOSE)), MODE)
    except KeyturnError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{file}: use it with docker compose --env-file {file} --profile demo\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
