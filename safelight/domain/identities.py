"""Customers of a request. The acting and the target customer are different types, so that the type checker finds a
confusion of the two; an operator (`db/operations/audit.py`) is a third type."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Welcome:
    """The credits of a new customer. `address` is a keyed hash of the network address; at most `per_day` customers of
    one address get them in a day (0: any number)."""

    credits: int
    address: str
    per_day: int


@dataclass(frozen=True, slots=True)
class ActingCustomer:
    """The customer who sent the request, and may spend, read and change what is theirs.

    `has_user`: the row is a signed-in user's, so that stating its id is not enough. `is_first_visit`: the user has no
    row yet; reading makes none, so that the first write, or `/me`, can still take over the visitor that they were.
    `address` is a keyed hash of the network address that the request came from.
    """

    pass_id: str
    has_user: bool = False
    is_first_visit: bool = False
    address: str = ""
    welcome: Welcome | None = None


@dataclass(frozen=True, slots=True)
class TargetCustomer:
    """The customer that an operator acts on, as the operator names them. It grants no rights."""

    pass_id: str
