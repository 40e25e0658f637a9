# What the notary may do in the hub: sign the ledger's checkpoints, keep them there, and say which ledger is the hub's.
# No worker may do any of it, and the notary may nothing else: it reads no secret. Replace `keyturn` and `transit` by
# your mounts.

# Signatures by a key that never leaves the hub.
path "transit/keys/keyturn-ledger" {
  capabilities = ["read"]
}
path "transit/sign/keyturn-ledger" {
  capabilities = ["update"]
}

# The newest checkpoint of each ledger.
path "keyturn/data/ledgers/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/ledgers/*" {
  capabilities = ["create", "read", "update"]
}

# Which ledger is the hub's, with the keys that have signed for it; `keyturn ledger move` changes it.
path "keyturn/data/ledger" {
  capabilities = ["create", "read", "update"]
}

# How far each collector of the ledger's entries is.
path "keyturn/data/forwarding/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/forwarding/*" {
  capabilities = ["create", "read", "update"]
}
