"""Projects: names under which a customer gathers generations and files."""

from dataclasses import dataclass
from datetime import datetime

from safelight.db.connection.database import Connection, load_queries
from safelight.db.generations.listing import PagePlace
from safelight.db.typed_rows import row_as, rows_as

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class ProjectRow:
    project_id: str
    name: str
    created_at: datetime
    updated_at: datetime

    @property
    def position(self) -> PagePlace:
        return PagePlace(self.created_at.isoformat(), f"project:{self.project_id}")


async def insert(conn: Connection, project_id: str, pass_id: str, name: str) -> None:
    await _queries.insert_project(conn, project_id=project_id, pass_id=pass_id, name=name)


async def get(conn: Connection, project_id: str, pass_id: str) -> ProjectRow | None:
    return row_as(ProjectRow, await _queries.project(conn, project_id=project_id, pass_id=pass_id))


async def is_theirs(conn: Connection, project_id: str, pass_id: str) -> bool:
    return await get(conn, project_id, pass_id) is not None


async def page(conn: Connection, pass_id: str, *, after: PagePlace, limit: int) -> list[ProjectRow]:
    rows = _queries.projects(conn, pass_id=pass_id, before_at=after.created_at, before_key=after.key, limit=limit)
    return await rows_as(ProjectRow, rows)


async def count(conn: Connection, pass_id: str) -> int:
    return int(await _queries.count_projects(conn, pass_id=pass_id))


async def rename(conn: Connection, project_id: str, pass_id: str, name: str) -> bool:
    """Returns whether the customer has such a project."""
    return bool(await _queries.rename_project(conn, project_id=project_id, pass_id=pass_id, name=name))


async def delete(conn: Connection, project_id: str, pass_id: str) -> bool:
    """Its generations and files stay, in no project. Returns whether the customer had such a project."""
    return bool(await _queries.delete_project(conn, project_id=project_id, pass_id=pass_id))
