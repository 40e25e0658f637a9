# What a person who requests temporary access (`keyturn access request`) may do in the hub. Give it to people. It
# reads no secret.
# Made by `keyturn setup store --everything`: what a catalogue needs that may do everything, for the mounts `secret`,
# `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours.

# Their own requests, in a folder named by their entity's id: no one can request in another's name or change a
# request.
path "keyturn/data/grants/{{identity.entity.id}}/*" {
  capabilities = ["create", "read"]
}
path "keyturn/metadata/grants/{{identity.entity.id}}" {
  capabilities = ["list"]
}
path "keyturn/metadata/grants/{{identity.entity.id}}/*" {
  capabilities = ["list"]
}

# Those that are long over.
path "keyturn/data/access-archive/{{identity.entity.id}}/*" {
  capabilities = ["read"]
}

# What they were granted, and its one-time wrapping, which no one else may read.
path "keyturn/data/granted/{{identity.entity.id}}/*" {
  capabilities = ["read"]
}
path "keyturn/data/deliveries/{{identity.entity.id}}/*" {
  capabilities = ["read"]
}

# Record that they opened it or no longer need it; this can't be undone.
path "keyturn/data/receipts/{{identity.entity.id}}/*" {
  capabilities = ["create", "read"]
}

# See whether anybody has exchanged what opens it.
path "sys/wrapping/lookup" {
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
