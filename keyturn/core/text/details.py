"""The details that each kind of store supports, with limits.

Sources: "About Azure Key Vault secrets" (15 tags, 256 characters; content types of 255); Google's resources.proto (64
labels of 63 characters and 128 bytes, annotations below 16 KiB); Kubernetes "Labels and Selectors", "Annotations", and
its TotalAnnotationSizeLimitB (256 KiB); Vault "KV secrets engine version 2 (API)", custom_metadata (64 keys of 128
bytes, texts of 512); "Tag naming and usage conventions" in the AWS General Reference and "Tag", "CreateSecret" in the
API references.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.core.ports.stores import OWN_PREFIX, TAG_TAGS, Detail, Details
from keyturn.core.store_limits import (
    AWS_PARAMETER_STORE,
    AWS_SECRETS_MANAGER,
    AZURE_KEY_VAULT,
    GCP_SECRET_MANAGER,
    KUBERNETES,
    VAULT,
)

SHOWN: Final = {
    AWS_SECRETS_MANAGER: frozenset({Detail.TAGS, Detail.DESCRIPTION}),
    AWS_PARAMETER_STORE: frozenset({Detail.TAGS}),
    AZURE_KEY_VAULT: frozenset({Detail.TAGS, Detail.CONTENT_TYPE, Detail.EXPIRY}),
    GCP_SECRET_MANAGER: frozenset({Detail.TAGS, Detail.ANNOTATIONS}),
    KUBERNETES: frozenset({Detail.TAGS, Detail.ANNOTATIONS}),
    VAULT: frozenset({Detail.TAGS, Detail.EXPIRY}),
}
"""Supported details by kind of store."""

RESERVED: Final = f"names that begin with {OWN_PREFIX} are Keyturn's own"


@dataclass(frozen=True)
class TagRule:
    """The maximum in addition to Keyturn's tags, valid names and texts, and the rules as text."""

    noun: str
    most: int
    name_fits: Callable[[str], object]
    name_rule: str
    text_fits: Callable[[str], object]
    text_rule: str

    def refuses(self, kind: str, tags: Mapping[str, str]) -> str | None:
        """Return why a store of this kind can't have these tags, quoting no text; None if it can."""
        if len(tags) > self.most:
            return (
                f"{kind} has room for {self.most} {self.noun} in addition to Keyturn's own, and these are {len(tags)}"
            )
        for name, text in tags.items():
            if problem := self._problem(name, text):
                return f"{kind}: {self.noun.removesuffix('s')} {name!r}: {problem}"
        return None

    def _problem(self, name: str, text: str) -> str | None:
        if name.startswith(OWN_PREFIX):
            return RESERVED
        if not self.name_fits(name) or " " in name:
            return f"its name has to be {self.name_rule}"
        return None if self.text_fits(text) else f"its text has to be {self.text_rule}"


def refuses_names(kind: str, details: Details, room: int) -> str | None:
    """Return why the names exceed the tag of ``room`` bytes that records Keyturn's tags."""
    length = len(" ".join(details.names).encode())
    return None if length <= room else f"{kind}: the names of all tags have to fit into {room} bytes ({TAG_TAGS})"


def size_of(tags: Mapping[str, str]) -> int:
    """The total bytes of all names and texts."""
    return sum(len(name.encode()) + len(text.encode()) for name, text in tags.items())


AWS_MAX_TAG: Final = 256
AWS_MAX_DESCRIPTION: Final = 2_048
AWS_NAME: Final = re.compile(r"(?!aws:)[\w.:/=+@-]{1,128}", re.IGNORECASE)
AWS_TEXT: Final = re.compile(rf"[\w .:/=+@-]{{0,{AWS_MAX_TAG}}}")
AWS_TAGS: Final = TagRule(
    "tags",
    44,  # of 50, with Keyturn's own six
    AWS_NAME.fullmatch,
    "1 to 128 letters, digits and _.:/=+-@, not beginning with aws:",
    AWS_TEXT.fullmatch,
    f"{AWS_MAX_TAG} letters, digits, spaces and _.:/=+-@ at most",
)

AZURE_MAX_TAG: Final = 256
AZURE_MAX_CONTENT_TYPE: Final = 255
AZURE_TAGS: Final = TagRule(
    "tags",
    10,  # of 15, with Keyturn's own five
    lambda name: 0 < len(name) <= AZURE_MAX_TAG,
    f"1 to {AZURE_MAX_TAG} characters without spaces",
    lambda text: len(text) <= AZURE_MAX_TAG,
    f"{AZURE_MAX_TAG} characters at most",
)

GCP_MAX_LABELS: Final = 64
GCP_MAX_ANNOTATIONS: Final = 16 * 1024
"""Exclusive limit in bytes of all names and texts together."""
GCP_ROOM: Final = 1024
"""Maximum bytes of Keyturn's own annotations, without the names in ``keyturn-tags``."""
GCP_ANNOTATION: Final = re.compile(r"(?!keyturn-)[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
LETTERS: Final = ("Ll", "Lo")
SIGNS: Final = (*LETTERS, "Nd", "Nl", "No")


def _gcp_label_fits(text: str) -> bool:
    signs = all(sign in "_-" or unicodedata.category(sign) in SIGNS for sign in text)
    return signs and len(text) <= 63 and len(text.encode()) <= 128


GCP_LABEL_RULE: Final = "at most 63 small letters, digits, _ and -"
GCP_LABELS: Final = TagRule(
    "tags",
    GCP_MAX_LABELS - 1,
    lambda name: _gcp_label_fits(name) and unicodedata.category(name[:1] or " ") in LETTERS,
    f"{GCP_LABEL_RULE}, a letter first: it becomes a label",
    _gcp_label_fits,
    f"{GCP_LABEL_RULE}: it becomes a label, and annotations take other texts",
)
GCP_ANNOTATIONS: Final = TagRule(
    "annotations",
    GCP_MAX_ANNOTATIONS,
    GCP_ANNOTATION.fullmatch,
    "1 to 63 letters, digits and -_., a letter or digit first and last",
    lambda text: len(text.encode()) < GCP_MAX_ANNOTATIONS,
    f"below {GCP_MAX_ANNOTATIONS} bytes",
)

KUBERNETES_DOMAIN: Final = r"(?=[^/]{1,253}/)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/"
KUBERNETES_WORD: Final = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
KUBERNETES_NAME: Final = re.compile(rf"({KUBERNETES_DOMAIN})?{KUBERNETES_WORD}")
KUBERNETES_TEXT: Final = re.compile(rf"({KUBERNETES_WORD})?")
KUBERNETES_RULE: Final = "1 to 63 letters, digits and -_., a letter or digit first and last"
KUBERNETES_MAX_ANNOTATIONS: Final = 160 * 1024
"""Bytes of 256 KiB left by Keyturn's own, which name every key."""
KUBERNETES_TYPES: Final = {
    "Opaque": (),
    "kubernetes.io/basic-auth": ("username", "password"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
}
"""The Secret types that may be requested, with their required keys. Source: "Secrets"."""
KUBECTL_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which ``kubectl apply`` keeps its whole input, including values."""

KUBERNETES_LABELS: Final = TagRule(
    "tags",
    1000,
    KUBERNETES_NAME.fullmatch,
    f"{KUBERNETES_RULE}, perhaps after a domain and a slash: it becomes a label",
    KUBERNETES_TEXT.fullmatch,
    f"empty, or {KUBERNETES_RULE}: it becomes a label, and annotations take other texts",
)
KUBERNETES_ANNOTATIONS: Final = TagRule(
    "annotations",
    1000,
    lambda name: name != KUBECTL_APPLIED and KUBERNETES_NAME.fullmatch(name),
    f"{KUBERNETES_RULE}, perhaps after a domain and a slash, and none that kubectl keeps for itself",
    lambda text: len(text.encode()) < KUBERNETES_MAX_ANNOTATIONS,
    f"below {KUBERNETES_MAX_ANNOTATIONS} bytes",
)

VAULT_MAX_NAME: Final = 128
VAULT_MAX_TEXT: Final = 512
VAULT_TAGS: Final = TagRule(
    "tags",
    55,  # of 64, with Keyturn's own nine
    lambda name: 0 < len(name.encode()) <= VAULT_MAX_NAME and name.isprintable(),
    f"1 to {VAULT_MAX_NAME} bytes that can be printed, without spaces",
    lambda text: 0 < len(text.encode()) <= VAULT_MAX_TEXT and text.isprintable(),
    f"1 to {VAULT_MAX_TEXT} bytes that can be printed",
)
