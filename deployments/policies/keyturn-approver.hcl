# What a second person may do in the hub who approves what others ask for (`approvals:` in the operator's file). Give
# it to people and to no program: at their auth method, or by a group whose members have no program's login. They need
# nothing else of Keyturn.
# Made by `keyturn setup store --everything`: what a catalogue needs that may do everything, for the mounts `secret`,
# `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours.

# See the requests, and sign them.
path "keyturn/data/approvals/*" {
  capabilities = ["read", "update"]
}
path "keyturn/metadata/approvals" {
  capabilities = ["list"]
}
path "keyturn/metadata/approvals/*" {
  capabilities = ["list"]
}

# See the requests for access, and sign or deny them.
path "keyturn/data/grants/*" {
  capabilities = ["read", "update"]
}
path "keyturn/metadata/grants" {
  capabilities = ["list"]
}
path "keyturn/metadata/grants/*" {
  capabilities = ["list"]
}

# See what was done without a second person, and the reviews of it; sign their own, which no login can change.
path "keyturn/data/break-glass/*" {
  capabilities = ["read"]
}
path "keyturn/data/break-glass-reviews/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/break-glass" {
  capabilities = ["list"]
}
path "keyturn/metadata/break-glass-reviews" {
  capabilities = ["list"]
}
path "keyturn/metadata/break-glass/*" {
  capabilities = ["list"]
}
path "keyturn/metadata/break-glass-reviews/*" {
  capabilities = ["list"]
}
path "keyturn/data/break-glass-reviews/{{identity.entity.id}}/*" {
  capabilities = ["create", "read"]
}

# See what was given, and until when; not what opens it.
path "keyturn/data/granted/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/granted" {
  capabilities = ["list"]
}
path "keyturn/metadata/granted/*" {
  capabilities = ["list"]
}

# See requests that are long over.
path "keyturn/data/access-archive/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/access-archive" {
  capabilities = ["list"]
}
path "keyturn/metadata/access-archive/*" {
  capabilities = ["list"]
}

# What is shared with other organisations: sign it, and withdraw that.
path "keyturn/data/agreements/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/agreements" {
  capabilities = ["list"]
}
path "keyturn/metadata/agreements/*" {
  capabilities = ["create", "read", "update", "list"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}

# Their own key, which bears their entity's name.
path "transit/keys/keyturn-approver-{{identity.entity.name}}" {
  capabilities = ["read"]
}
path "transit/sign/keyturn-approver-{{identity.entity.name}}" {
  capabilities = ["update"]
}

# Of two hubs, where there are two, which one is written: that is asked in both before anything is changed.
path "keyturn/data/failover/epoch" {
  capabilities = ["read"]
}

# Which ledger is this hub's, and its public key: what they do with Keyturn's commands is recorded there.
path "keyturn/data/ledger" {
  capabilities = ["read"]
}
path "keyturn/metadata/ledger" {
  capabilities = ["read"]
}
path "keyturn/data/ledgers/*" {
  capabilities = ["read"]
}
path "transit/keys/keyturn-ledger" {
  capabilities = ["read"]
}

# Whose login this is. The hub's policy `default` allows the same.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "identity/entity/id/{{identity.entity.id}}" {
  capabilities = ["read"]
}
