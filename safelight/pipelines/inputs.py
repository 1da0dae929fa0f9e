"""The input pictures of an order that are not ours yet. An order is accepted with their addresses and a note of what is
to be imported; `import_inputs.py` makes private files of them before a worker begins.

An order is a row, and rows hold no URL that lets whoever has it pass: such a URL is noted sealed.
"""

from dataclasses import dataclass
from typing import Any

from safelight.domain.orders import Order
from safelight.pipelines.engine.sealing import Sealer, sealed_parts
from safelight.redaction import DEFAULT_REDACTOR
from safelight.storage.assets import AssetStore

Json = dict[str, Any]

# What a model may be sent of an order as it is.
TEXTS = (
    "brief", "style", "motion_brief", "movement_style", "negative_prompt", "feedback", "style_history_csv",
    "preset_prompt", "settings", "prompt", "prompts", "parameters", "values",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Inputs:
    """`lanes` is how many orders of one customer may be imported at once."""

    assets: AssetStore
    sealer: Sealer
    lanes: int

    def noted(self, order: Order, *, in_progress: int) -> tuple[Order, Json | None]:
        """The order with addresses only, and the note of what is to be imported: None where every picture is ours.
        `in_progress` is how many unfinished generations the customer has: it spreads them over the lanes."""
        addresses: dict[str, str] = {}
        pictures: list[Json] = []
        for field, url in order.pictures().items():
            address, note = self._address(url, order.pass_id)
            addresses[field] = address
            if note is not None:
                pictures.append({"field": field, **note})
        lock = f"inputs:{order.pass_id}:{in_progress % self.lanes}"
        return order.with_pictures(addresses), {"lock": lock, "pictures": pictures} if pictures else None

    def as_written(self, order: Order) -> Json:
        """The part that is stored beside the order, so that models get its texts as they were written. Pictures have
        a note of their own."""
        return sealed_parts(self.sealer, order.texts(), TEXTS)

    def _address(self, url: str, customer: str) -> tuple[str, Json | None]:
        """The order's entry for a picture, and the import that it needs."""
        if self.assets.is_own(url):
            return url, None
        key = self.assets.private_key_of(url)
        if key is not None:  # whoever ordered had a URL that passes, so this very file may be copied for them
            address = self.assets.private_address(key)
            return address, None if self.assets.names.is_owner(customer, key) else {"url": address, "key": key}
        shown = DEFAULT_REDACTOR.text(url)
        return shown, {"url": shown} | ({"sealed": self.sealer.seal(url)} if DEFAULT_REDACTOR.has_secret(url) else {})
