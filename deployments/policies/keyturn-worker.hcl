# What a Keyturn worker may do in the hub. Replace `secret`, `keyturn`, `transit`, `database` and `pki` by
# your mounts.

# The secrets themselves: read them, promote new versions, and keep rotation state in their metadata.
path "secret/data/*" {
  capabilities = ["create", "read", "update"]
}
# Giving back a version that somebody deleted, where a person says so (`keyturn rotate PATH --from VERSION`).
path "secret/undelete/*" {
  capabilities = ["update"]
}
# The custom metadata alone: not how many versions are kept or how long, nor who may write without compare-and-set.
path "secret/metadata/*" {
  capabilities = ["read", "list", "patch"]
  allowed_parameters = {
    "custom_metadata" = []
  }
}

# OpenBao lists many secrets with their metadata in one request; Vault has no such path and needs no such rule.
path "secret/detailed-metadata/*" {
  capabilities = ["list", "read"]
}

# A catalogue may name further mounts (`mounts:`), each of which needs the same four rules. For one at `kv-payments`:
#
# path "kv-payments/data/*" {
#   capabilities = ["create", "read", "update"]
# }
# path "kv-payments/undelete/*" {
#   capabilities = ["update"]
# }
# path "kv-payments/metadata/*" {
#   capabilities = ["read", "list", "patch"]
#   allowed_parameters = {
#     "custom_metadata" = []
#   }
# }
# path "kv-payments/detailed-metadata/*" {
#   capabilities = ["list", "read"]
# }

# Whose login this is, for the ledger. The hub's policy `default` allows the same.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "identity/entity/id/{{identity.entity.id}}" {
  capabilities = ["read"]
}

# Keyturn's own state: candidates, admin credentials, signing keys. Nobody else may read this mount.
path "keyturn/data/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/*" {
  capabilities = ["create", "read", "update", "list"]
}
# OpenBao again: which records were written since the last look. Without it each of them is read.
path "keyturn/detailed-metadata/*" {
  capabilities = ["list", "read"]
}

# Which ledger is this hub's: the first use writes it, and nobody here changes it.
path "keyturn/data/ledger" {
  capabilities = ["create", "read"]
}
path "keyturn/metadata/ledger" {
  capabilities = ["read"]
}

# What the notary keeps (keyturn-notary.hcl): the newest checkpoint, and how far collectors are. It is read here, and
# written by nobody but the notary. The public key of the ledger: `transit` is the mount, `keyturn-ledger` the key.
path "keyturn/data/ledgers/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/ledgers/*" {
  capabilities = ["read", "list"]
}
path "keyturn/data/forwarding/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/forwarding/*" {
  capabilities = ["read", "list"]
}
path "transit/keys/keyturn-ledger" {
  capabilities = ["read"]
}

# Only for the strategy vault-dynamic: how long the roles' leases last, tokens that ask for leases
# (keyturn-lease.hcl) and end with theirs, seeing leases, renewing them, ending them. Narrow `*` to the roles of the
# catalogue; renewing and ending can't be narrowed, whoever knows a lease's id or a token's accessor may do it.
path "database/roles/*" {
  capabilities = ["read"]
}
path "sys/mounts/database/tune" {
  capabilities = ["read"]
}
path "auth/token/create/keyturn-lease" {
  capabilities = ["create", "update"]
}
path "auth/token/revoke-accessor" {
  capabilities = ["update"]
}
path "sys/leases/lookup/database/creds/*" {
  capabilities = ["list", "sudo"]
}
path "sys/leases/lookup" {
  capabilities = ["update"]
}
path "sys/leases/renew" {
  capabilities = ["update"]
}
path "sys/leases/revoke" {
  capabilities = ["update"]
  denied_parameters = {
    "lease_id" = ["auth/*", "sys/*"]
  }
}

# Only for the strategy vault-static-role: whose account it is, its password, and a new one. Narrow `*` to the
# roles of the catalogue.
path "database/static-roles/*" {
  capabilities = ["read"]
}
path "database/static-creds/*" {
  capabilities = ["read"]
}
path "database/rotate-role/*" {
  capabilities = ["update"]
}

# Only for the strategy certificate: what a role allows, signing requests, seeing what was issued, revoking it.
# Narrow `*` to the roles of the catalogue; revoking can't be narrowed to a role. The second path for signing is
# for secrets that name an `issuer`.
path "pki/roles/*" {
  capabilities = ["read"]
}
path "pki/sign/*" {
  capabilities = ["update"]
}
path "pki/issuer/+/sign/*" {
  capabilities = ["update"]
}
path "pki/cert/*" {
  capabilities = ["read"]
}
path "pki/revoke" {
  capabilities = ["update"]
}
