"""Pictures as vendors are given them: upright, in sRGB, in a format that they take.

A vendor fetches a picture by its URL, and may ignore how the camera was held and what the numbers of a colour mean. A
picture that would look different to it gets a copy, a private file of the customer, which is made once.
"""

import io
from collections import OrderedDict
from collections.abc import Collection

from safelight import telemetry
from safelight.domain.errors.base import NotFound, StorageError
from safelight.media import decode
from safelight.storage import keys
from safelight.storage.assets import AssetStore

KIND = "rendered"
REMEMBERED_MAX = 2000


class VendorPictures:
    """Remembers what became of the last REMEMBERED_MAX pictures: stored files never change."""

    def __init__(self, assets: AssetStore) -> None:
        self._assets = assets
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def url_for(self, url: str, customer: str, pass_ids: Collection[str]) -> str:
        """The plain URL of the copy that vendors are given, or the same URL if they may have the picture as it is, or
        if our storage does not answer now. `pass_ids` are those of the customer.

        Raises:
            AssetUnreadable: the picture cannot be decoded.
        """
        known = self._known.get((customer, url))
        if known is None:
            try:
                known = await self._made(url, customer, pass_ids)
            except StorageError as error:
                telemetry.warning(
                    telemetry.Tag.STORAGE,
                    f"An image could not be converted and is sent to the provider unchanged: {error}",
                )
                return url
            self._known[customer, url] = known
            if len(self._known) > REMEMBERED_MAX:
                self._known.popitem(last=False)
        return known

    async def _made(self, url: str, customer: str, pass_ids: Collection[str]) -> str:
        place = self._assets.stored_at(url, pass_ids)
        if place is None or not keys.media_type_of_key(place[1]).startswith("image/"):
            return url
        try:
            rendered = await self._assets.read_whole(*place, decode.rendered_if_needed)
        except NotFound:  # whoever is given the URL says so
            return url
        if rendered is None:
            return url
        stored = await self._assets.put_private_picture(io.BytesIO(rendered), kind=KIND, customer=customer)
        return self._assets.private_address(stored.key)
