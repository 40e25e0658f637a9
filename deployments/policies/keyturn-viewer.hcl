# What a viewer of the page that `keyturn serve` shows may do in the hub: only that. Give it to people. The page holds
# names, and no value.
# Made by `keyturn setup store --everything`: what a catalogue needs that may do everything, for the mounts `secret`,
# `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours.

# See the page. This entry is always empty: the right to read it is the right to see the page.
path "keyturn/data/dashboard" {
  capabilities = ["read"]
}

# Whose login this is. The hub's policy `default` allows the same.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "identity/entity/id/{{identity.entity.id}}" {
  capabilities = ["read"]
}
