# What the tokens may do in the hub that the granter makes to ask for credentials.
# Made by `keyturn setup store --everything`: what a catalogue needs that may do everything, for the mounts `secret`,
# `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours.

# Credentials that access policies name. Each is wrapped before anybody sees it, and ends with this token.
path "database/creds/*" {
  capabilities = ["read"]
}
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
