"""The prices of generations, in credits."""

from collections.abc import Mapping
from dataclasses import dataclass

from safelight.domain.orders import ModelRun, Order


@dataclass(frozen=True, slots=True)
class Prices:
    """Credits that each kind of generation costs. Operators may set others: ask for them when they are needed."""

    still_credits: int
    video_credits: int
    image_credits: int = 1
    is_free: bool = False

    def of(self, order: Order) -> int:
        return self.each(order) * order.positions

    def each(self, order: Order) -> int:
        """The price of one result of the order."""
        if order.is_free or self.is_free:
            return 0
        if isinstance(order, ModelRun):  # that of its model, as it was when the order was accepted
            return order.price_each
        return self.of_mode(order.flow.mode)

    def of_mode(self, mode: str) -> int:
        """The price of one result, of a mode whose results have one price."""
        by_mode: Mapping[str, int] = {
            "still": self.still_credits,
            "video": self.video_credits,
            "image_job": self.image_credits,
        }
        return by_mode[mode]
