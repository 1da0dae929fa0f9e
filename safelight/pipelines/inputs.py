"""Pictures of an order behind URLs that let whoever has them pass.

An order is a row, and rows hold no such URL. So what is behind it is kept as a private file of the customer when the
order is accepted; the order names that file's plain address, and who is to read it gets a URL that passes.
"""

import asyncio
from dataclasses import dataclass

from safelight.domain.errors import InvalidInput
from safelight.domain.orders import Assets, Order
from safelight.redaction import KNOWN_FORMS
from safelight.storage.assets import UPLOAD_BYTES_MAX, AssetStore
from safelight.storage.fetch import GuardedFetcher

KIND = "inputs"
SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Inputs:
    assets: AssetStore
    fetcher: GuardedFetcher

    async def kept(self, order: Order) -> Order:
        """The order with plain addresses only.

        Raises:
            InvalidInput: a picture cannot be read, or not in time.
        """
        try:
            async with asyncio.timeout(SECONDS_MAX):
                return order.model_copy(update={"assets": await self._plain(order.assets, order.pass_id)})
        except TimeoutError as error:
            raise InvalidInput(f"assets: the pictures did not arrive within {SECONDS_MAX:.0f} s.") from error

    async def _plain(self, stated: Assets, customer: str) -> Assets:
        plain = {url: await self._plain_address(url, customer) for url in set(_urls(stated))}
        return Assets(
            product=stated.product and plain[stated.product],
            logo=stated.logo and plain[stated.logo],
            inspirations=tuple(plain[url] for url in stated.inspirations),
            style_hero=stated.style_hero and plain[stated.style_hero],
            start=stated.start and plain[stated.start],
            end=stated.end and plain[stated.end],
        )

    async def _plain_address(self, url: str, customer: str) -> str:
        if not KNOWN_FORMS.has_secret(url):
            return url
        content = await self._content(url)
        stored = await self.assets.put_private(content, kind=KIND, customer=customer, name="")
        return self.assets.private_address(stored.key)

    async def _content(self, url: str) -> bytes:
        key = self.assets.private_key_of(url)
        if key:
            return await self.assets.private.read(key)
        return await self.fetcher.fetch(url, bytes_max=UPLOAD_BYTES_MAX)


def has_passes(order: Order) -> bool:
    """Whether a picture is behind a URL that lets whoever has it pass."""
    return any(KNOWN_FORMS.has_secret(url) for url in _urls(order.assets))


def _urls(assets: Assets) -> list[str]:
    stated = (assets.product, assets.logo, *assets.inspirations, assets.style_hero, assets.start, assets.end)
    return [url for url in stated if url]
