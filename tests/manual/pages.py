"""The pages whose commands are typed on a local stack, with what each takes for granted."""

import base64
import json
import re
import secrets
import sqlite3
from contextlib import closing
from typing import Any, Final

from rich.console import Console

from local import environment
from local.demo_access import Session
from local.services import CONSUMER_ROLE
from local.support.ports import free_port
from tests.cli.command import ROOT
from tests.manual import people
from tests.manual.site import Page, Site, Way, site_in

OWNER: Final = "ml@example.com"
ANSWER: Final = {"owner": OWNER, "classification": "internal"}
MADE: Final = {**ANSWER, "rotation": {"strategy": "generated", "interval": "30d", "grace": "1h"}}
READY: Final = "ready: "
LEGACY: Final = """
import boto3, os
client = boto3.client("secretsmanager", endpoint_url=os.environ["KEYTURN_AWS_ENDPOINT"])
there = {secret["Name"] for secret in client.list_secrets(MaxResults=100)["SecretList"]}
for name in {"legacy/db", "legacy/token"} - there:
    client.create_secret(Name=name, SecretString='{"value": "first"}')
"""
RUNS: Final = "runs here"


def hub_log(site: Site) -> None:
    """The hub's audit log, which the pages have at its usual place."""
    site.replaced |= {"/var/log/openbao/audit.log": str(site.stack.hub.audit_log)}


def with_example(site: Site) -> None:
    """A checkout of the repository's catalogue in the current directory."""
    (site.directory / "deployments").mkdir()
    site.does(f"cp -r {ROOT}/deployments/catalogue deployments/catalogue")


# --- catalogues and their file


def signed(site: Site) -> None:
    """A catalogue, and the operator's file."""
    site.copy_of_example()
    site.as_root()
    site.does("openssl genpkey -algorithm ed25519 -out reviewers.pem && chmod 0600 reviewers.pem")
    keys = site.root().secrets.transit
    keys.create_key("keyturn-catalogue", key_type="ed25519")


def forbid_hosts(site: Site) -> None:
    """An operator who lets nothing leave this machine but to one host."""
    file = site.directory / "policy.yaml"
    file.write_text('hosts: ["*.example.com:443"]\n')
    site.env |= {"KEYTURN_POLICY": str(file), "KEYTURN_CATALOGUE": "catalogue"}


def told_where(site: Site, output: str) -> None:
    assert "the operator's file does not allow this host" in output
    assert "problems in catalogue" in output


def contexts(site: Site) -> None:
    """The page's file, with the stack's hub in it."""
    page = (ROOT / "docs" / "contexts.md").read_text()
    (example,) = re.findall(r"(?ms)^```yaml\n(.*?)^```", page)
    logins = site.stack.login_files("keyturn-worker")
    site.replaced |= {"/etc/keyturn/logins/keyturn-worker/role-id": str(logins.role_id)}
    site.replaced |= {"/etc/keyturn/logins/keyturn-worker/secret-id": str(logins.secret_id)}
    example = example.replace("https://hub.example.com:8200", site.stack.hub.address)
    example = example.replace("/etc/keyturn/hub-ca.pem", str(site.stack.hub.ca_file)).replace(
        "/srv", str(site.directory)
    )
    example = example.replace("      namespace: payments\n", "")
    file = site.directory / ".config" / "keyturn" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(site.here(example))
    site.copy_of_example()
    site.env |= environment.environment(site.stack)
    for name in ("VAULT_ADDR", "VAULT_CACERT", "KEYTURN_CATALOGUE", "PREFECT_API_URL"):
        site.env.pop(name)


# --- copies


def two_legacy_secrets(site: Site) -> None:
    """What the page imports is in AWS, unmanaged."""
    site.copy_of_example()
    there = json.loads(site.does("keyturn env --json"))["export"]
    (site.directory / "legacy.py").write_text(LEGACY)
    site.does("python legacy.py", **there)


def stale_copy(site: Site) -> None:
    """A copy that is to be made: the catalogue wants one more."""
    two_legacy_secrets(site)
    answered(site)
    with (site.directory / "catalogue" / "more.yaml").open("w") as file:
        wanted = [{"store": "aws", "name": "page-extra"}]
        json.dump({"secrets": {"apps/extra": {**MADE, "destinations": wanted}}}, file)
    site.does("keyturn rotate apps/extra --local")


def nothing_in_its_grace(site: Site) -> None:
    """The rotation before has ended, with the old credential."""
    site.does("keyturn retire ml-training/database --force --yes")


def answered(site: Site) -> None:
    """At a terminal it asks, and the answer is yes. The last rotation is over."""
    nothing_in_its_grace(site)
    site.replaced |= {
        "keyturn repair recover ml-training/database": "keyturn repair recover ml-training/database --yes"
    }


def seen_to_do(site: Site, output: str) -> None:
    assert "to do" in output or "nothing to do" in output, output


# --- the ledger


def twenty_entries(site: Site) -> None:
    """At least as many as the page names, under a checkpoint."""
    with closing(sqlite3.connect(site.stack.directory("ledger") / "ledger.db")) as ledger:
        (entries,) = ledger.execute("SELECT count(*) FROM entries").fetchone()
    for _ in range(entries, 20):
        site.does("keyturn get ml-training/database --field password --reveal")
    covered(site)


def forged_copy(site: Site) -> None:
    """A copy of the ledger in which the first entry that says done was changed."""
    ledger = site.stack.directory("ledger") / "ledger.db"
    with closing(sqlite3.connect(ledger)) as whole, closing(sqlite3.connect(site.directory / "copy.db")) as copy, copy:
        whole.backup(copy)
        first = "(SELECT min(sequence) FROM entries WHERE entry LIKE '%done%')"
        copy.execute(f"UPDATE entries SET entry = replace(entry, 'done', 'failed') WHERE sequence = {first}")  # noqa: S608
    site.env |= {"KEYTURN_HOME": str(site.directory / "nowhere")}


def covered(site: Site) -> None:
    """A checkpoint over what was done by now."""
    site.does("keyturn ledger checkpoint")


def at_the_stack_again(site: Site) -> None:
    site.env |= {"KEYTURN_HOME": str(site.stack.home)}
    covered(site)


def names_the_entry(site: Site, output: str) -> None:
    assert re.search(r"entry \d+ is not what it was", " ".join(output.split())), output


def witness(site: Site) -> None:
    covered(site)
    site.certificate()
    site.does("mkdir own && keyturn ledger key > ledgers")
    port, other = free_port(), str(site.directory)
    site.replaced |= {"/var/lib/witness": f"{other}/own", "/etc/witness/ledgers": f"{other}/ledgers"}
    site.replaced |= {"8110": str(port), "--host 0.0.0.0": "--host 127.0.0.1"}


def another_ledger(site: Site) -> None:
    """A workspace with a ledger in which something stands, and the place of its next one."""
    site.alone({"secrets": {"shop/key": MADE}})
    old = site.directory / "own" / "ledger.db"
    site.does("keyturn rotate shop/key --local && keyturn ledger checkpoint")
    site.replaced["/var/lib/keyturn/ledger.db"] = str(old)
    site.env |= {"KEYTURN_LEDGER": str(old.with_name("next.db"))}
    site.env.pop("KEYTURN_LEDGER_NAME")


# --- own Vault


def own_vault(site: Site) -> None:
    """The stack's hub and database as somebody's own; policies go to a directory here."""
    site.as_root()
    site.env |= {"PGPASSWORD": site.stack.database.superuser_password}
    site.replaced |= {"/etc/keyturn": str(site.directory)}


# --- what runs on


def agents(site: Site) -> None:
    """A host with an agent: its certificate, its key for notices, its files."""
    site.certificate()
    site.webhook_key("agent", "agent-of-host-7")
    site.copy_of_example()
    (site.directory / "app.ini.j2").write_text('user={{ secret("ml-training/database").username }}')
    site.does("mkdir app && (umask 077; openssl rand -base64 32 > offline.key)")
    at = str(site.directory)
    site.replaced |= {
        "/run/keyturn/agent-token": f"{at}/agent-token",
        "10.0.0.5:8443": f"127.0.0.1:{free_port()}",
        "keyturn agent --token": f"keyturn agent --port {free_port()} --token",
        "keyturn agent --listen": f"keyturn agent --port {free_port()} --token-file {at}/t2 --listen",
        "keyturn agent --template": f"keyturn agent --port {free_port()} --token-file {at}/t3 --template",
        "keyturn agent --webhook": f"keyturn agent --port {free_port()} --token-file {at}/t4 --webhook",
        "/run/app": f"{at}/app",
        "systemctl reload app": "true",
        "/etc/keyturn/catalogue": f"{at}/catalogue",
        "/etc/keyturn/offline.key": f"{at}/offline.key",
        "/var/cache/keyturn-agent": f"{at}/cache",
    }


def serving(site: Site) -> None:
    hub_log(site)
    site.replaced |= {"keyturn serve ": "keyturn serve --listen 127.0.0.1:0 "}


def granter(site: Site) -> None:
    """The login of whatever gives access."""
    session = Session(Console(quiet=True), site.stack, site.directory / "access")
    session.prepare()
    site.env |= session.variables("granter") | {"PATH": site.env["PATH"]}


def monitor(site: Site) -> None:
    """The login of whatever reads logs alone."""
    root = site.root()
    root.sys.create_or_update_policy("keyturn-monitor", (ROOT / "deployments/policies/keyturn-monitor.hcl").read_text())
    token = root.auth.token.create(policies=["keyturn-monitor"], ttl="1h")["auth"]["client_token"]
    site.env |= {"VAULT_TOKEN": token}


def application(site: Site) -> None:
    """A host with what the stack's application has: its login, the key that notices to it are signed with."""
    logins, at = site.stack.login_files(CONSUMER_ROLE), site.stack
    site.env |= environment.hub(at)
    site.does(f"cp {logins.role_id} role-id && cp {logins.secret_id} secret-id")
    site.does(f"cp {at.webhook_key_file('trainer')} webhook-key")
    site.replaced |= {"8101": str(free_port()), "5432": str(at.ports["postgres"])}
    site.replaced["--database ml"] = f"--database ml --postgres-ca-file {environment.ca_file(at)}"


def small_lab(site: Site) -> None:
    """The page's log, of a smaller lab, and rules for it."""
    (site.directory / "monitors.yaml").write_text("monitors: {everybody: {weights: {hours: 0}}}")
    size = "--principals 400 --reads-a-day 500 --days 12 --warm-up 4 --instances 1"
    site.does(f"python {ROOT}/benchmarks/detection.py {size} --export audit.log --format openbao")


# --- revocations


def twelve_secrets(site: Site) -> None:
    """A workspace in which ml@example.com has twelve secrets, and a licence that a person replaces."""
    paths = ["ml-training/database", *(f"ml-training/key-{number}" for number in range(11))]
    manual = {"owner": "shop@example.com", "classification": "internal", "rotation": {"strategy": "manual"}}
    site.alone({"secrets": {**dict.fromkeys(paths, MADE), "shop/licence": manual}})
    for path in [*paths, "shop/licence"]:
        put(site, path, {"value": f"the first of {path}"})


def put(site: Site, path: str, fields: dict[str, str]) -> None:
    """A version that somebody writes."""
    root = site.root(site.hidden["namespace"])
    root.secrets.kv.v2.create_or_update_secret(path, fields, mount_point="secret")


def findings(site: Site) -> None:
    """What a scanner has found: the value of one secret, in the history of a repository."""
    value = site.does("keyturn get ml-training/key-3 --reveal").strip()
    finding = {
        "SourceMetadata": {"Data": {"Git": {"file": "a.py", "line": 3, "commit": "abc"}}},
        "DetectorName": "Generic",
        "Raw": value,
        "Redacted": "",
    }
    (site.directory / "found.jsonl").write_text(json.dumps(finding) + "\n")


def leaked_tokens(site: Site) -> None:
    """A file of tokens, of which none is sent to a service; without a terminal, nothing asks."""
    (site.directory / "leaked.txt").write_text(f"sk-proj-{'aB3' * 24}T3BlbkFJ{'xY7' * 24}\n")
    site.replaced["kill --stdin"] = "kill --stdin --yes"


def agreed(site: Site) -> None:
    """At a terminal it asks, and the answer is yes."""
    site.replaced["--scanner found.jsonl"] = "--scanner found.jsonl --yes"


EVERYTHING: Final = 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"] }'


def second_person(site: Site) -> None:
    """Wide incidents want bea's approval; she has a login and a key of her own, and so has whoever asks."""
    root = site.root(site.hidden["namespace"])
    root.sys.create_or_update_policy("everything", EVERYTHING)
    policy = (ROOT / "deployments/policies/keyturn-approver.hcl").read_text()
    root.sys.create_or_update_policy("keyturn-approver", policy)
    root.sys.enable_auth_method("userpass")
    site.hidden["ana"], _ = person(site, "ana", "everything")
    site.hidden["bea"], entity = person(site, "bea", "keyturn-approver")
    root.secrets.transit.create_key("keyturn-approver-bea", key_type="ed25519")
    public = root.secrets.transit.read_key("keyturn-approver-bea")["data"]["keys"]["1"]["public_key"]
    approver = {"entity": entity, "key": "keyturn-approver-bea", "public_key": public}
    people = f"{site.hidden['namespace'].strip('/')}/auth/userpass"
    (site.directory / "policy.yaml").write_text(
        json.dumps({"approvals": {"people": [people], "incidents_over": 5, "approvers": {"bea": approver}}})
    )
    site.env |= {"KEYTURN_POLICY": str(site.directory / "policy.yaml"), "VAULT_TOKEN": site.hidden["ana"]}


def person(site: Site, name: str, policy: str) -> tuple[str, str]:
    """Somebody's token, and the id of their entity."""
    root = site.root(site.hidden["namespace"])
    identity = root.secrets.identity
    root.auth.userpass.create_or_update_user(name, "a long password", policies=[policy])
    accessor = root.sys.list_auth_methods()["data"]["userpass/"]["accessor"]
    entity = str(identity.create_or_update_entity_by_name(name, metadata={})["data"]["id"])
    identity.create_or_update_entity_alias(name=name, canonical_id=entity, mount_accessor=accessor)
    login = root.auth.userpass.login(name, "a long password", use_token=False)
    return str(login["auth"]["client_token"]), entity


def request_named(site: Site, output: str) -> None:
    requests = set(re.findall(r"REQ-[0-9a-f]+", output))
    assert len(requests) == 1, output
    site.replaced["REQ-3f9a1c07"] = requests.pop()


def bea_approves(site: Site) -> None:
    site.env |= {"VAULT_TOKEN": site.hidden["bea"]}
    site.replaced["# bea, on her machine"] = "--yes # bea, on her machine"


def asker_again(site: Site) -> None:
    site.env |= {"VAULT_TOKEN": site.hidden["ana"]}


def at_the_stack(site: Site) -> None:
    """Whoever wants to know how long it takes uses the local stack, and nothing else."""
    site.env = site_in(site.directory, site.stack).env


def waits_for_a_person(site: Site) -> None:
    """An incident that Keyturn can't close by itself."""
    done = site.shell('keyturn revoke shop/licence --reason "leaked in a log" --incident INC-9 --yes')
    assert done.returncode == 3, done.stderr
    site.replaced["INC-1"] = "INC-9"


def could_not_look(site: Site, output: str) -> None:
    assert "whether an incident holds the secret could not be looked at" in output  # nobody but Keyturn's logins may


# --- the first page


# --- the rest


def transit_key(site: Site) -> None:
    """The page's key, and a secret that holds what it has encrypted."""
    page = (ROOT / "docs" / "keys.md").read_text()
    import yaml

    declared = yaml.safe_load(re.findall(r"(?ms)^```yaml\n(.*?)^```", page)[0])
    manual = {**ANSWER, "rotation": {"strategy": "manual"}}
    site.alone({**declared, "secrets": {"ml-training/database": manual}})
    site.replaced["rotate model-weights --now"] = "rotate model-weights --now --local"
    transit = site.root(site.hidden["namespace"]).secrets.transit
    transit.create_key("model-weights")
    text = transit.encrypt_data("model-weights", base64.b64encode(b"weights").decode())["data"]["ciphertext"]
    put(site, "ml-training/database", {"value": text})


def licence(site: Site) -> None:
    """The page's catalogue, and a version that somebody has written."""
    store = {"kind": "aws-secrets-manager", "region": "eu-central-1", "endpoint_url": "${KEYTURN_AWS_ENDPOINT}"}
    copies = [{"store": "aws", "name": "shop-licence", "field": "value"}]
    secret = {**ANSWER, "rotation": {"strategy": "manual"}, "destinations": copies}
    site.alone({"stores": {"aws": store}, "secrets": {"shop/licence": secret}})
    put(site, "shop/licence", {"value": "1-2-3"})
    site.replaced["keyturn sync shop/licence"] = "keyturn sync shop/licence --local"


def red(site: Site) -> None:
    """An organisation's own part of the hub, empty yet, and its catalogue; the stack's Prefect server is shared."""
    namespace = f"red-{secrets.token_hex(4)}"
    site.root().adapter.request("post", f"/v1/sys/namespaces/{namespace}")
    site.as_root()
    site.env |= {
        "VAULT_NAMESPACE": namespace,
        "KEYTURN_WORKSPACE": "red",
        "KEYTURN_CATALOGUE": str(site.catalogue({"secrets": {"shop/key": MADE}, "hub": worker_of("red")})),
        "KEYTURN_LEDGER": str(site.directory / "ledger.db"),
        "KEYTURN_LEDGER_NAME": namespace,
    }
    site.env.pop("KEYTURN_LEDGER_WITNESSES")


def mounts_apart(site: Site) -> None:
    """The other way, in which a hub's administrator gives it mounts of its own."""
    site.env.pop("VAULT_NAMESPACE")
    for name in ("KEYTURN_HUB_MOUNT", "KEYTURN_HUB_STATE_MOUNT", "KEYTURN_HUB_TRANSIT_MOUNT"):
        site.env |= {name: {"STATE": "keyturn-red", "TRANSIT": "transit-red"}.get(name.split("_")[2], "red")}
    site.env |= {f"KEYTURN_HUB_{name}_TOKEN_ROLE": f"keyturn-red-{name.lower()}" for name in ("LEASE", "GRANT")}


def worker_of(workspace: str) -> dict[str, Any]:
    """The login of a workspace's worker, as a catalogue has it."""
    login = {"kind": "approle", "login": "worker", "addresses": ["127.0.0.0/8"]}
    return {f"keyturn-{workspace}-worker": login}


PAGES: Final = (
    Page("catalogue.md", with_example),
    Page(
        "operators-policy.md",
        signed,
        (
            Way("keyturn catalogue validate"),
            Way("keyturn catalogue sign"),
            Way("keyturn catalogue sign"),
            Way("keyturn catalogue validate", 1, forbid_hosts, after=told_where),
        ),
    ),
    Page("sync.md", stale_copy, (Way("keyturn plan --out", after=seen_to_do),)),
    Page("cli.md", answered, (Way("keyturn history ml-training/databse", 1),)),
    Page(
        "ledger.md",
        twenty_entries,
        (
            Way("keyturn ledger witness", before=witness, ready=READY),
            Way("keyturn ledger verify --file copy.db", 1, forged_copy, after=names_the_entry),
            Way("keyturn ledger verify --witnesses", before=at_the_stack_again),
            Way("keyturn ledger move", before=another_ledger),
        ),
    ),
    Page("own-vault-and-clouds.md", own_vault),
    Page("consumers.md", application, (Way("python -m local.consumer", ready="ready on"),)),
    Page("benchmarks/detection.md", small_lab),
    Page("agent.md", agents, (Way("keyturn agent", ready=READY),) * 5),
    Page("events.md", hub_log, (Way("keyturn follow", ready=READY),)),
    Page(
        "operations.md",
        serving,
        (
            Way("keyturn serve", ready=READY),
            Way("keyturn policy check --as granter", before=granter),
            Way("keyturn serve --only grants", ready=RUNS),
            Way("keyturn policy check --as monitor", before=monitor),
            Way("keyturn serve --audit-file", ready=READY),
            Way("keyturn serve --only follow", ready=READY),
        ),
    ),
    Page(
        "revocation.md",
        twelve_secrets,
        (
            Way("keyturn whois --scanner", 3, findings),
            Way("keyturn whois --scanner"),
            Way("keyturn whois --scanner", before=agreed),
            Way("keyturn kill --stdin", 1, leaked_tokens),
            Way("keyturn revoke --owner", 1),
            Way("keyturn revoke 'ml-training/**'", 1, second_person, after=request_named),
            Way("keyturn access approve", before=bea_approves),
            Way("keyturn revoke 'ml-training/**'", before=asker_again),
            Way("keyturn incidents --open", before=waits_for_a_person),
            Way("keyturn revoke --resume", 3),
            Way("keyturn drill", before=at_the_stack),
        ),
    ),
    Page("contexts.md", contexts, (Way("keyturn --context prod status", 1),)),
    Page("keys.md", transit_key),
    Page("strategies/manual.md", licence),
    Page(
        "organisations.md",
        red,
        (Way("keyturn setup hub", 3), Way("keyturn setup hub --apply"), Way("keyturn setup hub", 3, mounts_apart)),
    ),
    Page(
        "access.md",
        None,
        (
            Way("keyturn access request", before=people.come, after=people.asked_for),
            Way("keyturn access approve", before=people.by("bea")),
            Way("keyturn access deny", before=people.by("cleo")),
            Way("keyturn access end", before=people.another),
            Way("keyturn access request", before=people.by("ana"), after=people.asked_for),
            Way("keyturn access review", before=people.ended),
            Way("keyturn ledger key", before=people.signed),
            Way("keyturn access prove", before=people.by("bea")),
            Way("keyturn access check", before=people.nowhere),
            Way("keyturn access open", before=people.by("ana", people.another, people.approved, people.at_database)),
            Way("keyturn access explain", 1, after=could_not_look),
        ),
    ),
)
"""The pages whose commands are typed on one local stack, in this order."""
