# What an auditor may do in the hub: read states, versions, times, fingerprints and policies, and list names. It reads
# no secret, no candidate and no key, and changes nothing.
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

# What there is, by names and metadata, without values.
path "secret/metadata/*" {
  capabilities = ["read", "list"]
}
path "secret/detailed-metadata/*" {
  capabilities = ["list"]
}

# Keyturn's own state: states, versions, times and fingerprints. Values of open rotations, what opens access, and the
# keys of fingerprints are in other entries.
path "keyturn/data/rotations/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/rotations/*" {
  capabilities = ["list"]
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
  capabilities = ["read"]
}
path "keyturn/data/hub-checks/*" {
  capabilities = ["read"]
}
path "keyturn/data/logins/*" {
  capabilities = ["read"]
}
path "keyturn/data/rehearsals/*" {
  capabilities = ["read"]
}
path "keyturn/data/notices/*" {
  capabilities = ["read"]
}
path "keyturn/data/quiet/*" {
  capabilities = ["read"]
}
path "keyturn/data/sync/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/sync/*" {
  capabilities = ["list"]
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
  capabilities = ["read"]
}
path "keyturn/data/approvals/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/approvals/*" {
  capabilities = ["list"]
}
path "keyturn/data/break-glass/*" {
  capabilities = ["read"]
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
  capabilities = ["read"]
}
path "keyturn/data/serve/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/serve/*" {
  capabilities = ["list"]
}
path "keyturn/data/granted/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/granted/*" {
  capabilities = ["list"]
}

# From which backup the hub was restored, what was set up in it, and what waits for the ledger.
path "keyturn/data/restored" {
  capabilities = ["read"]
}
path "keyturn/data/setup" {
  capabilities = ["read"]
}
path "keyturn/data/unrecorded/*" {
  capabilities = ["read"]
}
path "keyturn/metadata/unrecorded/*" {
  capabilities = ["list"]
}

# Which keys of fingerprints there are, and since when; not the keys.
path "keyturn/metadata/fingerprint-key" {
  capabilities = ["read"]
}
path "keyturn/metadata/fingerprint-keys/*" {
  capabilities = ["read", "list"]
}

# Which login may do what, for `keyturn report`.
path "sys/policies/acl" {
  capabilities = ["list"]
}
path "sys/policies/acl/" {
  capabilities = ["list"]
}
path "sys/policies/acl/*" {
  capabilities = ["read"]
}

# See the page. This entry is always empty: the right to read it is the right to see the page.
path "keyturn/data/dashboard" {
  capabilities = ["read"]
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
path "transit/keys/keyturn-ledger" {
  capabilities = ["read"]
}
