"""``python -m deployments.trim SITE_PACKAGES``: takes out of an image's packages what Keyturn never calls.

Run while the image is built, by a Python that has none of these packages. What goes: the asynchronous half of the
Kubernetes client, botocore's descriptions of services that Keyturn does not call, the packages' own tests, and the
local stack's emulators. A test holds the services that are kept against those that the code asks for.
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
        # Asked by botocore itself, for logins by IAM Identity Center and by the console's session.
        "signin",
        "sso",
        "sso-oidc",
    }
)
UNUSED: Final = ("kubernetes/aio",)


def superfluous(packages: Path) -> Iterator[Path]:
    """Each directory that may go."""
    yield from (packages / name for name in UNUSED if (packages / name).is_dir())
    for service in sorted((packages / "botocore" / "data").glob("*")):
        if service.is_dir() and service.name not in AWS_SERVICES:
            yield service
    yield from (folder for folder in sorted(packages.glob("*/tests")) if folder.is_dir())


def main(arguments: list[str]) -> int:
    """Remove it, and say how much it was; 1 where there are no packages."""
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
