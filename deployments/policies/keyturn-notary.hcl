# What the notary may do in the hub: sign the ledger's checkpoints, keep them there, and say which ledger is the
# hub's. No worker may do any of it, and the notary may nothing else: it reads no secret.
# Made by `keyturn setup store --everything`: what a catalogue needs that may do everything, for the mounts `secret`,
# `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours.

# Its own token.
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

# Of two hubs, where there are two, which one is written: that is asked in both before anything is changed.
path "keyturn/data/failover/epoch" {
  capabilities = ["read"]
}

# Signatures by a key that never leaves the hub.
path "transit/keys/keyturn-ledger" {
  capabilities = ["read"]
}
path "transit/sign/keyturn-ledger" {
  capabilities = ["update"]
}

# The newest checkpoint of each ledger, and how far each collector of its entries is.
path "keyturn/data/ledgers/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/ledgers/*" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/forwarding/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/forwarding/*" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}

# What revocations could not write to the ledger: append it there, and remove it here.
path "keyturn/data/unrecorded/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/unrecorded/*" {
  capabilities = ["delete", "list"]
}

# Which ledger is the hub's, with the keys that have signed for it; `keyturn ledger move` changes it.
path "keyturn/data/ledger" {
  capabilities = ["create", "read", "update"]
}
