# What `keyturn pki plan` and `keyturn pki apply` may do in the hub: make authorities and their roles. It decides what
# every certificate is worth: give it to no worker. It reads no secret.
# Made by `keyturn setup store --everything`: what a catalogue needs that may do everything, for the mounts `secret`,
# `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours.

# Its own token, and whose it is, for the ledger.
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

# The content of a PKI engine: see its limits, its keys and issuers, make new ones next to them and put them in force,
# and write what is configured. No key is read or imported, and nothing is removed.
path "sys/mounts/pki-root" {
  capabilities = ["read"]
}
path "pki-root/keys" {
  capabilities = ["list"]
}
path "pki-root/keys/" {
  capabilities = ["list"]
}
path "pki-root/key/+" {
  capabilities = ["read"]
}
path "pki-root/issuers" {
  capabilities = ["list"]
}
path "pki-root/issuers/" {
  capabilities = ["list"]
}
path "pki-root/issuer/+" {
  capabilities = ["read", "patch"]
  allowed_parameters = {
    "issuer_name" = []
  }
}
path "pki-root/root/generate/internal" {
  capabilities = ["update"]
}
path "pki-root/issuer/default/sign-intermediate" {
  capabilities = ["update"]
}
path "pki-root/config/issuers" {
  capabilities = ["create", "read", "update"]
}
path "pki-root/config/urls" {
  capabilities = ["create", "read", "update"]
}
path "pki-root/config/crl" {
  capabilities = ["create", "read", "update"]
}
path "pki-root/roles/*" {
  capabilities = ["create", "read", "update"]
}
path "sys/mounts/pki" {
  capabilities = ["read"]
}
path "pki/keys" {
  capabilities = ["list"]
}
path "pki/keys/" {
  capabilities = ["list"]
}
path "pki/key/+" {
  capabilities = ["read"]
}
path "pki/issuers" {
  capabilities = ["list"]
}
path "pki/issuers/" {
  capabilities = ["list"]
}
path "pki/issuer/+" {
  capabilities = ["read", "patch"]
  allowed_parameters = {
    "issuer_name" = []
  }
}
path "pki/intermediate/generate/internal" {
  capabilities = ["update"]
}
path "pki/intermediate/set-signed" {
  capabilities = ["update"]
}
path "pki/config/issuers" {
  capabilities = ["create", "read", "update"]
}
path "pki/config/urls" {
  capabilities = ["create", "read", "update"]
}
path "pki/config/crl" {
  capabilities = ["create", "read", "update"]
}
path "pki/roles/*" {
  capabilities = ["create", "read", "update"]
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
