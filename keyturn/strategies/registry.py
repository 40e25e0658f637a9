"""The strategies there are: to add one, add a line."""

from typing import TYPE_CHECKING, Annotated, Final

from keyturn.settings.choices import ByTag, Registered
from keyturn.strategies.base import StrategySettings

STRATEGIES: Final = Registered(
    {
        "alternating-users": "keyturn.strategies.database_users.AlternatingUsersSettings",
        "single-user": "keyturn.strategies.database_users.SingleUserSettings",
        "vault-dynamic": "keyturn.strategies.vault_dynamic.VaultDynamicSettings",
        "vault-static-role": "keyturn.strategies.vault_static_role.VaultStaticRoleSettings",
        "certificate": "keyturn.strategies.certificate.CertificateSettings",
        "generated": "keyturn.strategies.generated.GeneratedSettings",
        "manual": "keyturn.strategies.manual.ManualSettings",
        "aws-iam-key": "keyturn.strategies.aws_iam_key.AwsIamKeySettings",
        "gcp-service-account-key": "keyturn.strategies.gcp_service_account_key.GcpServiceAccountKeySettings",
        "azure-app-secret": "keyturn.strategies.azure_app_secret.AzureAppSecretSettings",
        "azure-storage-key": "keyturn.strategies.azure_storage_key.AzureStorageKeySettings",
        "signing-key": "keyturn.strategies.signing_key.SigningKeySettings",
        "redis-acl": "keyturn.strategies.redis_acl.RedisAclSettings",
        "http-api-key": "keyturn.strategies.http_api_key.HttpApiKeySettings",
        "http-two-slots": "keyturn.strategies.http_two_slots.HttpTwoSlotsSettings",
        "http-exchange": "keyturn.strategies.http_exchange.HttpExchangeSettings",
        "http-password": "keyturn.strategies.http_password.HttpPasswordSettings",
        "http-key-pair": "keyturn.strategies.http_key_pair.HttpKeyPairSettings",
        "ssh-key": "keyturn.strategies.ssh_key.SshKeySettings",
    },
    "keyturn.strategies",
    StrategySettings,
)
"""The settings of each strategy; its file is imported where a catalogue asks for it."""

if TYPE_CHECKING:
    Rotation = StrategySettings
else:
    Rotation = Annotated[StrategySettings, ByTag("strategy", registered=STRATEGIES)]
