"""Maps AWS's names of secrets to hub paths, by the catalogue's destinations."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from keyturn.agent.application import Named
from keyturn.agent.plain_names import ARN, SUFFIX, by_path
from keyturn.catalogue import Catalogue
from keyturn.catalogue.spreading import plain_places
from keyturn.catalogue.stores.aws import AwsSecretsManagerSettings
from keyturn.core.errors import Invalid, NotFound

NO_ACCOUNT: Final = "0" * 12


@dataclass(frozen=True)
class AwsCopy:
    """A copy in AWS; ``account`` is empty where the catalogue has none."""

    named: Named
    regions: tuple[str, ...]
    account: str

    def covers(self, region: str, account: str) -> bool:
        return region in self.regions and self.account in ("", account)


@dataclass(frozen=True)
class AwsNames:
    """Copies in AWS Secrets Manager by name; any other name is a path."""

    places: Mapping[str, tuple[AwsCopy, ...]]
    stores: int = field(default=0)

    @staticmethod
    def of(catalogue: Catalogue) -> "AwsNames":
        stores = {
            name: store for name, store in catalogue.stores.items() if isinstance(store, AwsSecretsManagerSettings)
        }
        places: dict[str, tuple[AwsCopy, ...]] = {}
        for place in _places(catalogue, stores):
            places[place.named.name] = (*places.get(place.named.name, ()), place)
        return AwsNames(places, len(stores))

    def resolve(self, secret_id: str) -> Named:
        """The secret whose copy has this name. Raises NotFound, and Invalid for several."""
        if arn := ARN.fullmatch(secret_id):
            return self._by_arn(secret_id, arn)
        places = self.places.get(secret_id, ())
        return _only(places) if places else by_path(secret_id)

    def _by_arn(self, secret_id: str, arn: re.Match[str]) -> Named:
        _, region, account, name = arn.groups()
        # An ARN may omit the random suffix of the name.
        for called in (SUFFIX.sub("", name), name):
            if places := tuple(place for place in self.places.get(called, ()) if place.covers(region, account)):
                named = _only(places)
                return Named(named.path, named.name, secret_id, named.shape)
        if not self.stores:
            return by_path(SUFFIX.sub("", name))
        raise NotFound("read", "an ARN", "the catalogue declares no copy there", "Add it to the secret's destinations")


def _only(places: tuple[AwsCopy, ...]) -> Named:
    if len({(place.named.path, place.named.shape) for place in places}) > 1:
        raise Invalid(
            "read", "a name", "AWS has copies of several secrets by that name", "Ask for its ARN, or its path"
        )
    return places[0].named


def _places(catalogue: Catalogue, stores: Mapping[str, AwsSecretsManagerSettings]) -> Iterator[AwsCopy]:
    for path in catalogue.secrets if stores else ():
        for place in plain_places(catalogue, path):
            # A key merged into another secret is no separate secret. The agent can't render the previous version.
            if place.store not in stores or place.merge or place.shape.tells_previous:
                continue
            store = stores[place.store]
            account = next(iter(store.accounts.values()), "")
            region = str(store.region)
            arn = f"arn:{partition(region)}:secretsmanager:{region}:{account or NO_ACCOUNT}:secret:{place.name}"
            yield AwsCopy(Named(path, place.name, arn, place.shape), store.places, account)


def partition(region: str) -> str:
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
