# What an application may do in the hub.
# Made by `keyturn setup store --everything`: what a catalogue needs that may do everything, for the mounts `secret`,
# `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours.

# Read its own secrets, and nothing else.
path "secret/data/ml-training/*" {
  capabilities = ["read"]
}

# Read the keys that notices to it are signed with: while one is replaced there are two.
path "keyturn/data/webhooks/trainer" {
  capabilities = ["read"]
}
path "keyturn/data/webhooks/inference" {
  capabilities = ["read"]
}
