"""The groups and examples of the commands' help."""

from typing import Final

from keyturn.cli.failures import EXEC_EXIT_CODES, EXIT_CODES

GROUPS: Final = {
    "Secrets": (
        "status",
        "dashboard",
        "due",
        "rotate",
        "rollback",
        "retire",
        "history",
        "get",
        "fade",
        "repair",
    ),
    "Programs": ("agent", "proxy", "mcp", "exec", "render"),
    "Copies": ("plan", "apply", "sync", "scan", "import"),
    "Emergencies": ("revoke", "drill", "whois", "kill", "incidents", "slo"),
    "Disaster recovery": ("backup",),
    "Temporary access": ("access",),
    "Organisations": ("share", "offboard"),
    "Who reads": ("investigate", "unused", "monitor"),
    "Background services": ("doctor", "explain", "version", "serve", "failover"),
    "Catalogue and ledger": (
        "init",
        "catalogue",
        "recipe",
        "store",
        "policy",
        "ledger",
        "trail",
        "report",
        "pki",
        "keys",
    ),
    "Setting up": ("setup", "context"),
    "Your own login": ("login", "logout"),
    "Local stack": ("up", "down", "env", "demo"),
}
"""The commands by topic, in the order of the help."""

FIRST_WEEK: Final = (
    *("status", "due", "rotate", "rollback", "plan", "apply", "sync", "get"),
    *("revoke", "whois", "doctor", "setup"),
)
"""The commands that `keyturn --help` shows; `keyturn --help --all` shows every group."""

SUMMARIES: Final = {
    "up": "Start the local stack.",
    "down": "Stop the local stack.",
    "env": "Print the local stack's environment for a shell.",
    "demo": "Start the local stack, rotate live credentials, stop it.",
    "status": "Show services, and the state of every secret.",
    "dashboard": "Write one HTML page about all secrets.",
    "login": "Log in to the hub, with the browser or a password.",
    "logout": "End your login to the hub.",
    "rotate": "Replace one secret everywhere.",
    "rollback": "Put the previous value of a secret back in force.",
    "plan": "Show what would change in the copies. Writes nothing.",
    "apply": "Apply a plan, or nothing if something has changed since.",
    "sync": "Bring every copy in sync with the hub.",
    "retire": "End old credentials that are no longer needed.",
    "history": "Show one secret's rotations, newest first.",
    "scan": "Find secrets and copies that nothing manages.",
    "serve": "Run the long-running services.",
    "get": "Read secrets: versions and fingerprints, or values.",
    "agent": "Serve secrets to programs on this machine from memory.",
    "proxy": "Add credentials to programs' requests to services.",
    "mcp": "Offer status, plans and requests to AI agents.",
    "revoke": "End leaked credentials everywhere, at once.",
    "drill": "Try out a revocation in the local stack.",
    "whois": "Find the secret that a value or fingerprint belongs to.",
    "kill": "End leaked tokens, known to the catalogue or not.",
    "offboard": "Show what a project has, or end all of it with proof.",
    "incidents": "Show incidents, newest first, or one in full.",
    "slo": "Show how long revoked credentials still worked.",
    "fade": "Replace static keys by workload identity.",
    "due": "Show when and why each secret is rotated next.",
    "doctor": "Check every right, place and process that is needed.",
    "explain": "Explain an error's code, and what to do.",
    "version": "Print the versions of Keyturn, Python and Prefect.",
    "init": "Write a catalogue of what the hub and stores hold.",
    "import": "Bring secrets of a store into the hub and catalogue.",
    "investigate": "Show who read a secret, or what someone has read.",
    "unused": "List secrets that were not read for some days.",
    "exec": "Run a program with secrets, and keep them current.",
    "render": "Write secrets into files once, and end.",
    "setup": "Prepare hub, targets, stores and Prefect.",
    "context": "Choose which installation commands work with.",
    "keys": "Rotate keys in KMS, Key Vault, transit, and our own.",
    "repair": "Repair renamed, lost or restored secrets.",
    "failover": "Choose which of two hubs is written.",
    "backup": "Back up and restore hub, ledger and catalogue.",
    "share": "Share a secret with another organisation.",
    "access": "Request, approve, review and use access.",
    "monitor": "Find unusual reads.",
    "report": "Make or verify a compliance report.",
    "catalogue": "Check or sign the catalogue, or print its schema.",
    "recipe": "List and write kinds of credential without code.",
    "store": "List the stores that secrets can be copied to.",
    "ledger": "Show, verify, prove and export the ledger.",
    "trail": "Verify and prove the record of who read what.",
    "policy": "Check the rights of a login.",
    "pki": "Show and renew certificate authorities.",
}

EXAMPLES: Final = {
    "status": ("keyturn status", "keyturn status --watch 5", "keyturn status --output name"),
    "dashboard": ("keyturn dashboard", "keyturn dashboard --out /srv/www/keyturn.html"),
    "due": ("keyturn due", "keyturn due ml-training/database", "keyturn due --check"),
    "rotate": (
        "keyturn rotate ml-training/database --now",
        "keyturn rotate ml-training/database --compromised",
        "keyturn rotate ml-training/database --from 7",
    ),
    "rollback": ("keyturn rollback ml-training/database --why 'the trainer cannot log in with it'",),
    "offboard": (
        "keyturn offboard ml-training",
        "keyturn offboard ml-training --apply --reason 'the contract has ended' --expect 7 --out ml-training.json",
        "keyturn offboard --check ml-training.json --public-key-file ledger.key",
    ),
    "retire": ("keyturn retire", "keyturn retire ml-training/database --early"),
    "history": ("keyturn history ml-training/database", "keyturn history ml-training/database --json"),
    "get": (
        "keyturn get ml-training/database inference/api-key",
        "keyturn get ml-training/database --from aws",
        "keyturn get ml-training/database --field password --reveal",
    ),
    "agent": (
        "keyturn agent",
        "keyturn agent --webhook-key webhooks/agent --listen 10.0.0.5:8443 --cert agent.pem --key agent.key",
    ),
    "mcp": ("keyturn mcp", "keyturn mcp --tools status,due,history --only 'ml-training/*'"),
    "proxy": (
        "keyturn proxy --placeholders /run/keyturn/placeholders",
        "keyturn proxy --webhook-key webhooks/proxy --access-log",
    ),
    "plan": ("keyturn plan", "keyturn plan 'ml-training/**' --deep", "keyturn plan --out plan.json"),
    "apply": ("keyturn apply plan.json", "keyturn apply --auto 'ml-training/**'"),
    "sync": ("keyturn sync", "keyturn sync ml-training/database --local"),
    "doctor": ("keyturn doctor", "keyturn doctor --as revoker --all"),
    "explain": ("keyturn explain KT101", "keyturn explain", "keyturn explain --json"),
    "version": ("keyturn version", "keyturn version --json"),
    "serve": ("keyturn serve", "keyturn serve --audit-file /var/log/openbao/audit.log", "keyturn serve --only follow"),
    "init": (
        "keyturn init --out catalogue --owner platform@example.com --aws eu-central-1 --gcp ml-platform",
        "keyturn init --out catalogue --owner platform@example.com --stores stores.yaml --below ml-training",
        "keyturn init --out catalogue --owner platform@example.com --from sync.json --aws eu-central-1",
    ),
    "scan": ("keyturn scan", "keyturn scan --store aws --json"),
    "import": (
        "keyturn import aws legacy/db --owner shop@example.com",
        "keyturn import aws --all --to legacy --dry-run",
    ),
    "exec": (
        "keyturn exec --env DB_PASSWORD=ml-training/database#password -- ./train.py",
        "keyturn exec --env-all DB_=ml-training/database --on-change restart -- ./serve --port 8080",
        "keyturn exec --file db=ml-training/database#password --on-change signal:HUP -- ./serve",
        "keyturn exec --template nginx.conf.j2:/run/nginx.conf:signal:HUP -- nginx",
    ),
    "render": (
        "keyturn render --directory /secrets --file db=ml-training/database#password",
        "keyturn render --template app.ini.j2:/secrets/app.ini --wait 5m",
    ),
    "revoke": (
        "keyturn revoke ml-training/database --reason 'leaked in a log'",
        "keyturn revoke --owner shop@example.com --preview",
        "keyturn revoke --resume INC-1",
    ),
    "drill": ("keyturn drill ml-training/database", "keyturn drill ml-training/database --mode revoke-only --expect 1"),
    "whois": ("keyturn whois --stdin", "keyturn whois 3f9a1c07", "keyturn whois --scanner trufflehog.jsonl"),
    "kill": (
        "keyturn kill --stdin",
        "keyturn kill --stdin --host gitlab.example.com",
        "keyturn kill --list",
    ),
    "incidents": ("keyturn incidents --open", "keyturn incidents INC-1 --report ./report"),
    "fade": ("keyturn fade", "keyturn fade ai/openai --token-file token", "keyturn fade ai/openai --end"),
    "slo": ("keyturn slo", "keyturn slo ml-training/database --rehearse", "keyturn slo --check"),
    "investigate": (
        "keyturn investigate ml-training/database --from 7d",
        "keyturn investigate 'approle trainer' --from 2026-11-03T14:00+01:00 --to 2026-11-04",
        "keyturn investigate 10.4.0.0/16 --json",
    ),
    "unused": ("keyturn unused --days 90", "keyturn unused --json"),
    "login": ("keyturn login", "keyturn login --role oncall --no-browser", "keyturn login --method userpass alice"),
    "logout": ("keyturn logout",),
    "up": ("keyturn up", "keyturn up --catalogue ./catalogue"),
    "down": ("keyturn down", "keyturn down --delete"),
    "env": ('eval "$(keyturn env)"', "keyturn env --json"),
    "demo": ("keyturn demo", "KEEP=1 keyturn demo"),
}


OWN_EXIT_CODES: Final = {"exec": EXEC_EXIT_CODES}
"""The exit codes of commands that pass on another program's."""


def help_ending(command: str) -> str:
    """What a command's help ends with: examples, and what its exit codes mean."""
    lines = "\n".join(f"  {line}" for line in EXAMPLES.get(command, ()))
    return f"\b\nExamples:\n{lines}\n\n{OWN_EXIT_CODES.get(command, EXIT_CODES)}"
