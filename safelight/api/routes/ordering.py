"""Accepts the orders that a request states, for the customer who acts, and once for each idempotency key."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from safelight.api.auth.principals import CustomerOrAnonymous
from safelight.api.http.idempotency import KEY_CHARS_MAX
from safelight.api.http.rate_limits import RateLimitGroup
from safelight.api.http.request_ids import request_id
from safelight.api.http.services import FromApp
from safelight.api.schemas.order_builder import OrderBuilder
from safelight.api.schemas.requests import CreateBody
from safelight.domain.flows import Flow
from safelight.domain.orders import Order
from safelight.pipelines.accept import AcceptedOrder

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=KEY_CHARS_MAX,
        description="The same key with the same request gives the generation that was accepted first, once charged.",
    ),
]


@dataclass(frozen=True, slots=True)
class Ordering:
    request: Request
    services: FromApp
    customer: CustomerOrAnonymous
    key: IdempotencyKey = None

    async def accept(self, flow: Flow, body: CreateBody) -> tuple[Order, AcceptedOrder]:
        """Raises TooManyRequests, and as `OrderBuilder.order` and `Acceptance.accept` do."""
        services, request = self.services, self.request
        services.rates.check_customer(RateLimitGroup.WRITES, self.customer)
        parent_id = request.path_params.get("generation_id")
        async with services.db.connection() as conn:
            order = await OrderBuilder(conn, services.assets, flow, body, self.customer.pass_id, parent_id).order()
        accepted = await services.acceptance.accept(
            order,
            self.customer,
            idempotency_key=self.key or body.stated_idempotency_key,
            request={"request_id": request_id(), "route": request.scope["route"].path, "method": request.method},
        )
        return order, accepted


Orders = Annotated[Ordering, Depends()]
