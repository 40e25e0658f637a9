"""``python -m deployments.trim SITE_PACKAGES``: removes code that Keyturn never calls from an image's packages.

Run by a Python without these packages. A test compares the kept services with those in the code.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

AWS_SERVICES: Final = frozenset(
    {
        "iam",
        "kms",
        "resourcegroupstaggingapi",
        "s3",
        "secretsmanager",
        "ssm",
        "sts",
        # Used by botocore itself, for logins by IAM Identity Center and by a console session.
        "signin",
        "sso",
        "sso-oidc",
    }
)
UNUSED: Final = ("kubernetes/aio",)


def superfluous(packages: Path) -> Iterator[Path]:
    yield from (packages / name for name in UNUSED if (packages / name).is_dir())
    for service in sorted((packages / "botocore" / "data").glob("*")):
        if service.is_dir() and service.name not in AWS_SERVICES:
            yield service
    yield from (folder for folder in sorted(packages.glob("*/tests")) if folder.is_dir())


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not (packages := Path(arguments[0])).is_dir():
        sys.stderr.write("trim: give the directory site-packages\n")
        return 1
    removed = 0
    for folder in superfluous(packages):
        removed += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        shutil.rmtree(folder)
    sys.stdout.write(f"trim: {removed / 1e6:.0f} MB that nothing calls are gone\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
