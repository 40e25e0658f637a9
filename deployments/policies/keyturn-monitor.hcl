# What `keyturn serve` may do in the hub where it watches who reads what (`--only 'access/*'`), and does not follow
# the hub: keep its own state, and see which ledger is the hub's. It reads no secret.
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

# Which process runs which background service, how far each access log was read, and which alerts were sent.
path "keyturn/data/ledgers/*" {
  capabilities = ["read"]
}
path "keyturn/data/serve/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/serve/*" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}

# What applications sign accesses with that they post: people put it there.
path "keyturn/data/posters/*" {
  capabilities = ["read"]
}

# What revocations could not write to the ledger: append it there, and remove it here.
path "keyturn/data/unrecorded/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/unrecorded/*" {
  capabilities = ["delete", "list"]
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
