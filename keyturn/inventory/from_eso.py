"""Convert manifests of External Secrets Operator: secrets pulled into a cluster, and secrets pushed from one.

A manifest is converted whole or not at all. Source: "API specification" of external-secrets.io, v1 and v1beta1.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import yaml
from pydantic import ValidationError

from keyturn.catalogue.destinations import Destination
from keyturn.catalogue.files.append import quoted
from keyturn.core.text.references import names_previous
from keyturn.core.text.templates import texts
from keyturn.inventory.conversion import Conversion, Json, text_at
from keyturn.inventory.drafting import DraftedPlace
from keyturn.inventory.eso_spec import EXTERNAL_SECRET, PUSH_SECRET, VARIABLE, Rule, not_converted
from keyturn.inventory.eso_stores import (
    VAULTS,
    EsoStore,
    HubPlace,
    declared_store,
    hub_lines,
    insist_on_hub,
    read_store,
)
from keyturn.inventory.go_templates import KeyValue, NotConverted, converted_template
from keyturn.inventory.matching import Form, Rank

GROUP: Final = "external-secrets.io/"
STORES: Final = ("SecretStore", "ClusterSecretStore")
MERGED: Final = ("Merge", "CreateOrMerge")
BOOKKEEPING: Final = re.compile(
    r"(kubectl\.kubernetes\.io|argocd\.argoproj\.io|(meta\.)?helm\.sh|(kustomize|helm)\.toolkit\.fluxcd\.io"
    r"|(reconcile\.)?external-secrets\.io)/(?!secret-type).*|app\.kubernetes\.io/(instance|managed-by)|force-sync"
)
"""Metadata of other tools. Some of them would delete a Secret without an owner that bears it."""
GJSON: Final = re.compile(r"[#*?|@\\!{}\[\]()]")
"""Characters that make a property a query instead of a plain JSON path."""
WHOLE_NAME: Final = ("(.*)", "(.+)", "^(.*)$", "^(.+)$")
ADDED: Final = re.compile(r"([^$]*)\$(?:1(?!\w)|\{1\})([^$]*)")
TRANSFORMED: Final = re.compile(r"\{\{-?\s*\.value\s*\|\s*(upper|lower)\s*-?\}\}")
EMPTY_DURATION: Final = re.compile(r"(0[a-z]*)+")


@dataclass(frozen=True)
class Whole:
    """All fields of a path, with ``before`` and ``after`` around each name, or in another ``case``."""

    path: str
    before: str = ""
    after: str = ""
    case: str = ""

    def value(self, key: str) -> KeyValue | None:
        inner = key.removeprefix(self.before).removesuffix(self.after)
        fits = inner and f"{self.before}{inner}{self.after}" == key and not self.case
        return KeyValue(self.path, field=inner) if fits else None


@dataclass(frozen=True)
class SecretContent:
    """The content of a Secret: named keys, and all fields of whole paths."""

    keys: Mapping[str, KeyValue] = field(default_factory=dict)
    wholes: tuple[Whole, ...] = ()

    def lookup(self, key: str) -> KeyValue:
        if key in self.keys:
            return self.keys[key]
        values = [value for whole in self.wholes if (value := whole.value(key))]
        if len(values) > 1:
            paths = " or ".join(value.path for value in values)
            raise NotConverted(f"{key} may be a field of {paths}: name its path with data and remoteRef")
        if not values:
            raise NotConverted(f"nothing in it is called {key}")
        return checked_value(values[0])

    def templated(self, template: Json) -> "SecretContent":
        data = template.get("data")
        if not isinstance(data, Mapping) or not data:
            return self
        engine = text_at(template, "engineVersion") or "v2"
        made = {str(key): converted_template(str(text), engine, self.lookup) for key, text in data.items()}
        if text_at(template, "mergePolicy") == "Merge":
            return SecretContent({**self.keys, **made}, self.wholes)
        return SecretContent(made)

    @property
    def paths(self) -> list[str]:
        named = (*(whole.path for whole in self.wholes), *(value.path for value in self.keys.values()))
        return list(dict.fromkeys(path for path in named if path))

    def copies(self) -> Iterator[tuple[str, Form, dict[str, str]]]:
        if self.wholes:
            if self.keys or len(self.wholes) > 1:
                raise NotConverted("it has all keys of a path and others as well: name each key with data")
            whole = self.wholes[0]
            if whole.before or whole.after:
                raise NotConverted("it puts a text before or after the name of every key: name each key with data")
            yield whole.path, Form(), {"case": whole.case} if whole.case else {}
            return
        if not self.paths:
            raise NotConverted("it holds nothing of the hub")
        for path in self.paths:
            also = path == self.paths[0]
            own = {key: value for key, value in self.keys.items() if value.path == path or (also and not value.path)}
            yield path, *shape_of_keys(own)


def checked_value(value: KeyValue) -> KeyValue:
    if names_previous(value.field) or GJSON.search(value.field):
        raise NotConverted(f"the property {value.field} means something else in a catalogue")
    return value


def shape_of_keys(keys: Mapping[str, KeyValue]) -> tuple[Form, dict[str, str]]:
    fields = tuple((key, value.field) for key, value in keys.items() if value.field)
    texts = {key: value for key, value in keys.items() if not value.field}
    form = Form(Rank.FIELDS, fields) if fields else Form()
    parts = (f"{quoted(key)}: {template_text(value)}" for key, value in texts.items())
    return form, {"templates": f"{{ {', '.join(parts)} }}"} if texts else {}


def template_text(value: KeyValue) -> str:
    text = quoted(value.template)
    return f"{{ template: {text}, escape: {value.escape} }}" if value.escape else text


@dataclass
class Manifests:
    """All manifests, read before any is converted, because they refer to each other."""

    hub: HubPlace
    declared: Collection[str] = ()
    """The stores that the catalogue already declares."""
    stores: dict[tuple[str, str, str], EsoStore] = field(default_factory=dict)
    pulled: list[Json] = field(default_factory=list)
    pushed: list[Json] = field(default_factory=list)
    made: dict[tuple[str, str], SecretContent | str] = field(default_factory=dict)
    """The content of each Secret by namespace and name, or why it is not converted."""

    def take(self, manifest: Json, into: Conversion) -> None:
        kind, name = text_at(manifest, "kind"), text_at(manifest, "metadata", "name")
        if kind in STORES:
            namespace = namespace_of(manifest) if kind == STORES[0] else ""
            self.stores[kind, namespace, name] = read_store(manifest, namespace)
        elif kind == "ExternalSecret":
            self.pulled.append(manifest)
        elif kind == "PushSecret":
            self.pushed.append(manifest)
        else:
            into.leave_out(f"{kind} {name}", "it is not converted: say by hand what it does")

    def convert(self, into: Conversion) -> None:
        for manifest in self.pulled:
            if reason := self._convert(manifest, EXTERNAL_SECRET, self._pull, into):
                self.made[namespace_of(manifest), target_of(manifest)] = reason
        for manifest in self.pushed:
            self._convert(manifest, PUSH_SECRET, self._push, into)
        into.heading += [f"The hub has to be the Vault of {line}" for line in hub_lines(self._read)]

    def _convert(
        self, manifest: Json, rule: Rule, declare: Callable[[Json, Conversion], None], into: Conversion
    ) -> str:
        try:
            if problems := list(not_converted(spec_of(manifest), rule)):
                raise NotConverted(f"{', '.join(problems)}: a catalogue has no such key")
            if variable := unresolved(manifest):
                raise NotConverted(f"{variable} is not filled in: give what kubectl prints")
            declare(manifest, into)
        except NotConverted as error:
            into.leave_out(label_of(manifest), f"it is not converted: {error}")
            return str(error)
        return ""

    def _store(self, manifest: Json, ref: Any) -> EsoStore:
        kind, name = text_at(ref, "kind") or STORES[0], text_at(ref, "name")
        namespace = namespace_of(manifest) if kind == STORES[0] else ""
        return self.stores.get((kind, namespace, name)) or EsoStore(kind, name, namespace)

    @property
    def _read(self) -> list[EsoStore]:
        stores = [self._store(manifest, ref) for manifest in self.pulled for ref in store_refs(spec_of(manifest))]
        return [store for store in {store.label: store for store in stores}.values() if store.provider in VAULTS]

    def _pull(self, manifest: Json, into: Conversion) -> None:
        spec, namespace, target = spec_of(manifest), namespace_of(manifest), target_of(manifest)
        content = self._content(manifest, into)
        template = spec.get("target", {}).get("template") or {} if isinstance(spec.get("target"), Mapping) else {}
        made = content.templated(template)
        merged = len(made.paths) > 1 or text_at(spec, "target", "creationPolicy") in MERGED
        more, note = destination_of(manifest, template, merged=merged)
        unknown = sorted({store.name for ref in store_refs(spec) if not (store := self._store(manifest, ref)).provider})
        question = f"is the store {', '.join(unknown)} the hub? Its manifest was not given" if unknown else ""
        copies = list(made.copies())
        if merged and any(not (form.fields or own.get("templates")) for _, form, own in copies):
            raise NotConverted("others have keys in the same Secret, and it has all keys of a path: name each key")
        cluster = cluster_of(namespace, into)
        places = [
            (path, DraftedPlace(cluster, target, form, note=note, question=question, more={**own, **more}))
            for path, form, own in copies
        ]
        declare_places(places, into)
        several = f"{target} is made by several ExternalSecrets" if (namespace, target) in self.made else ""
        self.made[namespace, target] = question or several or made

    def _content(self, manifest: Json, into: Conversion) -> SecretContent:
        spec = spec_of(manifest)
        keys, wholes = dict[str, KeyValue](), list[Whole]()
        for entry in mappings(spec.get("dataFrom")):
            if not (key := text_at(entry, "extract", "key")):
                raise NotConverted("an entry of dataFrom extracts nothing")
            wholes.append(replace(rewritten(entry.get("rewrite")), path=self._path(manifest, entry, key, into)))
        for entry in mappings(spec.get("data")):
            key, own = text_at(entry, "remoteRef", "key"), text_at(entry, "remoteRef", "property")
            if not own:
                raise NotConverted(f"the key {text_at(entry, 'secretKey')} is a whole secret: name a property")
            value = KeyValue(self._path(manifest, entry, key, into), field=own)
            keys[text_at(entry, "secretKey")] = checked_value(value)
        return SecretContent(keys, tuple(wholes))

    def _path(self, manifest: Json, entry: Json, key: str, into: Conversion) -> str:
        """Return the catalogue path that an entry reads, and declare its mount. Raises NotConverted."""
        ref = entry.get("sourceRef") or {}
        store = self._store(manifest, ref.get("storeRef") or spec_of(manifest).get("secretStoreRef") or {})
        if store.provider not in (*VAULTS, ""):
            raise NotConverted(f"it is read from {store.provider}: bring that to the hub first, with keyturn import")
        if store.provider:
            insist_on_hub(store, self.hub, self._read)
        mount, path = store.mount_and_path(key, self.hub.mount)
        if not path or not key:
            raise NotConverted(f"{key or 'an empty key'} is no path of a secret")
        return path if mount == self.hub.mount else f"{self._mount(mount, into)}:{path}"

    def _mount(self, mount: str, into: Conversion) -> str:
        name = self.hub.mounts.get(mount) or re.sub(r"[^A-Za-z0-9]+", "-", mount)
        into.mounts[name] = {"mount": mount}
        return name

    def _push(self, manifest: Json, into: Conversion) -> None:
        """Declare the copies pushed from a Secret, with the hub as their source. Raises NotConverted."""
        spec, namespace = spec_of(manifest), namespace_of(manifest)
        source = text_at(spec, "selector", "secret", "name")
        if not source:
            raise NotConverted("it names no Secret")
        if EMPTY_DURATION.fullmatch(str(spec.get("refreshInterval", ""))):
            raise NotConverted("refreshInterval: 0, by which it is pushed once")
        guessed = SecretContent(wholes=(Whole(f"{namespace}/{source}"),))
        content = self.made.get((namespace, source), guessed)
        if isinstance(content, str):
            raise NotConverted(f"what its Secret {source} holds is not known: {content}")
        made = content.templated(spec.get("template") or {})
        entries = mappings(spec.get("data"))
        targets = [self._pushed_to(manifest, ref, into) for ref in mappings(spec.get("secretStoreRefs"))]
        copies = [(name, *copy) for name, kind in targets for copy in pushed_copies(entries, made, kind, spec)]
        if not copies:
            raise NotConverted("it pushes nothing")
        places = [(path, DraftedPlace(name, remote, form, more=more)) for name, remote, path, form, more in copies]
        declare_places(places, into)
        if content is guessed:
            note = f"question: it is the Secret {source} of a cluster: is it at this path of the hub?"
            into.secret(f"{namespace}/{source}").notes.append(note)

    def _pushed_to(self, manifest: Json, ref: Json, into: Conversion) -> tuple[str, str]:
        store = self._store(manifest, ref)
        if not store.provider or store.name in self.declared:
            return store.name, ""
        made = declared_store(store)
        taken = into.stores.get(store.name, made) != made
        name = f"{store.name}-{store.namespace or 'cluster'}" if taken else store.name
        if store.own_login and name not in into.stores:
            keys = ", ".join(store.own_login)
            into.leave_out(store.label, f"its {keys} is not converted: Keyturn logs in to the store {name} as itself")
        into.stores[name] = made
        return name, str(made["kind"])


def namespace_of(manifest: Json) -> str:
    return text_at(manifest, "metadata", "namespace") or "default"


def label_of(manifest: Json) -> str:
    return f"{text_at(manifest, 'kind')} {namespace_of(manifest)}/{text_at(manifest, 'metadata', 'name')}"


def spec_of(manifest: Json) -> Json:
    spec = manifest.get("spec")
    return spec if isinstance(spec, Mapping) else {}


def target_of(manifest: Json) -> str:
    return text_at(manifest, "spec", "target", "name") or text_at(manifest, "metadata", "name")


def mappings(data: Any) -> list[Json]:
    return [entry for entry in data if isinstance(entry, Mapping)] if isinstance(data, list) else []


def store_refs(spec: Json) -> Iterator[Any]:
    entries = [*mappings(spec.get("data")), *mappings(spec.get("dataFrom"))]
    sources = [entry.get("sourceRef") for entry in entries]
    own = [source["storeRef"] for source in sources if isinstance(source, Mapping) and source.get("storeRef")]
    if len(own) < len(entries):
        yield spec.get("secretStoreRef") or {}
    yield from own


def unresolved(manifest: Json) -> str:
    """Return an unresolved Flux or Helm variable such as ``${APP}``, or an empty text.

    Manifests from the API server contain none: there it is part of a text.
    """
    if text_at(manifest, "metadata", "uid"):
        return ""
    spec = dict(spec_of(manifest))
    named = [text_at(manifest, "metadata", "name"), namespace_of(manifest), target_of(manifest)]
    keys = [text for key in ("data", "secretStoreRef", "secretStoreRefs", "selector") for text in texts(spec.get(key))]
    extracts = [text_at(entry, "extract", "key") for entry in mappings(spec.get("dataFrom"))]
    flux = (match[0] for text in (*named, *texts(spec)) if (match := VARIABLE.search(text)))
    helm = (text for text in (*named, *keys, *extracts) if "{{" in text)
    return next(iter((*flux, *helm)), "")


def rewritten(rewrite: Any) -> Whole:
    steps = mappings(rewrite)
    if not steps:
        return Whole("")
    source, target = text_at(steps[0], "regexp", "source"), text_at(steps[0], "regexp", "target")
    if len(steps) == 1 and source in WHOLE_NAME and (added := ADDED.fullmatch(target)):
        return Whole("", before=added[1], after=added[2])
    if len(steps) == 1 and (changed := TRANSFORMED.fullmatch(text_at(steps[0], "transform", "template"))):
        return Whole("", case=changed[1])
    raise NotConverted("it rewrites the names of keys by a pattern: name each key with data")


def destination_of(manifest: Json, template: Json, *, merged: bool) -> tuple[dict[str, str], str]:
    spec, more = spec_of(manifest), dict[str, str]()
    never_again = EMPTY_DURATION.fullmatch(str(spec.get("refreshInterval", "")))
    once = bool(never_again) or text_at(spec, "refreshPolicy") == "CreatedOnce"
    deletion, kind = text_at(spec, "target", "deletionPolicy"), text_at(template, "type")
    beside, left = metadata_of(manifest, template)
    if merged and (once or beside or kind not in ("", "Opaque")):
        what = "refreshPolicy" if once else ", ".join(beside) or "type"
        raise NotConverted(f"its {what} is for the whole Secret, and others have keys in the same one")
    if deletion == "Merge" and not merged:
        raise NotConverted("deletionPolicy: Merge, by which a Secret without keys stays")
    if merged:
        more["merge"] = "true"
    if once:
        more["update"] = "create-only"
    if deletion in ("Delete", "Merge"):
        more["deletion"] = "delete"
    if kind and not merged:
        more["content_type"] = quoted(kind)
    texts_of = {
        key: f"{{ {', '.join(f'{quoted(a)}: {quoted(b)}' for a, b in own.items())} }}" for key, own in beside.items()
    }
    return more | texts_of, f"without {', '.join(left)}, which other tools note for themselves" if left else ""


def declare_places(places: Collection[tuple[str, DraftedPlace]], into: Conversion) -> None:
    """Declare all places at their paths, or none. Raises NotConverted."""
    for _, place in places:
        insist_on_destination(place)
    for path, place in places:
        into.secret(path).places.append(place)


def insist_on_destination(place: DraftedPlace) -> None:
    try:
        Destination.model_validate(yaml.safe_load(place.entry(adopt=False))[0])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise NotConverted(f"{where} {first['msg']}") from None


def metadata_of(manifest: Json, template: Json) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the Secret's labels and annotations as ``tags`` and ``annotations``, and the labels left out.

    Without a template the operator takes them from the ExternalSecret. Raises NotConverted.
    """
    metadata = template.get("metadata") if template else manifest.get("metadata")
    made, left = dict[str, dict[str, str]](), list[str]()
    for key, name in (("labels", "tags"), ("annotations", "annotations")):
        own = metadata.get(key) if isinstance(metadata, Mapping) else None
        texts_of_key = {str(a): str(b) for a, b in own.items()} if isinstance(own, Mapping) else {}
        if any("{{" in text for text in (*texts_of_key, *texts_of_key.values())):
            raise NotConverted(f"its template makes {key}")
        left += [label for label in texts_of_key if BOOKKEEPING.fullmatch(label)]
        if own_texts := {label: text for label, text in texts_of_key.items() if not BOOKKEEPING.fullmatch(label)}:
            made[name] = own_texts
    return made, left


def cluster_of(namespace: str, into: Conversion) -> str:
    name = f"cluster-{namespace}"
    into.stores.setdefault(name, {"kind": "kubernetes", "namespace": namespace})
    return name


def pushed_copies(
    entries: list[Json], content: SecretContent, kind: str, spec: Json
) -> Iterator[tuple[str, str, Form, dict[str, str]]]:
    """Yield each remote secret with its path, form and further keys."""
    more = {"deletion": "delete"} if text_at(spec, "deletionPolicy") == "Delete" else {}
    once = text_at(spec, "updatePolicy") == "IfNotExists"
    for remote in dict.fromkeys(text_at(entry, "match", "remoteRef", "remoteKey") for entry in entries):
        own = [entry["match"] for entry in entries if text_at(entry, "match", "remoteRef", "remoteKey") == remote]
        named = {text_at(match, "remoteRef", "property"): text_at(match, "secretKey") for match in own}
        if not remote or len(named) != len(own) or ("" in named and len(named) > 1):
            raise NotConverted(f"what {remote or 'a copy without a name'} holds is said twice")
        if "" not in named:
            yield from properties(remote, named, content, kind, {**more, **ADDS[once]})
            continue
        shape = {**more, **({"update": "create-only"} if once else {})}
        if not named[""]:
            yield from ((remote, path, form, {**own_shape, **shape}) for path, form, own_shape in alone(content))
        elif kind == "kubernetes":
            raise NotConverted(f"{remote} is a Secret, and the key that it gets is not named by property")
        else:
            yield one_value(remote, content.lookup(named[""]), shape)


ADDS: Final = {True: {"update": "add-fields"}, False: {"merge": "true"}}
"""Keys to add to an existing secret: only where missing, or always."""


def properties(
    remote: str, named: Mapping[str, str], content: SecretContent, kind: str, more: dict[str, str]
) -> Iterator[tuple[str, str, Form, dict[str, str]]]:
    if not all(named.values()):
        raise NotConverted(f"a key of {remote} gets a whole Secret")
    if kind != "kubernetes" and (inner := next((name for name in named if "." in name or GJSON.search(name)), "")):
        raise NotConverted(f"the property {inner} leads into the JSON of {remote}")
    keys = SecretContent({name: content.lookup(key) for name, key in named.items()})
    if len(keys.paths) > 1 and "update" in more:
        raise NotConverted(f"{remote} gets its keys from several paths, each only where it is missing")
    yield from ((remote, path, form, {**shape, **more}) for path, form, shape in keys.copies())


def alone(content: SecretContent) -> list[tuple[str, Form, dict[str, str]]]:
    copies = list(content.copies())
    if len(copies) > 1:
        raise NotConverted(f"it pushes a Secret that is made of {' and '.join(content.paths)}")
    return copies


def one_value(remote: str, value: KeyValue, more: dict[str, str]) -> tuple[str, str, Form, dict[str, str]]:
    if not value.path:
        raise NotConverted(f"{remote} gets a text that holds nothing of the hub")
    if value.field:
        return remote, value.path, Form(Rank.FIELD, field=value.field), more
    escape = {"escape": value.escape} if value.escape else {}
    return remote, value.path, Form(), {"template": quoted(value.template), **escape, **more}
