"""``keyturn fade``: replace static keys by the identity that a workload already has."""

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn.cli.catalogue.recipes import own_recipes, searched
from keyturn.cli.environment import opened_workspace
from keyturn.cli.options import CatalogueOption, JsonOption, OptionalPath, YesOption
from keyturn.cli.output import note, when, write_json, write_table, write_text
from keyturn.cli.programs.programs import seconds_of
from keyturn.cli.readers.investigate import trail_here
from keyturn.core.errors import Invalid, KeyturnError, NotFound, UnsupportedOperation
from keyturn.core.text import templates
from keyturn.core.text.plain_text import visible

if TYPE_CHECKING:
    from keyturn.catalogue.recipes import IdentityLibrary, IdentityRecipe
    from keyturn.inventory.static_keys import StaticKey, UseReport
    from keyturn.rotation.state.context import Workspace

COLUMNS: Final = ("secret", "kind", "since (UTC)", "identity", "state")
KINDS: Final = ("identity", "replaces", "through the proxy", "its tokens live", "checked")
CLAIMS: Final = {"issuer": "iss", "subject": "sub", "audience": "aud"}
"""What the steps at the service need of the workload's token, and the claims that hold it."""

TokenOption = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", help="A token of the workload, for its issuer and subject."),
]
KindsOption = Annotated[bool, typer.Option("--kinds", help="List the identities, and what each replaces.")]
TryOption = Annotated[bool, typer.Option("--try", help="Get a token by the route's identity now, and discard it.")]
EndOption = Annotated[bool, typer.Option("--end", help="End the key, if nothing has used it.")]
UnusedOption = Annotated[
    str, typer.Option("--unused-for", metavar="TIME", help="How long nothing may have used the key.")
]


def fade(
    path: OptionalPath = None,
    kinds: KindsOption = False,
    token_file: TokenOption = None,
    try_it: TryOption = False,
    end: EndOption = False,
    unused_for: UnusedOption = "7d",
    yes: YesOption = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace static keys by workload identity: list those left, or show the steps for one.

    A service that trusts your identity provider gives your programs tokens that end by themselves. `keyturn proxy`
    gets them for its callers. --end revokes the static key, with proof, once nothing has used it for a week.
    """
    from keyturn.catalogue.recipes import IdentityLibrary

    if path is None and (try_it or end or token_file):
        raise typer.BadParameter("--try, --end and --token-file are for one PATH")
    library = searched(IdentityLibrary(own_recipes(catalogue)))
    if kinds:
        return show_kinds(library, as_json)
    period = timedelta(seconds=seconds_of(unused_for, "--unused-for"))
    with opened_workspace(catalogue, looking=not end) as workspace:
        if path is None:
            return show_static_keys(workspace, library, as_json)
        key = find_key(workspace, library, path)
        if try_it:
            return try_identity(workspace, key)
        use = look_for_use(workspace, key.path, datetime.now(UTC) - period)
        if not end:
            return show_steps(key, library[key.identity], use, token_file, as_json)
        insist_on_end(workspace, key, use, unused_for)
    return end_key(key.path, catalogue, unused_for, yes)


def show_kinds(library: "IdentityLibrary", as_json: bool) -> None:
    rows = [
        (name, "\n".join(recipe.replaces), "yes" if recipe.identity else "no", recipe.lives, str(recipe.checked))
        for name, recipe in library.items()
    ]
    if as_json:
        names = ("name", "replaces", "proxy", "lives", "checked")
        return write_json({"identities": [dict(zip(names, row, strict=True)) for row in rows]})
    return write_table(KINDS, rows, whole={"identity", "replaces"})


def show_static_keys(workspace: "Workspace", library: "IdentityLibrary", as_json: bool) -> None:
    from keyturn.inventory.static_keys import static_keys

    keys = static_keys(workspace, library)
    left = sum(key.left for key in keys)
    if as_json:
        return write_json({"static_keys_left": left, "secrets": [data_of(key) for key in keys]})
    if keys:
        rows = [(key.path, key.kind, when(key.since) if key.since else "-", key.identity, key.state) for key in keys]
        write_table(COLUMNS, rows, whole=("since (UTC)",))
    return note(f"{left} static keys left that a workload identity can replace")


def data_of(key: "StaticKey") -> dict[str, Any]:
    return {
        "path": key.path,
        "kind": key.kind,
        "identity": key.identity,
        "routes": key.routes,
        "since": key.since.isoformat() if key.since else None,
        "ended_by": key.ended_by,
        "error": key.error,
        "left": key.left,
    }


def find_key(workspace: "Workspace", library: "IdentityLibrary", path: str) -> "StaticKey":
    """The static key at this path. Raises NotFound and UnsupportedOperation."""
    from keyturn.inventory.static_keys import secret_kind, static_keys

    declared = workspace.secret(path)
    for key in static_keys(workspace, library, only=declared.path):
        return key
    problem = f"no workload identity is known for {secret_kind(declared)}"
    raise UnsupportedOperation("replace", path, problem, "List those that are known: keyturn fade --kinds")


def workload_claims(token_file: Path | None) -> dict[str, str]:
    """What the trust rule needs of a workload's token. Its signature is not checked: the service does that."""
    if token_file is None:
        return {}
    from keyturn.providers.http.workload_tokens import read_token

    payload = read_token(token_file).reveal().split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        values = {name: claims.get(claim) for name, claim in CLAIMS.items()}
    except (ValueError, AttributeError, RecursionError):
        problem = "its claims can't be read"
        raise Invalid("read", str(token_file), problem, "Give the file of a workload's JWT") from None
    texts = {name: value[0] if isinstance(value, list) and value else value for name, value in values.items()}
    return {name: visible(value) for name, value in texts.items() if isinstance(value, str) and value}


def steps_of(recipe: "IdentityRecipe", claims: Mapping[str, str]) -> list[str]:
    """The steps at the service, with what is known filled in, and NAMES in capitals for the rest."""
    values = {"audience": filled_step(recipe.audience, {}), **claims}
    return [filled_step(step, values) for step in recipe.trust]


def filled_step(text: str, values: Mapping[str, str]) -> str:
    return templates.fill(text, lambda name: values.get(name, name.upper()))


def route_lines(key: "StaticKey", recipe: "IdentityRecipe") -> Iterator[str]:
    """The lines of the catalogue that let `keyturn proxy` use the identity."""
    if recipe.identity is None:
        return
    yield from ("routes:", f"  {key.identity}:", f"    secret: {key.path}", "    identity:")
    yield f"      recipe: {key.identity}"
    if needed := sorted(recipe.named(recipe.identity)):
        yield "      parameters:"
        yield from (
            f"        {name}: {json.dumps(recipe.parameters[name].example)}  # {recipe.parameters[name].about}"
            for name in needed
        )
    yield "      token_file: /var/run/secrets/tokens/token"
    yield "    # and url, allow and callers, as in docs/agents.md"


def show_steps(
    key: "StaticKey", recipe: "IdentityRecipe", use: "UseReport", token_file: Path | None, as_json: bool
) -> None:
    trust, lines = steps_of(recipe, workload_claims(token_file)), list(route_lines(key, recipe))
    if as_json:
        return write_json({**data_of(key), "trust": trust, "route": "\n".join(lines), "use": use.to_data()})
    parts = [f"{key.path} ({key.kind}): {key.state}. {recipe.title} can replace it; its tokens live {recipe.lives}."]
    parts.append("1. Make the service trust the workload:\n" + "\n".join(f"   - {step}" for step in trust))
    if key.routes:
        parts.append(f"2. Route {', '.join(key.routes)} uses the identity. Test it: keyturn fade {key.path} --try")
    elif lines:
        parts.append("2. Add a route to the catalogue:\n\n" + "\n".join(f"    {line}" for line in lines))
    else:
        parts.append("2. Give the workload's token to your programs, whose SDK exchanges it. The proxy can't.")
    parts.append("3. Move your programs, until nothing uses the key:\n" + "\n".join(use_lines(use)))
    parts.append(f"4. End the key: keyturn fade {key.path} --end")
    parts += [f"Note: {text}" for text in recipe.notes]
    return write_text("\n\n".join(parts))


def use_lines(use: "UseReport") -> Iterator[str]:
    yield from (f"   - USED: {text}" for text in use.evidence)
    yield from (f"   - no use found: {place}" for place in use.looked if not use.evidence)
    yield from (f"   - not known: {text}" for text in use.unknown)


def look_for_use(workspace: "Workspace", path: str, since: datetime) -> "UseReport":
    """The key's use since then: by the service, and reads of the secret by the access trail."""
    from keyturn.inventory.static_keys import UseReport, use_at_target

    at_target = use_at_target(workspace, path, since)
    try:
        evidence, unknown = reads_since(workspace, path, since)
        looked: tuple[str, ...] = () if unknown else ("reads in the access trail",)
    except KeyturnError as error:
        evidence, unknown, looked = (), (f"reads of the secret: {error.problem}",), ()
    return UseReport((*at_target.evidence, *evidence), (*at_target.unknown, *unknown), (*at_target.looked, *looked))


def reads_since(workspace: "Workspace", path: str, since: datetime) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Reads of a secret and its copies by others than Keyturn, and the places that the trail does not cover."""
    from keyturn.access_log.trail.last_reads import last_reads
    from keyturn.cli.readers.unused import HUB, place_reads
    from keyturn.keys.own_login import own_principals

    reads = last_reads(trail_here(), own_principals(workspace))
    systems = dict.fromkeys((HUB, *(place.store for place in workspace.catalogue.destinations(path))))
    places = [place_reads(reads, path, system) for system in systems]
    evidence = tuple(f"read {place}" for place in places if place.at and place.at > since)
    blind = (place for place in places if place.since is None or place.since > since)
    return evidence, tuple(f"reads in {visible(place.system)} for all of that time" for place in blind)


def try_identity(workspace: "Workspace", key: "StaticKey") -> None:
    """Get a token by each route with an identity, and discard it. Raises what the exchange raises."""
    from keyturn.cli.programs.proxy_routes import identity_tokens

    for name in insist_on_route(key):
        identity = workspace.catalogue.routes[name].identity
        if identity:
            token = identity_tokens(name, identity).exchanged()
            note(f"route {name}: the service gave a token that is used until {when(token.until)} UTC; it was discarded")


def insist_on_route(key: "StaticKey") -> tuple[str, ...]:
    if not key.routes:
        hint = f"Add the route that `keyturn fade {key.path}` shows, with the secret's path"
        raise NotFound("use", "the workload identity", f"no route with an identity replaces {key.path}", hint)
    return key.routes


def insist_on_end(workspace: "Workspace", key: "StaticKey", use: "UseReport", period: str) -> None:
    """Raise unless programs have another way, it works, and nothing is known to use the key."""
    by_hand = f"If you know better: keyturn revoke {key.path} --mode revoke-only --expect 1 --reason '...'"
    if not key.left:
        raise Invalid("end", key.path, key.state, "There is nothing to end")
    try_identity(workspace, key)
    if use.evidence:
        raise Invalid("end", key.path, f"it was used within {period}: {'; '.join(use.evidence)}", by_hand)
    if not use.looked:
        raise Invalid("end", key.path, f"its use is not known: {'; '.join(use.unknown)}", by_hand)
    for text in use.unknown:
        note(f"not known: {text}")


def end_key(path: str, catalogue: Path | None, period: str, yes: bool) -> None:
    """Revoke the key without a replacement, as an incident with proof."""
    from keyturn.cli.emergencies.revoke import revoke
    from keyturn.revocation.incidents.incident import Mode

    reason = f"replaced by workload identity; no use found in {period}"
    revoke([path], mode=Mode.REVOKE_ONLY, expect=1, reason=reason, yes=yes, catalogue=catalogue)
