"""Manifests of External Secrets Operator: what is pulled into a cluster, and what is pushed from one.

Source: "API specification" of external-secrets.io, v1 and v1beta1.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from keyturn.inventory.conversion import Conversion, Json, hub_path, text_at
from keyturn.inventory.drafting import DraftedPlace
from keyturn.inventory.matching import Form, Rank

GROUP: Final = "external-secrets.io/"
STORES: Final = ("SecretStore", "ClusterSecretStore")
VALUE: Final = "value"


@dataclass
class Manifests:
    """All of them, read before any is converted: they speak of each other."""

    mount: str
    stores: dict[tuple[str, str, str], Json] = field(default_factory=dict)
    pulled: list[Json] = field(default_factory=list)
    pushed: list[Json] = field(default_factory=list)
    sources: dict[tuple[str, str], tuple[str, dict[str, str]]] = field(default_factory=dict)
    """The path that each Secret of a cluster is pulled from, by namespace and name, and the fields of its keys."""

    def take(self, manifest: Json, into: Conversion) -> None:
        """Keep one."""
        kind, name = text_at(manifest, "kind"), text_at(manifest, "metadata", "name")
        if kind in STORES:
            self.stores[kind, namespace_of(manifest) if kind == STORES[0] else "", name] = manifest
        elif kind == "ExternalSecret":
            self.pulled.append(manifest)
        elif kind == "PushSecret":
            self.pushed.append(manifest)
        else:
            into.leave_out(f"{kind} {name}", "it is not converted: say by hand what it does")

    def convert(self, into: Conversion) -> None:
        """All that was kept."""
        for manifest in self.pulled:
            self._pull(manifest, into)
        for manifest in self.pushed:
            self._push(manifest, into)

    def _provider(self, manifest: Json, ref: Json) -> tuple[str, str, Json]:
        """The name of the store that a manifest refers to, its kind of provider, and that provider's settings."""
        kind, name = text_at(ref, "kind") or STORES[0], text_at(ref, "name")
        store = self.stores.get((kind, namespace_of(manifest) if kind == STORES[0] else "", name), {})
        provider = store.get("spec", {}).get("provider", {}) if isinstance(store.get("spec"), Mapping) else {}
        pairs = list(provider.items()) if isinstance(provider, Mapping) else []
        word, settings = pairs[0] if pairs else ("", {})
        return name, str(word), settings if isinstance(settings, Mapping) else {}

    def _pull(self, manifest: Json, into: Conversion) -> None:
        """A Secret of a cluster that is kept as the hub has it."""
        spec, name = spec_of(manifest), text_at(manifest, "metadata", "name")
        label = f"ExternalSecret {namespace_of(manifest)}/{name}"
        store, provider, _ = self._provider(manifest, spec.get("secretStoreRef") or {})
        if provider not in ("vault", ""):
            into.leave_out(label, f"it is read from {provider}: bring that to the hub first, with keyturn import")
            return
        target = text_at(spec, "target", "name") or name
        keys = list(pulled_keys(spec))
        paths = list(dict.fromkeys(hub_path(key.path, self.mount) for key in keys))
        if not paths:
            into.leave_out(label, "it finds its secrets by a pattern: say that with syncs, docs/coming-from-eso.md")
            return
        question = "" if provider else f"is the store {store} the hub? Its manifest was not given"
        if len(paths) > 1:
            question = f"its keys are of {', '.join(paths)}: say merge: true and fields at each of them"
        question = question or unsaid(spec, keys)
        form = form_of_keys(keys)
        cluster = cluster_of(namespace_of(manifest), into)
        for path in paths:
            into.secret(path).places.append(DraftedPlace(cluster, target, form, question=question))
        own = {key.name: key.field for key in keys if key.name}
        self.sources[namespace_of(manifest), target] = (paths[0], own)

    def _push(self, manifest: Json, into: Conversion) -> None:
        """What is pushed from a Secret of a cluster, which is the hub's from now on."""
        spec, name = spec_of(manifest), text_at(manifest, "metadata", "name")
        source = text_at(spec, "selector", "secret", "name")
        label = f"PushSecret {namespace_of(manifest)}/{name}"
        if not source:
            into.leave_out(label, "it names no Secret: a generator's values are not those of the hub")
            return
        path, own = self.sources.get((namespace_of(manifest), source), (f"{namespace_of(manifest)}/{source}", {}))
        secret = into.secret(path)
        if (namespace_of(manifest), source) not in self.sources:
            secret.notes.append(f"question: it is the Secret {source} of a cluster: is it at this path of the hub?")
        more = {}
        if text_at(spec, "updatePolicy") == "IfNotExists":
            more["update"] = "create-only"
        if text_at(spec, "deletionPolicy") == "Delete":
            more["deletion"] = "delete"
        for ref in spec.get("secretStoreRefs") or ():
            store = self._pushed_to(manifest, ref, into)
            for remote, form in pushed_copies(spec.get("data") or (), own):
                secret.places.append(DraftedPlace(store, remote, form, more=more))
        for left in ("template", "dataTo"):
            if spec.get(left):
                into.leave_out(label, f"its {left} is not converted: docs/coming-from-eso.md shows how it is said here")

    def _pushed_to(self, manifest: Json, ref: Json, into: Conversion) -> str:
        """The store that a reference means, declared as far as its manifest tells."""
        name, provider, settings = self._provider(manifest, ref)
        if made := store_settings(provider, settings):
            into.stores.setdefault(name, made)
        return name


@dataclass(frozen=True)
class PulledKey:
    """One key of a cluster's Secret: ``name`` is empty for all keys of a path, ``field`` for its whole text."""

    path: str
    name: str = ""
    field: str = ""
    decoded: bool = False


def namespace_of(manifest: Json) -> str:
    """The namespace of a manifest."""
    return text_at(manifest, "metadata", "namespace") or "default"


def spec_of(manifest: Json) -> Json:
    """What it asks for."""
    spec = manifest.get("spec")
    return spec if isinstance(spec, Mapping) else {}


def pulled_keys(spec: Json) -> Iterator[PulledKey]:
    """What a manifest pulls, each key or each whole path."""
    for entry in spec.get("data") or ():
        decoded = text_at(entry, "remoteRef", "decodingStrategy") not in ("", "None")
        key, own = text_at(entry, "remoteRef", "key"), text_at(entry, "remoteRef", "property")
        yield PulledKey(key, text_at(entry, "secretKey"), own, decoded)
    for entry in spec.get("dataFrom") or ():
        if key := text_at(entry, "extract", "key"):
            yield PulledKey(key, decoded=bool(text_at(entry, "extract", "property")))


def unsaid(spec: Json, keys: Sequence[PulledKey]) -> str:
    """What of a manifest is not converted; empty where all of it is."""
    target = spec.get("target") if isinstance(spec.get("target"), Mapping) else {}
    if isinstance(target, Mapping) and target.get("template"):
        return "its template is to be said with templates, docs/coming-from-eso.md"
    if isinstance(target, Mapping) and target.get("creationPolicy") == "Merge":
        return "others own the Secret: say merge: true and fields"
    if any(isinstance(entry, Mapping) and entry.get("rewrite") for entry in spec.get("dataFrom") or ()):
        return "its keys are rewritten: say case or fields"
    if any(key.decoded for key in keys):
        return "a value is decoded, or is a property of another: say encoding, or the property's way"
    if any(key.name and not key.field for key in keys):
        return "a key holds the whole secret: which field is it?"
    if any(key.name for key in keys) and not all(key.name for key in keys):
        return "it has all keys of the secret and others besides: which fields are they?"
    return ""


def form_of_keys(keys: Sequence[PulledKey]) -> Form:
    """How the copy is made of the secret."""
    named = tuple((key.name, key.field or VALUE) for key in keys if key.name)
    return Form(Rank.FIELDS, named) if named and len(named) == len(keys) else Form()


def cluster_of(namespace: str, into: Conversion) -> str:
    """The name of the store that is a namespace of the cluster, declared."""
    name = f"cluster-{namespace}"
    into.stores.setdefault(name, {"kind": "kubernetes", "namespace": namespace})
    return name


def pushed_copies(data: Sequence[Any], own: Mapping[str, str]) -> Iterator[tuple[str, Form]]:
    """Each remote secret, and how it is made; ``own`` are the fields of the cluster's keys, where those are known."""
    by_remote: dict[str, list[tuple[str, str]]] = {}
    for entry in data:
        remote = text_at(entry, "match", "remoteRef", "remoteKey")
        key = text_at(entry, "match", "secretKey")
        by_remote.setdefault(remote, []).append((text_at(entry, "match", "remoteRef", "property"), own.get(key, key)))
    for remote, pairs in by_remote.items():
        if not remote:
            continue
        named = tuple((name, name_of) for name, name_of in pairs if name and name_of)
        if named:
            yield remote, Form(Rank.FIELDS, named)
        else:
            yield remote, Form(Rank.FIELD, field=pairs[0][1]) if pairs[0][1] else Form()


def store_settings(provider: str, settings: Json) -> dict[str, Any]:
    """A store of the catalogue as far as its manifest tells; empty where a login would have to be said besides."""
    match provider:
        case "aws" if text_at(settings, "region"):
            kind = "aws-parameter-store" if text_at(settings, "service") == "ParameterStore" else "aws-secrets-manager"
            role = {"role_arn": text_at(settings, "role")} if text_at(settings, "role") else {}
            return {"kind": kind, "region": text_at(settings, "region"), **role}
        case "azurekv" if text_at(settings, "vaultUrl"):
            return {"kind": "azure-key-vault", "vault_url": text_at(settings, "vaultUrl").rstrip("/")}
        case "gcpsm" if text_at(settings, "projectID"):
            location = {"location": text_at(settings, "location")} if text_at(settings, "location") else {}
            return {"kind": "gcp-secret-manager", "project": text_at(settings, "projectID"), **location}
        case "kubernetes":
            return {"kind": "kubernetes", "namespace": text_at(settings, "remoteNamespace") or "default"}
        case _:
            return {}
