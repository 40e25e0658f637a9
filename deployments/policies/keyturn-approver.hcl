# What a second person may do who approves what others ask for (`approvals:` in the operator's file): see the requests,
# and sign with their own key, which bears their entity's name. Give it to people, and to no worker. They need nothing
# else of Keyturn; replace `keyturn` and `transit` by your mounts.
path "keyturn/data/approvals/*" {
  capabilities = ["read", "update"]
}
path "keyturn/metadata/approvals" {
  capabilities = ["list"]
}
path "keyturn/metadata/approvals/*" {
  capabilities = ["list"]
}

# To look at what was done without a second person, and to say so.
path "keyturn/data/break-glass/*" {
  capabilities = ["read", "update"]
}
path "keyturn/metadata/break-glass" {
  capabilities = ["list"]
}
path "keyturn/metadata/break-glass/*" {
  capabilities = ["list"]
}

path "transit/keys/keyturn-approver-{{identity.entity.name}}" {
  capabilities = ["read"]
}
path "transit/sign/keyturn-approver-{{identity.entity.name}}" {
  capabilities = ["update"]
}

# Whose login this is. The hub's policy `default` allows the same.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "identity/entity/id/{{identity.entity.id}}" {
  capabilities = ["read"]
}
