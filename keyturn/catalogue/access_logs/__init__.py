"""Settings of access logs: one model for each registered kind."""

from typing import TYPE_CHECKING, Annotated, Final

from keyturn.catalogue.access_logs.registry import ACCESS_LOGS
from keyturn.settings.access_logs import AccessLogBase
from keyturn.settings.choices import ByTag, Registered

ACCESS_LOG_KINDS: Final = Registered(ACCESS_LOGS, "keyturn.access_logs", AccessLogBase)

if TYPE_CHECKING:
    AccessLogSettings = AccessLogBase
else:
    AccessLogSettings = Annotated[AccessLogBase, ByTag("kind", registered=ACCESS_LOG_KINDS)]
