"""Any service with a REST API as a store, as a recipe describes it."""

import re
from typing import Literal

from keyturn.core.store_limits import Limits
from keyturn.settings.store_requests import StoreRequests
from keyturn.settings.stores import Placed, System


class HttpStoreSettings(StoreRequests, Placed):
    """A service that is asked over HTTP. A recipe sets most keys: `keyturn store list` shows all."""

    kind: Literal["http-store"]
    """The kind of store."""

    ADAPTER = "keyturn.providers.http.store:HttpStore"
    LIMITS = Limits("http-store", re.compile(r".+"), "a name", 1_000_000)
    """The recipe's own are in :attr:`limits`."""

    @property
    def limits(self) -> Limits:
        return self.name_limits

    @property
    def readable(self) -> bool:
        return not self.write_only

    @property
    def system(self) -> System:
        return (self.kind, self.url.rstrip("/").casefold(), self.listed_place)
