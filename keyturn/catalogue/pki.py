"""Authorities for certificates: a root or an intermediate in a PKI engine of the hub, and its roles."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from keyturn.catalogue.checks.plain_data import text_at
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import Problem
from keyturn.core.ports.authorities import WantedAuthority
from keyturn.core.ports.keys import CertificateKey, key_parameters
from keyturn.core.rights.rights import Section, allow
from keyturn.core.text.suggest import advice
from keyturn.settings import durations
from keyturn.settings.fields import Duration, EngineMount, EngineRole, Line, Model, PositiveDuration, WebUrl, refused
from keyturn.settings.timing import no_repeats

ANY: Final = "any"
THIRD: Final = 3
"""The next issuer is made when a third of an issuer's life is left, as for certificates."""
SPARE: Final = 10
"""A tenth of an issuer's life must remain after the last certificate that it signs."""


class RoleSettings(Model):
    """The certificates that a role allows: names, keys, lifetime. Anything else is forbidden."""

    allowed_domains: Annotated[tuple[Line, ...], AfterValidator(no_repeats)] = ()
    """The domains of certificates."""
    allow_bare_domains: bool = False
    """Whether certificates may name the domains themselves."""
    allow_subdomains: bool = False
    """Whether certificates may name subdomains, including wildcards."""
    allow_glob_domains: bool = False
    """Whether * in allowed_domains is any text."""
    allow_wildcard_certificates: bool = False
    """Whether names may begin with *."""
    allow_ip_sans: bool = False
    """Whether certificates may name IP addresses."""
    allow_localhost: bool = False
    """Whether certificates may name localhost."""
    server: bool = True
    """Whether certificates are for servers."""
    client: bool = False
    """Whether certificates are for clients."""
    key: CertificateKey | Literal["any"] = CertificateKey.P_256
    """The kind of keys to sign; any allows all kinds that the hub finds strong enough."""
    max_ttl: PositiveDuration
    """The maximum lifetime of certificates."""
    organization: Annotated[tuple[Line, ...], AfterValidator(no_repeats)] = ()
    """The organisation in their subjects."""

    @property
    def settings(self) -> dict[str, Any]:
        """The role's settings in the engine's format. Certificates are stored for revocation and outlive the login."""
        key = {"key_type": ANY, "key_bits": 0} if self.key == ANY else key_parameters(self.key)
        return {
            "allowed_domains": list(self.allowed_domains),
            "allow_any_name": False,
            "allow_bare_domains": self.allow_bare_domains,
            "allow_subdomains": self.allow_subdomains,
            "allow_glob_domains": self.allow_glob_domains,
            "allow_wildcard_certificates": self.allow_wildcard_certificates,
            "allow_ip_sans": self.allow_ip_sans,
            "allow_localhost": self.allow_localhost,
            "enforce_hostnames": True,
            "server_flag": self.server,
            "client_flag": self.client,
            "code_signing_flag": False,
            "email_protection_flag": False,
            **key,
            "max_ttl": int(self.max_ttl.total_seconds()),
            "organization": list(self.organization),
            "issuer_ref": "default",
            "no_store": False,
            "generate_lease": False,
        }


class RevocationSettings(Model):
    """The publication of revocations."""

    expiry: PositiveDuration = timedelta(hours=72)
    """The validity of a revocation list."""
    refresh: PositiveDuration = timedelta(hours=1)
    """The interval at which the hub renews the list, and so the delay of its news; OCSP has no delay."""
    ocsp: bool = True
    """Whether the hub answers OCSP requests."""
    ocsp_expiry: PositiveDuration = timedelta(hours=12)
    """The validity of an OCSP answer."""

    @model_validator(mode="after")
    def _anew_before_it_ends(self) -> Self:
        if self.refresh >= self.expiry:
            raise refused("refresh is not shorter than expiry", "Shorten it, or lengthen expiry.", "refresh")
        return self

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "disable": False,
            "expiry": durations_of_go(self.expiry),
            "auto_rebuild": True,
            "auto_rebuild_grace_period": durations_of_go(self.expiry - self.refresh),
            "ocsp_disable": not self.ocsp,
            "ocsp_expiry": durations_of_go(self.ocsp_expiry),
        }


def durations_of_go(life: timedelta) -> str:
    return f"{int(life.total_seconds())}s"


class UrlSettings(Model):
    """The addresses in certificates: the issuer's certificate, its revocation list and its OCSP responder.

    ``{{issuer_id}}`` is the issuer's id in the hub, as there are two issuers after a renewal.
    """

    issuing: Annotated[tuple[WebUrl, ...], AfterValidator(no_repeats)] = ()
    """The address of the issuer's certificate."""
    crl: Annotated[tuple[WebUrl, ...], AfterValidator(no_repeats)] = ()
    """The address of the revocation list."""
    ocsp: Annotated[tuple[WebUrl, ...], AfterValidator(no_repeats)] = ()
    """The address of the OCSP responder."""

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "issuing_certificates": list(self.issuing),
            "crl_distribution_points": list(self.crl),
            "ocsp_servers": list(self.ocsp),
            "enable_templating": True,
        }


class AuthoritySettings(Model):
    """An authority of the hub: its mount, its certificate, its addresses and its roles."""

    mount: EngineMount
    """The mount of its PKI engine in the hub, which no other authority shares."""
    signed_by: Line | None = None
    """The authority of this catalogue that signs it; by default, it is a root."""
    common_name: Line
    """The common name of its certificate."""
    organization: Line | None = None
    """The organisation in its certificate."""
    key: CertificateKey = CertificateKey.P_384
    """The kind of its key. A change makes a new issuer if the hub's current one has another kind."""
    ttl: PositiveDuration
    """The lifetime of its certificate. The next one is made when a third is left, or earlier if it signs longer
    ones."""
    introduce: Duration = timedelta(days=30)
    """The time from a new root's creation until it signs, for its distribution to all who trust the current one."""
    address: WebUrl | None = None
    """The hub's address for users of certificates; the default for missing addresses of urls."""
    urls: UrlSettings = Field(default_factory=UrlSettings)
    """The addresses of its certificate, revocation list and OCSP responder, if not below address."""
    revocation: RevocationSettings = Field(default_factory=RevocationSettings)
    """The publication of revocations."""
    roles: dict[EngineRole, RoleSettings] = Field(default_factory=dict)
    """Its roles, by the names that secrets of the strategy certificate give under role."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name, role in self.roles.items():
            if role.max_ttl * 2 > self.ttl:
                problem = f"max_ttl of {name} ({durations.show(role.max_ttl)}) is more than half of ttl"
                raise refused(problem, "Lengthen ttl: what it signs has to end before it does.", "roles")
        if self.signed_by is None and self.introduce * 3 > self.ttl:
            raise refused("introduce is more than a third of ttl", "Shorten it, or lengthen ttl.", "introduce")
        return self

    @property
    def places(self) -> UrlSettings:
        """The addresses from ``urls``; by default, from ``address``."""
        base = f"{self.address.rstrip('/')}/v1/{self.mount}" if self.address else ""
        of_hub = {"issuing": "issuer/{{issuer_id}}/der", "crl": "issuer/{{issuer_id}}/crl/der", "ocsp": "ocsp"}
        made = {key: (f"{base}/{path}",) for key, path in of_hub.items() if base and not getattr(self.urls, key)}
        return self.urls.model_copy(update=made)

    @property
    def configured(self) -> dict[str, dict[str, Any]]:
        roles = {f"roles/{name}": role.settings for name, role in self.roles.items()}
        issuers = {"default_follows_latest_issuer": False}
        fixed = {"config/issuers": issuers, "config/urls": self.places.settings, "config/crl": self.revocation.settings}
        return {**fixed, **roles}

    def rights(self, signs: bool) -> Iterator[Section]:
        """The rights to make and renew it; ``signs`` is True if other authorities are below it."""
        mount = self.mount
        made = [f"{mount}/{'intermediate' if self.signed_by else 'root'}/generate/internal"]
        made += [f"{mount}/intermediate/set-signed"] if self.signed_by else []
        made += [f"{mount}/issuer/default/sign-intermediate"] if signs else []
        paths = ("config/issuers", "config/urls", "config/crl", *(f"roles/{name}" for name in self.roles))
        yield Section(
            "The content of a PKI engine: see its limits, its keys and issuers, make new ones next to them and "
            "put them in force, and write what is configured. No key is read or imported, and nothing is "
            "removed.",
            (
                allow(f"sys/mounts/{mount}", "read"),
                allow(f"{mount}/keys", "list"),
                allow(f"{mount}/keys/", "list"),
                allow(f"{mount}/key/+", "read"),
                allow(f"{mount}/issuers", "list"),
                allow(f"{mount}/issuers/", "list"),
                allow(f"{mount}/issuer/+", "read", "patch", issuer_name=()),
                *(allow(path, "update") for path in made),
                *(allow(f"{mount}/{path}", "create", "read", "update") for path in paths),
            ),
        )


def wanted_authorities(declared: Mapping[str, AuthoritySettings]) -> list[WantedAuthority]:
    """The wanted state of each authority; signers come first."""
    signers = {name: authority.signed_by for name, authority in declared.items()}
    depths = {name: len(list(_above(name, signers))) for name in declared}
    return [_wanted(name, declared) for name in sorted(declared, key=lambda name: (depths[name], name))]


def mount_limits(declared: Mapping[str, AuthoritySettings]) -> dict[str, timedelta]:
    """The longest lifetime in each mount: of a root's own certificate and of everything signed there."""
    limits = {}
    for wanted in wanted_authorities(declared):
        own = [wanted.ttl] if wanted.is_root or not wanted.lives else []
        limits[wanted.mount] = max([*own, *wanted.lives.values()])
    return limits


def _wanted(name: str, declared: Mapping[str, AuthoritySettings]) -> WantedAuthority:
    own = declared[name]
    below = {f"the certificate of {key}": each.ttl for key, each in declared.items() if each.signed_by == name}
    roles = {f"what {role} signs": settings.max_ttl for role, settings in own.roles.items()}
    longest = max([*below.values(), *roles.values()], default=timedelta(0))
    introduce = timedelta(0) if own.signed_by else own.introduce
    needed = longest + introduce + own.ttl / SPARE if longest else timedelta(0)
    return WantedAuthority(
        name,
        own.mount,
        own.signed_by or "",
        own.common_name,
        own.organization or "",
        str(own.key),
        own.ttl,
        max(own.ttl / THIRD, needed),
        introduce,
        max(_levels(name, declared), default=0),
        own.configured,
        {**below, **roles},
    )


def _levels(name: str, declared: Mapping[str, AuthoritySettings]) -> Iterator[int]:
    signers = {key: authority.signed_by for key, authority in declared.items()}
    lines = (list(_above(key, signers)) for key in declared)
    return (line.index(name) + 1 for line in lines if name in line)


def _above(name: str, signers: Mapping[str, str | None]) -> Iterator[str]:
    """The signers of an authority, upwards; ends at a repetition."""
    passed = {name}
    while (above := signers.get(name)) and above not in passed:
        yield above
        passed.add(above)
        name = above


def find_misfits(entries: Mapping[str, CatalogueEntry]) -> Iterator[Problem]:
    signers = {name: text_at(entry, "signed_by") for name, entry in entries.items()}
    mounts = dict[str, str]()
    for name, entry in entries.items():
        mount = text_at(entry, "mount") or ""
        if mount and (other := mounts.setdefault(mount, name)) != name:
            yield entry.problem(("mount",), f"{other} is in this mount already", "Give each its own mount.")
        signer = signers[name]
        if signer and signer not in entries:
            remedy = advice(signer, entries, "Declare it under pki.")
            yield entry.problem(("signed_by",), f"no authority is called {signer}", remedy)
        elif signer and _circles(name, signers):
            yield entry.problem(("signed_by",), "it signs itself, over others", "Leave the top one without a signer.")
        elif signer and _too_long(entry, entries[signer]):
            remedy = "Shorten ttl, or lengthen that one's: it has to last for twice as long."
            yield entry.problem(("ttl",), f"it is more than half of the ttl of {signer}", remedy)


def _circles(name: str, signers: Mapping[str, str | None]) -> bool:
    topmost = [name, *_above(name, signers)][-1]
    return signers.get(topmost) is not None and signers.get(topmost) in signers


def _too_long(entry: CatalogueEntry, above: CatalogueEntry) -> bool:
    try:
        own, longest = (durations.parse(text_at(each, "ttl") or "") for each in (entry, above))
    except ValueError:
        return False
    return own * 2 > longest
