"""FastAPI dependencies by which each route declares who acts and who is acted on.

`ActingByBody`, `ActingByQuery`, `IdentifiedByBody`, `IdentifiedByQuery`, `CustomerOrAnonymous` and `CustomerOfPath`
give an `ActingCustomer`, who may spend, read and change what is theirs. `Target` gives a `TargetCustomer`, on whom an
operator (`admin.py`) acts.
`ByIdViewer`, `Follower` and `CustomerOrOperator` are for what has an id. `CustomerByHeader`, `VisitorByHeader`,
`OwnerOrOperator` and `V1Follower` are those of `/api/v1`. `no_identity` says that nobody is looked at.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query, Request
from fastapi.routing import APIRoute

from safelight.api.auth import identity, stream_urls, visitors
from safelight.api.auth.identity import HEADER, Stated
from safelight.api.auth.operators import optional_operator
from safelight.api.auth.stream_urls import StreamToken
from safelight.api.http.services import FromApp
from safelight.api.schemas.requests import IdentityBody
from safelight.db.connection.database import TRANSIENT_ERRORS, Connection
from safelight.db.money.customers import Account
from safelight.db.operations.audit import Operator
from safelight.domain.errors.base import AuthError, InvalidInput, NotFound
from safelight.domain.identities import ActingCustomer, TargetCustomer
from safelight.security.jwt import TokenUser

PassIdHeader = Annotated[
    str | None, Header(alias=HEADER, description="The customer's stable id, where the body states none.")
]
PassIdQuery = Annotated[
    str | None, Query(alias="passId", max_length=200, description="The customer's stable id; or state it as a header.")
]
CustomerIdQuery = Annotated[
    str | None, Query(alias="customerId", max_length=200, description="A pass id, or a shop's customer key.")
]


# --- who acts -------------------------------------------------------------------------------------------------------


async def stated_by_body(body: IdentityBody, header: PassIdHeader = None) -> Stated:
    return Stated(body.pass_id, body.customer_id, header)


async def stated_by_query(
    pass_id: PassIdQuery = None, customer_id: CustomerIdQuery = None, header: PassIdHeader = None
) -> Stated:
    return Stated(pass_id, customer_id, header)


StatedByBody = Annotated[Stated, Depends(stated_by_body)]
StatedByQuery = Annotated[Stated, Depends(stated_by_query)]


async def acting_customer(stated: StatedByBody) -> ActingCustomer | None:
    """The customer whom the token names, else body or header; None if they name nobody. Raises as `identity.acting`."""
    return await identity.acting(stated, is_write=True)


async def acting_customer_by_query(stated: StatedByQuery) -> ActingCustomer | None:
    """As `acting_customer`, for routes that read: no user's row is made, or taken over, by them."""
    return await identity.acting(stated, is_write=False)


ActingByBody = Annotated[ActingCustomer | None, Depends(acting_customer)]
ActingByQuery = Annotated[ActingCustomer | None, Depends(acting_customer_by_query)]


async def require_identity(customer: ActingByBody) -> ActingCustomer | None:
    """As `acting_customer`. Raises AuthError, if they name nobody where only a token counts."""
    identity.current_caller().require_identity(customer)
    return customer


async def require_identity_by_query(customer: ActingByQuery) -> ActingCustomer | None:
    """As `acting_customer_by_query`. Raises AuthError, if they name nobody where only a token counts."""
    identity.current_caller().require_identity(customer)
    return customer


async def customer_or_anonymous(
    customer: Annotated[ActingCustomer | None, Depends(require_identity)],
) -> ActingCustomer:
    """As `require_identity`; nobody becomes a new anonymous visitor. The answer's header says which."""
    return customer or identity.new_visitor()


async def customer_of_path(pass_id: Annotated[str, Path(max_length=200)]) -> ActingCustomer:
    """The acting customer, who is the one that the path names.

    Raises:
        NotFound: the one that the path names is somebody else.
    """
    named = await identity.target(Stated(pass_id))
    if named is None:
        raise InvalidInput("passId: an id is needed.", code="MISSING_PASS_ID")
    customer = await identity.acting(Stated(pass_id), is_write=False)
    if customer is None or customer.pass_id != named.pass_id:
        raise NotFound(f"There is no history of {named.pass_id!r} for you.")
    return customer


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The customer whom a request states, while the database cannot say who acts. Nothing of theirs may be shown."""

    stated: str | None


async def customer_if_reachable(stated: StatedByQuery) -> ActingCustomer | Unreachable | None:
    """As `acting_customer_by_query`, for a route that answers also while the database is away."""
    try:
        return await acting_customer_by_query(stated)
    except TRANSIENT_ERRORS:
        return Unreachable(stated.customer_key or stated.pass_id or stated.header)


IdentifiedByQuery = Annotated[ActingCustomer | None, Depends(require_identity_by_query)]
IdentifiedByBody = Annotated[ActingCustomer | None, Depends(require_identity)]
CustomerOrAnonymous = Annotated[ActingCustomer, Depends(customer_or_anonymous)]
CustomerOfPath = Annotated[ActingCustomer, Depends(customer_of_path)]
CustomerIfReachable = Annotated[ActingCustomer | Unreachable | None, Depends(customer_if_reachable)]


@dataclass(frozen=True, slots=True)
class SignIn:
    """The first calls of a client, which find or make a user's row. Their routes answer in their own way if a token
    does not hold, so that nothing is looked at before they ask."""

    header: PassIdHeader = None

    def user(self) -> TokenUser | None:
        """Raises InvalidToken or AuthUnavailable."""
        return identity.current_caller().signed_in()

    def visitor(self) -> str:
        """The pass id that the header states, as it is; else a new one. No row is looked at."""
        return identity.pass_id_of_header(self.header) or visitors.issue(identity.current_caller().services.signer)

    async def account(self, conn: Connection, user: TokenUser, *, may_adopt: bool) -> Account:
        """The user's row; a first visit with `may_adopt` takes over the one that the header states."""
        return await identity.account(conn, user, identity.pass_id_of_header(self.header) if may_adopt else None)


SigningIn = Annotated[SignIn, Depends()]


# --- who asks for something by its id -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Viewer:
    """An operator, a customer who says who they are, or somebody who knows no more than the id."""

    operator: Operator | None = None
    customer: ActingCustomer | None = None

    def sees_all_of(self, owner: str | None, what: str) -> bool:
        """Return true if they see what only the owner and operators see. Who knows the id alone sees the rest.

        Raises:
            NotFound: they say who they are, and it is somebody else's.
            AuthError: they do not say who they are, where only a token counts.
        """
        if self.operator:
            return True
        identity.current_caller().require_identity(self.customer)
        if self.customer is not None and self.customer.pass_id != owner:
            raise NotFound(f"There is no {what}.")
        return self.customer is not None


async def by_id_viewer(request: Request, services: FromApp, header: PassIdHeader = None) -> Viewer:
    operator = await optional_operator(request, services)
    if operator:
        return Viewer(operator)
    return Viewer(customer=await identity.acting(Stated(header=header), is_write=False))


async def follower(
    request: Request,
    services: FromApp,
    generation_id: Annotated[str, Path(max_length=200)],
    token: StreamToken = None,
    header: PassIdHeader = None,
) -> Viewer | None:
    """As `by_id_viewer`; None if the URL itself says that it may be followed: then nobody is looked at."""
    if token and services.signer.holds(stream_urls.PURPOSE, generation_id, token):
        return None
    return await by_id_viewer(request, services, header)


async def customer_or_operator(request: Request, services: FromApp, stated: StatedByBody) -> ActingCustomer | Operator:
    """An operator acts on whatever the path names, and never for the customer whom the request states; a server of ours
    that has the admin token acts for them.

    Raises:
        NotFound: nobody says who they are.
    """
    operator = await optional_operator(request, services)
    if operator and operator.user_id:
        return operator
    found = await acting_customer(stated) or operator
    if found is not None:
        return found
    raise NotFound("There is nothing of that id that is yours; say who you are with passId.")


ByIdViewer = Annotated[Viewer, Depends(by_id_viewer)]
Follower = Annotated[Viewer | None, Depends(follower)]
CustomerOrOperator = Annotated[ActingCustomer | Operator, Depends(customer_or_operator)]


# --- who asks `/api/v1`: a token, or the header ----------------------------------------------------------------------

SAY_WHO = f"Say who you are: an access token (`Authorization: Bearer TOKEN`), or the header `{HEADER}`."


async def acting_by_header(request: Request, header: PassIdHeader = None) -> ActingCustomer | None:
    """The customer whom the token names, else the header; None if they name nobody. Raises as `identity.acting`."""
    return await identity.acting(Stated(header=header), is_write=request.method != "GET")


ActingByHeader = Annotated[ActingCustomer | None, Depends(acting_by_header)]


async def customer_by_header(customer: ActingByHeader) -> ActingCustomer:
    """As `acting_by_header`. Raises AuthError, if they name nobody."""
    identity.current_caller().require_identity(customer)
    if customer is None:
        raise AuthError(SAY_WHO)
    return customer


async def visitor_by_header(customer: ActingByHeader) -> ActingCustomer:
    """As `acting_by_header`; nobody becomes a new anonymous visitor. Raises AuthError, where only a token counts."""
    identity.current_caller().require_identity(customer)
    return customer or identity.new_visitor()


async def owner_or_operator(
    request: Request, services: FromApp, header: PassIdHeader = None
) -> ActingCustomer | Operator:
    """An operator, whomever the request states; else the customer. Raises AuthError, if it is nobody."""
    operator = await optional_operator(request, services)
    return operator or await customer_by_header(await acting_by_header(request, header))


CustomerByHeader = Annotated[ActingCustomer, Depends(customer_by_header)]
VisitorByHeader = Annotated[ActingCustomer, Depends(visitor_by_header)]
OwnerOrOperator = Annotated[ActingCustomer | Operator, Depends(owner_or_operator)]


async def v1_follower(
    request: Request,
    services: FromApp,
    generation_id: Annotated[str, Path(max_length=200)],
    token: Annotated[
        str | None,
        Query(max_length=stream_urls.TOKEN_CHARS_MAX, description="Of `POST /generations/{id}/stream-token`."),
    ] = None,
    header: PassIdHeader = None,
) -> ActingCustomer | Operator | None:
    """As `owner_or_operator`; None if the token says that the stream may be followed: then nobody is looked at."""
    if token and services.signer.holds(stream_urls.V1_PURPOSE, generation_id, token):
        return None
    return await owner_or_operator(request, services, header)


V1Follower = Annotated[ActingCustomer | Operator | None, Depends(v1_follower)]


# --- who is acted on ------------------------------------------------------------------------------------------------


async def target_customer(stated: StatedByBody) -> TargetCustomer:
    """The customer whom an operator's request names, whoever the operator is. Declare the operator first.

    Raises:
        InvalidInput: nobody is named; an id is longer than any we store, or holds control characters.
    """
    target = await identity.target(stated)
    if target is None:
        raise InvalidInput("customerId: name the customer.", code="MISSING_CUSTOMER_ID")
    return target


Target = Annotated[TargetCustomer, Depends(target_customer)]


# --- nobody ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoIdentity:
    """A dependency that does nothing but say that the route looks at nobody's identity, and why."""

    why: str

    async def __call__(self) -> None:
        return None


def no_identity(why: str) -> Any:
    return Depends(NoIdentity(why))


def is_anonymous(route: APIRoute) -> bool:
    """True if the route says that it looks at nobody's identity."""
    return any(isinstance(dependency.call, NoIdentity) for dependency in route.dependant.dependencies)
