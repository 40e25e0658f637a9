"""``keyturn setup store``: the least rights in a store, as the store's own documents."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.completion import complete_store
from keyturn.cli.environment import connected_hub, load_catalogue
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import note, write_json, write_text
from keyturn.cli.setup.policy import AlsoOption, LeasePrefixOption, documents_of, write_files
from keyturn.core.errors import Conflict, Invalid, UnsupportedOperation

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue
    from keyturn.catalogue.stores import StoreSettings
    from keyturn.catalogue.stores.kubernetes import KubernetesSettings
    from keyturn.core.rights.rights import Document

AWS: Final = (
    "an IAM administrator makes a policy from each file, attaches those named -revoker to the revoker's role or user "
    "and the others to both, and lets each query its own rights (iam:SimulatePrincipalPolicy on itself; with role_arn "
    "the files have it): aws iam create-policy --policy-name NAME --policy-document file://FILE, and after a change "
    "aws iam create-policy-version --policy-arn ARN --policy-document file://FILE --set-as-default; AWS keeps five "
    "versions, so delete an old one first: aws iam delete-policy-version"
)

NEXT: Final = {
    "aws-secrets-manager": AWS,
    "aws-parameter-store": AWS,
    "azure-key-vault": "a person who may assign roles in the resource group makes and assigns the role definitions:"
    " az role definition create --role-definition FILE",
    "gcp-secret-manager": "an IAM administrator of the project makes the roles and binds them under the conditions:"
    " gcloud iam roles create NAME --project PROJECT --file FILE",
    "kubernetes": "an administrator of the namespace runs this with --apply, or: envsubst < FILE | kubectl apply -f -",
    "vault": "an administrator of that hub writes them: vault policy write NAME FILE",
}
"""Which administrator applies them, and how, for each kind of store; docs/own-vault-and-clouds.md has the details."""

NONE: Final = "a store of kind {kind} takes no document: docs/own-vault-and-clouds.md says what it needs"


def setup_store(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="The store's name in the catalogue; without it, the policies and roles of all logins everywhere.",
            autocompletion=complete_store,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write files there instead of printing them.")
    ] = None,
    apply: Annotated[
        bool,
        typer.Option("--apply", help="In a second Vault or OpenBao, and in Kubernetes, make them with your own login."),
    ] = False,
    also: AlsoOption = None,
    lease_prefix: LeasePrefixOption = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="For a catalogue that may do everything, instead of this one.")
    ] = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the least rights that Keyturn needs in a store, for exactly the copies that the catalogue puts there.

    They are that store's own documents, and it is said who has to apply them: Keyturn's login gives itself no rights.
    With --apply the policies of a second Vault or OpenBao are written, with your login there (VAULT_ADDR, VAULT_TOKEN),
    and in Kubernetes the service accounts, the Role and its bindings, by your own kubeconfig.

    Without NAME, writes the documents of all logins in the hub and in every store; no server is asked. Mounts come
    from the environment, as on a worker. A file in DIR is overwritten only if this command has made it.
    """
    if name is None:
        if apply:
            raise typer.BadParameter("--apply goes with the NAME of one store", param_hint="--apply")
        return write_documents(documents_of(catalogue, also or [], lease_prefix or [], everything), out, as_json)
    if also or lease_prefix or everything:
        raise typer.BadParameter("--also, --lease-prefix and --everything go without the NAME of a store")
    declared = load_catalogue(catalogue)
    documents = documents_of_store(declared, name)
    if out is not None:
        from keyturn.rights.directory import write

        write(out, documents)
        write_text("\n".join(str(out / made.name) for made in documents))
    else:
        write_documents(documents, None, as_json)
    from keyturn.catalogue.stores.kubernetes import KubernetesSettings

    settings = declared.store(name)
    if apply and isinstance(settings, KubernetesSettings):
        return write_role(name, settings, documents)
    if apply:
        return write_policies(name, settings, documents)
    return note(NEXT.get(settings.kind) or needs_of(catalogue, settings) or NONE.format(kind=settings.kind))


def needs_of(catalogue: Path | None, settings: "StoreSettings") -> str:
    """What the login to a store of a recipe needs; empty for other stores."""
    from keyturn.catalogue.stores.http import HttpStoreSettings
    from keyturn.cli.catalogue.recipes import find_recipe
    from keyturn.cli.catalogue.stores import open_stores

    if not isinstance(settings, HttpStoreSettings) or settings.recipe is None:
        return ""
    needs = find_recipe(open_stores(catalogue), settings.recipe).facts.needs
    return f"the service has no document for it. The login in {settings.token_file} needs: {needs}"


def write_documents(documents: "list[Document]", directory: Path | None, as_json: bool) -> None:
    """Write files into a directory, or everything to standard output."""
    if directory is not None:
        return write_files(directory, documents, as_json)
    if as_json:
        return write_json({"documents": [{"name": made.name, "text": made.text} for made in documents]})
    return write_text("\n".join(f"# --- {made.name}\n{made.text}" for made in documents).rstrip("\n"))


def documents_of_store(declared: "Catalogue", name: str) -> "list[Document]":
    """The documents of this store. Raises NotFound where the catalogue has none."""
    from keyturn.rights.copies import copies_in
    from keyturn.rights.policy_documents import Origin

    settings = declared.store(name)
    return list(settings.rights(copies_in(declared, name, settings, str(Origin(declared.digest)))))


def write_role(name: str, settings: "KubernetesSettings", documents: "list[Document]") -> None:
    """Create what a Kubernetes store needs, with the person's kubeconfig. Raises Conflict for objects of others."""
    from keyturn.core.rights.kubernetes_rights import REVOKER, WORKER
    from keyturn.wiring.registry import import_adapter

    logins = {
        variable: os.environ.get(variable) or f"system:serviceaccount:{settings.namespace}:keyturn-{role}"
        for variable, role in ((WORKER.strip("${}"), "worker"), (REVOKER.strip("${}"), "revoker"))
    }
    apply_role = import_adapter("keyturn.providers.kubernetes.setup", "apply_role", settings.EXTRA, f"the store {name}")
    texts = [document.text for document in documents]
    for what, state in apply_role(name, settings.namespace, texts, logins, None, settings.context, settings.server):
        note(f"{state}: {what}")


def write_policies(name: str, settings: "StoreSettings", documents: "list[Document]") -> None:
    """Write a second hub's policies with the environment's login. Raises Conflict for policies of others."""
    from keyturn.catalogue.stores.vault import VaultSettings
    from keyturn.rights.policy_documents import was_made
    from keyturn.settings.hub import HubSettings

    if not isinstance(settings, VaultSettings):
        problem = f"no login of Keyturn's gives rights in a store of kind {settings.kind}"
        raise UnsupportedOperation("apply", name, problem, NEXT.get(settings.kind) or NONE.format(kind=settings.kind))
    hub = HubSettings.from_environment()
    if (hub.address.rstrip("/"), hub.namespace) != (settings.address.rstrip("/"), settings.namespace):
        hint = f"Set VAULT_ADDR to {settings.address}, VAULT_NAMESPACE to the store's, and log in there"
        raise Invalid("apply", name, "the login in use is for another hub, or another namespace", hint)
    with connected_hub(hub) as opened:
        port = opened.setup()
        for document in documents:
            policy = f"keyturn-{document.name.removesuffix('.hcl')}"
            address = f"sys/policies/acl/{policy}"
            present = port.look(address)
            text = str(present.get("policy", "")) if present else ""
            if text and not was_made(text):
                hint = "Write the rights into it by hand, or remove it"
                raise Conflict("write", f"the policy {policy}", "it is there, and Keyturn has not made it", hint)
            if text != document.text:
                port.put(address, {"policy": document.text})
            note(f"{'in place' if text == document.text else 'written'}: the policy {policy}")
