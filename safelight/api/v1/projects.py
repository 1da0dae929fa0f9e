"""`/api/v1/projects`: names under which a customer gathers generations and files."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field, StringConstraints

from safelight.api.auth.principals import CustomerByHeader
from safelight.api.http.error_responses import error_responses
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.services import FromApp
from safelight.api.schemas import examples, fields
from safelight.api.schemas.problems import PREFIX, ClosedModel, invalid
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1.routing import PAGE_DEFAULT, Cursor, Limit, cursor_of, position_of, v1_route
from safelight.db.connection.database import Connection
from safelight.db.generations import projects
from safelight.db.generations.projects import ProjectRow
from safelight.db.money import customers
from safelight.domain.errors.base import NotFound

PROJECTS_MAX = 1000  # of one customer

router = APIRouter(route_class=v1_route(), tags=["v1"])
ProjectPath = Annotated[str, Path(max_length=200, description="The project's id.")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class ProjectBody(ClosedModel):
    name: Name = Field(description="At most 200 characters.", examples=["Spring"])


class ProjectResource(ResponseModel):
    id: str = Field(examples=[examples.SESSION])
    name: str = Field(examples=["Spring"])
    created_at: fields.Time
    updated_at: fields.Time


class ProjectPage(ResponseModel):
    items: list[ProjectResource]
    next_cursor: str | None = Field(examples=[None])


class ProjectDeleted(ResponseModel):
    """Its generations and files stay, in no project."""

    id: str = Field(examples=[examples.SESSION])
    deleted: bool = Field(examples=[True])


def resource_of(row: ProjectRow) -> ProjectResource:
    return ProjectResource(id=row.project_id, name=row.name, created_at=row.created_at, updated_at=row.updated_at)


@router.get(f"{PREFIX}/projects", summary="Your projects, the newest first")
async def list_projects(
    services: FromApp, customer: CustomerByHeader, limit: Limit = PAGE_DEFAULT, cursor: Cursor = None
) -> ProjectPage:
    after = position_of(cursor)
    async with services.db.connection() as conn:
        rows = await projects.page(conn, customer.pass_id, after=after, limit=limit + 1)
    shown = rows[:limit]
    return ProjectPage(
        items=[resource_of(row) for row in shown],
        next_cursor=cursor_of(shown[-1].position) if len(rows) > limit else None,
    )


@router.post(f"{PREFIX}/projects", summary="Make a project", status_code=201)
async def make(
    services: FromApp, response: Response, customer: CustomerByHeader, once: OnceForKey, body: ProjectBody
) -> ProjectResource:
    project_id = once.id_for(customer)

    async def work(conn: Connection) -> ProjectResource:
        await customers.ensure(conn, customer.pass_id, welcome=customer.welcome)
        await customers.lock(conn, customer.pass_id)
        if await projects.count(conn, customer.pass_id) >= PROJECTS_MAX:
            raise invalid("name", f"You have {PROJECTS_MAX} projects, which are as many as there may be.")
        await projects.insert(conn, project_id, customer.pass_id, body.name)
        return await _own(conn, project_id, customer.pass_id)

    answer = await once.in_transaction(customer, ProjectResource, work, retries=True)
    response.headers["Location"] = f"{PREFIX}/projects/{answer.id}"
    return answer


async def _own(conn: Connection, project_id: str, pass_id: str) -> ProjectResource:
    row = await projects.get(conn, project_id, pass_id)
    if row is None:
        raise NotFound(f"There is no project {project_id!r}.")
    return resource_of(row)


@router.get(f"{PREFIX}/projects/{{project_id}}", summary="A project", responses=error_responses(404))
async def read(services: FromApp, customer: CustomerByHeader, project_id: ProjectPath) -> ProjectResource:
    async with services.db.connection() as conn:
        return await _own(conn, project_id, customer.pass_id)


@router.patch(f"{PREFIX}/projects/{{project_id}}", summary="Rename a project", responses=error_responses(404))
async def rename(
    services: FromApp, customer: CustomerByHeader, project_id: ProjectPath, body: ProjectBody
) -> ProjectResource:
    async with services.db.transaction() as conn:
        await projects.rename(conn, project_id, customer.pass_id, body.name)
        return await _own(conn, project_id, customer.pass_id)


@router.delete(f"{PREFIX}/projects/{{project_id}}", summary="Delete a project", responses=error_responses(404))
async def delete(services: FromApp, customer: CustomerByHeader, project_id: ProjectPath) -> ProjectDeleted:
    async with services.db.connection() as conn:
        if not await projects.delete(conn, project_id, customer.pass_id):
            raise NotFound(f"There is no project {project_id!r}.")
    return ProjectDeleted(id=project_id, deleted=True)
