# What the identity that backs up the hub may do in it (`keyturn serve --only backup`, `keyturn backup run`): read
# everything, and change none of it. It gives access to every secret: give it to no other identity.
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

# Everything in the mounts of secrets and in Keyturn's own: what there is, and the values.
path "sys/internal/ui/mounts/keyturn" {
  capabilities = ["read"]
}
path "keyturn/data/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/*" {
  capabilities = ["read", "list"]
}
path "keyturn/detailed-metadata/*" {
  capabilities = ["list"]
}
path "sys/internal/ui/mounts/secret" {
  capabilities = ["read"]
}
path "secret/data/*" {
  capabilities = ["read"]
}
path "secret/metadata/*" {
  capabilities = ["read", "list"]
}
path "secret/detailed-metadata/*" {
  capabilities = ["list"]
}

# Which other mounts there are: those of secrets that nothing is backed up of are named.
path "sys/mounts" {
  capabilities = ["read"]
}

# Keys of the transit engine: which there are, and those that the hub gives a backup of. Any other is named as
# missing.
path "transit/keys" {
  capabilities = ["list"]
}
path "transit/keys/" {
  capabilities = ["list"]
}
path "transit/keys/*" {
  capabilities = ["read"]
}
path "transit/backup/*" {
  capabilities = ["read"]
}

# Its signature over what it has backed up, by a key that never leaves the hub.
path "transit/sign/keyturn-backup" {
  capabilities = ["update"]
}

# That it is at work (`keyturn serve --only backup`).
path "keyturn/data/serve/backup" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/serve/backup" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
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
