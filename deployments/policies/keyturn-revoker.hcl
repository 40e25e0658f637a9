# What the identity that revokes in an emergency may do in the hub in addition to a worker: give it both policies, and
# this one to no other identity.
# Made by `keyturn setup store --everything`: what a catalogue needs that may do everything, for the mounts `secret`,
# `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours.

# Look at what was deleted, since the credential in it may live (what a search has looked at is deleted again), and
# remove the values of old versions for good.
path "secret/undelete/*" {
  capabilities = ["update"]
  allowed_parameters = {
    "versions" = []
  }
}
path "secret/delete/*" {
  capabilities = ["update"]
  allowed_parameters = {
    "versions" = []
  }
}
path "secret/destroy/*" {
  capabilities = ["update"]
  allowed_parameters = {
    "versions" = []
  }
}

# See before anything is changed whether all of it is allowed.
path "sys/capabilities-self" {
  capabilities = ["update"]
}

# The incidents, and the ends of projects.
path "keyturn/data/incidents/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/incidents/*" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}
path "keyturn/data/offboardings/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/offboardings/*" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}

# Keep there what can't be written to the ledger.
path "keyturn/data/unrecorded/*" {
  capabilities = ["create"]
}

# End requests for access to what a project has had (`keyturn offboard`).
path "keyturn/data/grants/*" {
  capabilities = ["update"]
}

# What makes and ends accounts at targets for access alone (`grants:`): people put it there.
path "keyturn/data/grant-admins/*" {
  capabilities = ["read"]
}

# End temporary access to what is revoked: mark it as ended, revoke its tokens, and check that the accounts are gone.
path "keyturn/metadata/granted" {
  capabilities = ["list"]
}
path "keyturn/data/granted/*" {
  capabilities = ["read", "update"]
}
path "sys/leases/lookup/database/creds/*" {
  capabilities = ["list", "sudo"]
}
path "sys/leases/lookup" {
  capabilities = ["update"]
  allowed_parameters = {
    "lease_id" = ["database/creds/*", "auth/token/create/keyturn-grant/*"]
  }
}
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
  capabilities = ["delete", "list"]
}
path "sys/leases/revoke/auth/token/create/keyturn-grant/*" {
  capabilities = ["update"]
  allowed_parameters = {
    "sync" = []
  }
}

# Find and end leases, whichever engine gave them; but for those that are logins, Keyturn's own among them, and the
# hub's.
path "sys/leases/lookup/*" {
  capabilities = ["list", "sudo"]
}
path "sys/leases/revoke" {
  capabilities = ["update"]
  allowed_parameters = {
    "lease_id" = []
    "sync" = []
  }
  denied_parameters = {
    "lease_id" = ["auth/*", "sys/*"]
  }
}
path "sys/leases/lookup/auth/*" {
  capabilities = ["deny"]
}
path "sys/leases/lookup/sys/*" {
  capabilities = ["deny"]
}
