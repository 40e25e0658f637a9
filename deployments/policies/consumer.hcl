# What an application may do in the hub.
# Made by `keyturn policy render --everything`: what a catalogue needs that may do everything, for the mounts
# `secret`, `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours.

# Read its own secrets, and nothing else.
path "secret/data/ml-training/*" {
  capabilities = ["read"]
}
