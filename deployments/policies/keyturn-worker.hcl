# What a Keyturn worker may do in the hub.
# Made by `keyturn setup store --everything`: what a catalogue needs that may do everything, for the mounts `secret`,
# `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours.

# Its own token: look up its owner, rights and lifetime, and renew it. The hub's policy `default` allows most of it
# too.
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

# The secrets themselves: read them, and promote new versions.
path "secret/data/*" {
  capabilities = ["create", "read", "update"]
}

# Undeleting a version at a person's request (`keyturn rotate PATH --from VERSION`).
path "secret/undelete/*" {
  capabilities = ["update"]
  allowed_parameters = {
    "versions" = []
  }
}

# The custom metadata alone: not how many versions are kept or how long, nor who may write without compare-and-set.
path "secret/metadata/*" {
  capabilities = ["read", "patch", "list"]
  allowed_parameters = {
    "custom_metadata" = []
  }
}

# What there is, by names and metadata, without values: a whole mount is listed at once. OpenBao lists many secrets in
# one request; Vault has no detailed-metadata, and needs no rule for it.
path "secret/detailed-metadata/*" {
  capabilities = ["list"]
}

# Keyturn's own state. No other identity may read this mount. Only the newest version of each entry is kept.
path "keyturn/data/rotations/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/rotations/*" {
  capabilities = ["create", "read", "update", "list"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/detailed-metadata/rotations/*" {
  capabilities = ["list"]
}
path "keyturn/data/incidents/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/incidents/*" {
  capabilities = ["list"]
}
path "keyturn/data/offboardings/*" {
  capabilities = ["read"]
}
path "keyturn/data/agreements/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/agreements/*" {
  capabilities = ["list"]
}
path "keyturn/data/keys/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/keys/*" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/hub-checks/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/hub-checks/*" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/logins/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/logins/*" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/rehearsals/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/rehearsals/*" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/notices/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/notices/*" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/quiet/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/quiet/*" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/sync/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/sync/*" {
  capabilities = ["create", "read", "update", "list"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/ledgers/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/ledgers/*" {
  capabilities = ["list"]
}
path "keyturn/data/forwarding/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/forwarding/*" {
  capabilities = ["list"]
}
path "keyturn/data/limits/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/limits/*" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/approvals/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/approvals/*" {
  capabilities = ["create", "read", "update", "list"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/break-glass/*" {
  capabilities = ["create", "read"]
}
path "keyturn/metadata/break-glass/*" {
  capabilities = ["list"]
}
path "keyturn/data/break-glass-reviews/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/break-glass-reviews/*" {
  capabilities = ["list"]
}
path "keyturn/data/grants/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/grants/*" {
  capabilities = ["list"]
}
path "keyturn/data/access-archive/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/access-archive/*" {
  capabilities = ["list"]
}
path "keyturn/data/numbers/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/numbers/*" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/serve/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/serve/*" {
  capabilities = ["create", "read", "update", "list"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/granted/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/granted/*" {
  capabilities = ["list"]
}

# The values of open rotations: each is written once, read until its rotation is over, and removed then.
path "keyturn/data/candidates/*" {
  capabilities = ["create", "read"]
}
path "keyturn/metadata/candidates/*" {
  capabilities = ["delete", "list"]
}

# From which backup the hub was restored, if it was; and that `keyturn repair recover` has gone through since.
path "keyturn/data/restored" {
  capabilities = ["read", "update"]
}

# The keys of all fingerprints: each is made once, and so is the word that it is in use, or retired.
path "keyturn/data/fingerprint-key" {
  capabilities = ["create", "read"]
}
path "keyturn/metadata/fingerprint-key" {
  capabilities = ["read"]
}
path "keyturn/data/fingerprint-keys/*" {
  capabilities = ["create", "read"]
}
path "keyturn/metadata/fingerprint-keys/*" {
  capabilities = ["read", "list"]
}

# Credentials that administer targets and notify consumers: people put them there.
path "keyturn/data/stores/*" {
  capabilities = ["read"]
}
path "keyturn/data/targets/*" {
  capabilities = ["read"]
}

# What signs notices: people put it there, and `rotate-own-keys` replaces it.
path "keyturn/data/webhooks/*" {
  capabilities = ["read", "update"]
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

# For the strategy vault-dynamic: how long a role's leases last, tokens that ask for leases (keyturn-lease.hcl) and
# end with theirs, seeing leases, renewing them, ending them. A token is ended by its own lease, so no other token is
# within reach.
path "database/roles/*" {
  capabilities = ["read"]
}
path "sys/mounts/database/tune" {
  capabilities = ["read"]
}
path "auth/token/create/keyturn-lease" {
  capabilities = ["create", "update"]
  allowed_parameters = {
    "meta" = []
  }
}
path "keyturn/data/lease-tokens/*" {
  capabilities = ["create", "read"]
}
path "auth/token/roles/keyturn-lease" {
  capabilities = ["read"]
}
path "sys/leases/lookup/auth/token/create/keyturn-lease/" {
  capabilities = ["list", "sudo"]
}
path "sys/leases/lookup" {
  capabilities = ["update"]
  allowed_parameters = {
    "lease_id" = ["auth/token/create/keyturn-lease/*", "database/creds/*", "auth/token/create/keyturn-grant/*"]
  }
}
path "keyturn/metadata/lease-tokens/*" {
  capabilities = ["delete", "list"]
}
path "sys/leases/revoke/auth/token/create/keyturn-lease/*" {
  capabilities = ["update"]
  allowed_parameters = {
    "sync" = []
  }
}
path "sys/leases/lookup/database/creds/*" {
  capabilities = ["list", "sudo"]
}
path "sys/leases/renew" {
  capabilities = ["update"]
  allowed_parameters = {
    "lease_id" = ["database/creds/*"]
  }
}
path "sys/leases/revoke" {
  capabilities = ["update"]
  allowed_parameters = {
    "lease_id" = ["database/creds/*"]
    "sync" = []
  }
}

# For the strategy vault-static-role: whose account it is, its password, and a new one.
path "database/static-roles/*" {
  capabilities = ["read"]
}
path "database/static-creds/*" {
  capabilities = ["read"]
}
path "database/rotate-role/*" {
  capabilities = ["update"]
}

# For the strategy certificate: what a role allows, signing requests, seeing what was issued, revoking it. Revoking
# can't be narrowed to a role.
path "pki/roles/*" {
  capabilities = ["read"]
}
path "pki/sign/*" {
  capabilities = ["update"]
}
path "pki/cert/*" {
  capabilities = ["read"]
}
path "pki/revoke" {
  capabilities = ["update"]
  allowed_parameters = {
    "serial_number" = []
  }
}
path "pki/issuer/+/sign/*" {
  capabilities = ["update"]
}

# Seeing whether each token that the granter makes is recorded, so that another login than the granter's finds one
# that is not.
path "auth/token/roles/keyturn-grant" {
  capabilities = ["read"]
}
path "sys/leases/lookup/auth/token/create/keyturn-grant/" {
  capabilities = ["list", "sudo"]
}
path "keyturn/data/grant-tokens/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/grant-tokens/*" {
  capabilities = ["list"]
}
