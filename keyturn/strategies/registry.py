"""The strategies there are: to add one, add a line."""

from typing import Annotated

from keyturn.settings.choices import ByTag
from keyturn.strategies.accounts import AlternatingUsersSettings, SingleUserSettings
from keyturn.strategies.aws_iam_key import AwsIamKeySettings
from keyturn.strategies.azure_app_secret import AzureAppSecretSettings
from keyturn.strategies.azure_storage_key import AzureStorageKeySettings
from keyturn.strategies.certificate import CertificateSettings
from keyturn.strategies.gcp_service_account_key import GcpServiceAccountKeySettings
from keyturn.strategies.generated import GeneratedSettings
from keyturn.strategies.http_api_key import HttpApiKeySettings
from keyturn.strategies.manual import ManualSettings
from keyturn.strategies.redis_acl import RedisAclSettings
from keyturn.strategies.signing_key import SigningKeySettings
from keyturn.strategies.ssh_key import SshKeySettings
from keyturn.strategies.vault_dynamic import VaultDynamicSettings
from keyturn.strategies.vault_static_role import VaultStaticRoleSettings

Rotation = Annotated[
    AlternatingUsersSettings
    | SingleUserSettings
    | VaultDynamicSettings
    | VaultStaticRoleSettings
    | CertificateSettings
    | GeneratedSettings
    | ManualSettings
    | AwsIamKeySettings
    | GcpServiceAccountKeySettings
    | AzureAppSecretSettings
    | AzureStorageKeySettings
    | SigningKeySettings
    | RedisAclSettings
    | HttpApiKeySettings
    | SshKeySettings,
    ByTag("strategy"),
]
