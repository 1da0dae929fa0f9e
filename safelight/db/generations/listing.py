"""A customer's generations as lists show them: page by page, by filter, each with its results, charges and times."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.typed_rows import rows_as
from safelight.domain.flows import SET_MODES
from safelight.domain.ids import generation_key

_queries = load_queries(__file__)

FILTERED_AT_ONCE = 500  # rows that are held to the filters which no index serves
WINDOWS_MAX = 4  # of so many rows, for one page
NEWEST = "infinity"


@dataclass(frozen=True, slots=True)
class PagePlace:
    """The place in a list, newest first, after which a page begins."""

    created_at: str = NEWEST
    key: str = ""


@dataclass(frozen=True, slots=True)
class Filters:
    """None is any."""

    kind: str | None = None
    status: str | None = None
    project_id: str | None = None
    favorite: bool | None = None
    text: str | None = None

    @property
    def need_one_index(self) -> bool:
        """True if one index serves all of them."""
        stated = [self.kind, self.status, self.project_id, self.text, self.favorite]
        return sum(one is not None for one in stated) <= 1 and self.text is None and self.favorite is not False


@dataclass(frozen=True, slots=True)
class GenerationListing:
    """A generation with its results. `made` are the outputs of the steps that leave files; `status` is the public one,
    `mma_status` None for what an older backend made without a pipeline."""

    key: str
    generation_id: str
    pass_id: str
    kind: str
    mma_status: str | None
    status: str
    name: str | None
    project_id: str | None
    parent_id: str | None
    meta: Row
    progress: Row | None
    stand_in: bool | None
    order_warnings: list[str] | None
    model: str | None
    prompt: str | None
    output_url: str | None
    output_key: str | None
    latency_ms: int | None
    created_at: datetime
    deleted_at: datetime | None
    started_at: str | None
    source_count: int
    made: list[Row]
    charged: int
    refunded: int


@dataclass(frozen=True, slots=True)
class ListedPage:
    """`next` is where the next page begins; None on the last one."""

    items: list[GenerationListing]
    next: PagePlace | None


@dataclass(frozen=True, slots=True)
class ListedStep:
    number: int
    type: str
    status: str
    provider: str | None
    model: str | None
    latency_ms: int | None
    timing: Row | None
    error: Row | None
    attempts: int
    input: Row | None


@dataclass(frozen=True, slots=True)
class ResultPlace:
    """The position in a set after which a page of results begins."""

    variant: int = -1
    source: int = -1


FIRST = ResultPlace()


@dataclass(frozen=True, slots=True)
class ResultSums:
    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class GenerationCount:
    status: str
    kind: str
    model: str | None
    count: int


@dataclass(frozen=True, slots=True)
class _Key:
    key: str
    created_at: datetime


async def page(
    conn: Connection, pass_id: str, filters: Filters, *, after: PagePlace, limit: int, made_max: int
) -> ListedPage:
    """The page after the position. It may be shorter than `limit` although there is a next one: rows that no index
    finds are looked at in windows of a bounded size."""
    found: list[str] = []
    at: PagePlace | None = after
    for _ in range(WINDOWS_MAX):
        if at is None or len(found) >= limit:
            break
        wanted = limit - len(found)
        size = wanted if filters.need_one_index else FILTERED_AT_ONCE
        keys = await _keys(conn, pass_id, filters, at, size + 1)
        window, has_more = keys[:size], len(keys) > size
        matching = await _matching(conn, window, filters)
        found += matching[:wanted]
        at = _next(window, matching, wanted, has_more=has_more)
    return ListedPage(await of_keys(conn, found, made_max=made_max), at)


def _next(window: Sequence[_Key], matching: Sequence[str], wanted: int, *, has_more: bool) -> PagePlace | None:
    """After the last row that was taken if some are left over, else after the window."""
    if len(matching) > wanted:
        last = next(one for one in window if one.key == matching[wanted - 1])
        return PagePlace(last.created_at.isoformat(), last.key)
    return PagePlace(window[-1].created_at.isoformat(), window[-1].key) if has_more else None


async def _keys(conn: Connection, pass_id: str, filters: Filters, at: PagePlace, limit: int) -> list[_Key]:
    """The keys of the window, by the index that leaves the fewest."""
    bounds = {"pass_id": pass_id, "before_at": at.created_at, "before_key": at.key, "limit": limit}
    match filters:
        case Filters(favorite=True):
            rows = _queries.keys_of_favorites(conn, **bounds)
        case Filters(project_id=str(value)):
            rows = _queries.keys_of_project(conn, value=value, **bounds)
        case Filters(status=str(value)):
            rows = _queries.keys_of_status(conn, value=value, **bounds)
        case Filters(kind=str(value)):
            rows = _queries.keys_of_kind(conn, value=value, **bounds)
        case _:
            rows = _queries.keys_of_all(conn, **bounds)
    return await rows_as(_Key, rows)


async def _matching(conn: Connection, window: Sequence[_Key], filters: Filters) -> list[str]:
    keys = [one.key for one in window]
    if filters.need_one_index or not keys:
        return keys
    stated = {name: getattr(filters, name) for name in ("kind", "status", "project_id", "favorite", "text")}
    return [row["key"] async for row in _queries.matching(conn, keys=keys, limit=len(keys), **stated)]


async def of_keys(conn: Connection, keys: Sequence[str], *, made_max: int) -> list[GenerationListing]:
    if not keys:
        return []
    return await rows_as(GenerationListing, _queries.by_keys(conn, keys=list(keys), made_max=made_max))


async def find(conn: Connection, generation_id: str, *, made_max: int) -> GenerationListing | None:
    """Deleted ones too. Of a set, `made` are the first results by their positions."""
    found = await of_keys(conn, [generation_key(generation_id)], made_max=made_max)
    row = found[0] if found else None
    if row is None or row.kind not in SET_MODES or not made_max:
        return row
    slides = await results_of(conn, generation_id, after=FIRST, limit=made_max)
    return replace(row, made=[{"slides": slides}])


async def results_of(conn: Connection, generation_id: str, *, after: ResultPlace, limit: int) -> list[Row]:
    """The records of the results of a set, by their positions."""
    rows = _queries.results_of(
        conn, generation_id=generation_id, variant=after.variant, source=after.source, limit=limit
    )
    return [row["record"] async for row in rows]


async def result_sums(conn: Connection, generation_id: str) -> ResultSums:
    """Of all results of a set."""
    return ResultSums(**await _queries.result_sums(conn, generation_id=generation_id))


async def rename(conn: Connection, generation_id: str, pass_id: str, name: str) -> bool:
    """Returns whether the customer has such a generation."""
    return bool(await _queries.rename(conn, key=generation_key(generation_id), pass_id=pass_id, name=name))


async def steps_of(
    conn: Connection, generation_id: str, *, after: int, limit: int, with_input: bool
) -> list[ListedStep]:
    rows = _queries.steps_of(conn, generation_id=generation_id, after=after, limit=limit, with_input=with_input)
    return await rows_as(ListedStep, rows)


async def set_favorite(conn: Connection, generation_id: str, pass_id: str, favorite: bool) -> bool:
    """Returns whether the customer has such a generation."""
    key = generation_key(generation_id)
    return bool(await _queries.set_favorite(conn, key=key, pass_id=pass_id, favorite=favorite))


async def counts(conn: Connection, pass_id: str) -> list[GenerationCount]:
    return await rows_as(GenerationCount, _queries.counts(conn, pass_id=pass_id))


async def favorite_count(conn: Connection, pass_id: str) -> int:
    return int(await _queries.favorite_count(conn, pass_id=pass_id))
