# What `keyturn serve` may do in the hub where it grants and ends temporary access (`--only grants`). It sees no
# credential that it grants, and reads no secret.
# Made by `keyturn setup store --everything`: what a catalogue needs that may do everything, for the mounts `secret`,
# `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours.

# Its own token: look it up and renew it.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "sys/capabilities-self" {
  capabilities = ["update"]
}
path "identity/entity/id/{{identity.entity.id}}" {
  capabilities = ["read"]
}

# The requests, and what requesters say of what they were given: it looks at both, and changes neither.
path "keyturn/data/grants/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/grants" {
  capabilities = ["list"]
}
path "keyturn/metadata/grants/*" {
  capabilities = ["delete", "list"]
}
path "keyturn/data/receipts/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/receipts" {
  capabilities = ["list"]
}
path "keyturn/metadata/receipts/*" {
  capabilities = ["delete", "list"]
}

# What was given, and what opens it.
path "keyturn/data/ledgers/*" {
  capabilities = ["read"]
}
path "keyturn/data/granted/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/granted/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/deliveries/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/deliveries/*" {
  capabilities = ["create", "read", "update", "delete"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/metadata/granted" {
  capabilities = ["list"]
}

# Archive old grants: write them to the archive, which can't be changed, and remove them from the active folder.
path "keyturn/data/access-archive/*" {
  capabilities = ["create", "read"]
}

# That it is running (`keyturn serve --only grants`), and what people were notified of.
path "keyturn/data/serve/grants" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/serve/grants" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/serve/access-told" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/serve/access-told" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}

# Tokens that ask for credentials (keyturn-grant.hcl), and end with their time. Each is recorded before it is used,
# and ended by its own lease, so no other token is within reach.
path "auth/token/create/keyturn-grant" {
  capabilities = ["create", "update"]
  allowed_parameters = {
    "meta" = []
    "ttl" = []
    "explicit_max_ttl" = []
    "renewable" = []
  }
}
path "keyturn/data/grant-tokens/*" {
  capabilities = ["create", "read"]
}
path "auth/token/roles/keyturn-grant" {
  capabilities = ["read"]
}
path "sys/leases/lookup/auth/token/create/keyturn-grant/" {
  capabilities = ["list", "sudo"]
}
path "sys/leases/lookup" {
  capabilities = ["update"]
  allowed_parameters = {
    "lease_id" = ["auth/token/create/keyturn-grant/*"]
  }
}
path "keyturn/metadata/grant-tokens/*" {
  capabilities = ["delete", "list"]
}
path "sys/leases/revoke/auth/token/create/keyturn-grant/*" {
  capabilities = ["update"]
  allowed_parameters = {
    "sync" = []
  }
}

# How a requester logged in, and whether a wrapping is unopened: what the hub reports for an accessor.
path "auth/token/lookup-accessor" {
  capabilities = ["update"]
  allowed_parameters = {
    "accessor" = []
  }
}

# The server at which the hub makes a credential, so that a policy opens only the target of its own secrets. The hub
# shows no password with it.
path "database/roles/*" {
  capabilities = ["read"]
}
path "database/config/*" {
  capabilities = ["read"]
}

# What makes and ends accounts at targets for access alone (`grants:`): people put it there.
path "keyturn/data/grant-admins/*" {
  capabilities = ["read"]
}

# Hand such an account over, so that it opens once.
path "sys/wrapping/wrap" {
  capabilities = ["update"]
}

# What conditions check: the requester's groups, and incidents without their values.
path "identity/entity/id/+" {
  capabilities = ["read"]
}
path "keyturn/data/incidents/+/head" {
  capabilities = ["read"]
}
path "keyturn/metadata/incidents" {
  capabilities = ["list"]
}
path "keyturn/metadata/incidents/*" {
  capabilities = ["list"]
}

# Of two hubs, where there are two, which one is written: that is asked in both before anything is changed.
path "keyturn/data/failover/epoch" {
  capabilities = ["read"]
}

# Which ledger is this hub's: the first use writes it, and this identity can't change it. Its public key.
path "keyturn/data/ledger" {
  capabilities = ["create", "read"]
}
path "keyturn/metadata/ledger" {
  capabilities = ["read"]
}
path "transit/keys/keyturn-ledger" {
  capabilities = ["read"]
}
