# What `keyturn serve` may do in the hub where it publishes to Prometheus the numbers that another process collected
# (`--only relay`). It reads no secret, no record, and no key.
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

# What a worker's login has seen of the whole workspace (`keyturn serve --publish`): names and numbers.
path "keyturn/data/numbers/*" {
  capabilities = ["read"]
}

# That it is at work (`keyturn serve --only relay`).
path "keyturn/data/serve/relay" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/serve/relay" {
  capabilities = ["create", "read", "update"]
  allowed_parameters = {
    "max_versions" = ["1"]
  }
}

# Of two hubs, where there are two, which one is written: that is asked in both before anything is changed.
path "keyturn/data/failover/epoch" {
  capabilities = ["read"]
}
