"""Answers requests as PostgREST does, for the part of its language that tests speak: columns, filters, order, ranges,
counts and inserts. It sends the statements of PostgREST 12, in a transaction with the role and the claims of the token.

PostgREST itself is not packaged for Debian, npm or PyPI (docs/testing.md).
"""

import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import jwt
import psycopg
from psycopg import sql
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight import serve
from tests.support.sign_in import SECRET

Json = dict[str, Any]

OPERATORS = {
    "eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "like", "ilike": "ilike",
    "cs": "@>", "cd": "<@",
}  # fmt: skip
IS = {"null": "is null", "true": "is true", "false": "is false", "not_null": "is not null"}
NO_FILTERS = {"select", "order", "limit", "offset", "columns"}
STATUS_OF = {"42501": 403, "23503": 409, "23505": 409, "42P01": 404, "42883": 404, "25006": 405, "54": 500}
ONE = "application/vnd.pgrst.object+json"


def parts(text: str, mark: str = ",") -> list[str]:
    """The text between marks that stand outside of brackets and quotes."""
    found, depth, quoted = [""], 0, False
    for sign in text:
        quoted ^= sign == '"'
        depth += (sign == "(") - (sign == ")")
        if sign == mark and not depth and not quoted:
            found.append("")
        else:
            found[-1] += sign
    return found


def column(name: str) -> sql.Composable:
    """A column, or a path into its JSON."""
    first, *path = re.split(r"(->>?)", name)
    steps = zip(path[::2], path[1::2], strict=True)
    return sql.SQL("").join(
        [sql.Identifier(first), *(sql.SQL(arrow) + sql.Literal(key) for arrow, key in steps)]  # type: ignore[arg-type]
    )


def selected(text: str) -> sql.Composable:
    if text == "*":
        return sql.SQL("*")
    alias, _, name = text.rpartition(":")
    shown = alias or re.split(r"->>?", name)[-1]
    return column(name) + sql.SQL(" as ") + sql.Identifier(shown)


def condition(name: str, test: str) -> sql.Composable:
    if name in ("or", "and"):
        each = [condition(*one.split(".", 1)) for one in parts(test.strip("()"))]
        return sql.SQL("(") + sql.SQL(f" {name} ").join(each) + sql.SQL(")")
    operator, _, value = test.partition(".")
    if operator == "not":
        return sql.SQL("not (") + condition(name, value) + sql.SQL(")")
    if operator == "is":
        return column(name) + sql.SQL(f" {IS[value]}")
    if operator == "in":
        listed = [one.strip('"') for one in parts(value[1:-1])]
        literal = "{" + ",".join(json.dumps(one) for one in listed) + "}"
        return column(name) + sql.SQL(" = any(") + sql.Literal(literal) + sql.SQL(")")
    pattern = value.replace("*", "%") if "like" in operator else value
    return column(name) + sql.SQL(f" {OPERATORS[operator]} ") + sql.Literal(pattern)


def where(query: Iterable[tuple[str, str]]) -> sql.Composable:
    found = [condition(name, test) for name, test in query if name not in NO_FILTERS]
    return sql.SQL(" where ") + sql.SQL(" and ").join(found) if found else sql.SQL("")


def order(text: str) -> sql.Composable:
    terms = [term.split(".") for term in parts(text)]
    words = {"asc": "asc", "desc": "desc", "nullsfirst": "nulls first", "nullslast": "nulls last"}
    each = [sql.SQL(" ").join([column(name), *(sql.SQL(words[word]) for word in more)]) for name, *more in terms]
    return sql.SQL(" order by ") + sql.SQL(", ").join(each)


class PostgREST:
    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.statements: list[str] = []

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(self._answer, request, body)

    def _answer(self, request: Request, body: bytes) -> Response:
        try:
            claims = self._claims(request.headers.get("authorization", ""))
        except jwt.InvalidTokenError as error:
            return refusal(401, "PGRST301", str(error))
        try:
            with psycopg.connect(self._dsn) as conn:
                return self._in_transaction(conn, request, body, claims)
        except psycopg.Error as error:
            code = error.sqlstate or ""
            status = STATUS_OF.get(code) or STATUS_OF.get(code[:2], 400)
            is_visitor = claims["role"] == "anon" and status == 403
            return refusal(401 if is_visitor else status, code, error.diag.message_primary or str(error))

    def _claims(self, header: str) -> Json:
        if not header:
            return {"role": "anon"}
        return dict(jwt.decode(header.removeprefix("Bearer "), SECRET, ["HS256"], audience="authenticated"))

    def _in_transaction(self, conn: psycopg.Connection[Any], request: Request, body: bytes, claims: Json) -> Response:
        relation = request.path_params["relation"]
        if request.method in ("GET", "HEAD"):
            conn.execute("set transaction read only")
        types = dict(conn.execute(COLUMN_TYPES, [relation]).fetchall())
        for name, value in (
            ("search_path", '"public"'), ("request.jwt.claims", json.dumps(claims)), ("role", claims["role"]),
        ):  # fmt: skip
            conn.execute("select set_config(%s, %s, true)", [name, value])
        query, prefer = request.query_params.multi_items(), request.headers.get("prefer", "")
        if not types:
            return refusal(404, "PGRST205", f"Could not find the table 'public.{relation}' in the schema cache")
        named = sql.Identifier("public", relation)
        counts = "count=exact" in prefer
        wants_rows = request.method in ("GET", "HEAD") or "return=representation" in prefer
        source = self._source(request.method, named, query, body, types, wants_rows=wants_rows)
        total = sql.SQL("select 1 from ") + named + where(query) if counts else sql.SQL("select 1 where false")
        statement = sql.SQL(
            "with pgrst_source as ({}), pgrst_source_count as ({}) select (select count(*) from pgrst_source_count),"
            " count(_postgrest_t), coalesce(json_agg(_postgrest_t), '[]') from (select {} from pgrst_source) _postgrest_t"
        ).format(source, total, self._columns(query, request.method) if wants_rows else sql.SQL("*"))
        self.statements.append(statement.as_string(conn))
        row = conn.execute(statement).fetchone()
        assert row
        return self._written(request, query, row, counts=counts, wants_rows=wants_rows)

    def _columns(self, query: list[tuple[str, str]], method: str) -> sql.Composable:
        """Of what an insert returns; a read has chosen them."""
        stated = dict(query).get("select", "*")
        chosen = parts(stated) if method not in ("GET", "HEAD") else ["*"]
        return sql.SQL(", ").join(selected(one) for one in chosen)

    def _source(
        self,
        method: str,
        named: sql.Composable,
        query: list[tuple[str, str]],
        body: bytes,
        types: Json,
        *,
        wants_rows: bool,
    ) -> sql.Composable:
        given = dict(query)
        returned = sql.SQL(" returning ") + sql.SQL("*" if wants_rows else "1")
        match method:
            case "GET" | "HEAD":
                chosen = sql.SQL(", ").join(selected(one) for one in parts(given.get("select", "*")))
                page = [order(given["order"])] if "order" in given else []
                page += [sql.SQL(f" {word} {int(given[word])}") for word in ("limit", "offset") if word in given]
                return sql.SQL("").join([sql.SQL("select "), chosen, sql.SQL(" from "), named, where(query), *page])
            case "POST":
                return self._insert(named, given, body, types) + returned
            case "PATCH":
                changes = [
                    sql.Identifier(name) + sql.SQL(" = ") + sql.Literal(value)
                    for name, value in json.loads(body).items()
                ]
                what = sql.SQL("update ") + named + sql.SQL(" set ") + sql.SQL(", ").join(changes)
                return what + where(query) + returned
        return sql.SQL("delete from ") + named + where(query) + returned

    def _insert(self, named: sql.Composable, given: Json, body: bytes, types: Json) -> sql.Composable:
        stated = json.loads(body)
        rows = stated if isinstance(stated, list) else [stated]
        names = [one.strip('"') for one in parts(given["columns"])] if "columns" in given else list(rows[0])
        unknown = [name for name in names if name not in types]
        if unknown:
            raise psycopg.errors.UndefinedColumn(f"Could not find the '{unknown[0]}' column")
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        typed = sql.SQL(", ").join(sql.Identifier(name) + sql.SQL(f" {types[name]}") for name in names)
        return sql.SQL(
            "insert into {} ({}) select {} from (select {}::json as json_data) pgrst_payload,"
            " lateral (select {} from json_to_recordset(pgrst_payload.json_data) as _({})) pgrst_body"
        ).format(named, columns, columns, sql.Literal(json.dumps(rows)), columns, typed)

    def _written(
        self, request: Request, query: list[tuple[str, str]], row: Any, *, counts: bool, wants_rows: bool
    ) -> Response:
        total, shown, rows = row
        if request.headers.get("accept") == ONE and shown != 1:
            return refusal(406, "PGRST116", "Cannot coerce the result to a single JSON object")
        first = int(dict(query).get("offset", 0))
        span = f"{first}-{first + shown - 1}" if shown else "*"
        headers = {"content-range": f"{span}/{total if counts else '*'}"}
        made = 201 if request.method == "POST" else 204
        if not wants_rows:
            return Response(status_code=made, headers=headers)
        content = json.dumps(rows[0] if request.headers.get("accept") == ONE else rows)
        status = 201 if request.method == "POST" else 206 if counts and shown < total else 200
        return Response(content, status, headers | {"content-type": "application/json"})


COLUMN_TYPES = """
select attname, format_type(atttypid, atttypmod) from pg_attribute
where attrelid = to_regclass(format('public.%%I', %s::text)) and attnum > 0 and not attisdropped
"""


def refusal(status: int, code: str, message: str) -> Response:
    told = {"code": code, "message": message, "details": None, "hint": None}
    return Response(json.dumps(told), status, {"content-type": "application/json"})


@asynccontextmanager
async def answering(dsn: str) -> AsyncIterator[tuple[str, PostgREST]]:
    """The address, and what answers there."""
    postgrest = PostgREST(dsn)
    methods = ["GET", "HEAD", "POST", "PATCH", "DELETE"]
    listening = serve.listen("127.0.0.1", 0)
    app = Starlette(routes=[Route("/{relation}", postgrest.answer, methods=methods)])
    async with serve.answering(app, listening):
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", postgrest
