"""The OpenAPI document: every answer and every body has a schema that says something, and an example that fits it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from tests.support.openapi import ROUTES, Json, Route, document, problems, resolved

JSON = "application/json"
PROBLEM = "application/problem+json"
STREAM = "GET /mma/stream/{generation_id}"
EMPTY = ({}, {"type": "object"}, {"type": "object", "additionalProperties": True})
FREE = {
    "ErrorContextData",
    "ErrorContextOfUser",
    "ErrorContextOfOperators",
    "ParametersData",
    "Preferences",
}  # older rows
BY_ROUTE = pytest.mark.parametrize("route", ROUTES, ids=str)


def answers(route: Route) -> Iterator[tuple[int, Json]]:
    """Status and media of each JSON answer."""
    for status, stated in route.operation["responses"].items():
        for media_type in (JSON, PROBLEM):
            if media_type in stated.get("content", {}):
                yield int(status), stated["content"][media_type]


def parts(schema: Json) -> list[Json]:
    return [resolved(part) for part in schema.get("anyOf", [schema])]


def inside(value: Any) -> Iterator[Json]:
    """Every object in the document below this one."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inside(each)


@BY_ROUTE
def test_every_answer_says_what_is_in_it(route: Route):
    for _, media in answers(route):
        for schema in parts(media["schema"]):
            assert schema not in EMPTY
            assert schema["properties"]
            assert schema["required"]
            assert schema["additionalProperties"] is False


@BY_ROUTE
def test_every_good_answer_has_an_example_of_its_schema(route: Route):
    for status, media in answers(route):
        if status < 300:
            assert problems(media["schema"], media["example"]) == []


def test_what_is_free_in_an_answer_is_what_older_rows_fill():
    """Else a key that is new in an answer would not be missed in the document."""
    schemas, found = document()["components"]["schemas"], set()
    seen = [media["schema"] for route in ROUTES for _, media in answers(route)]
    while seen:
        for one in inside(seen.pop()):
            name = str(one.get("$ref", "")).rsplit("/", 1)[-1]
            if name and name not in found:
                found.add(name)
                seen.append(schemas[name])
    closed = [name for name in found if "properties" in schemas[name] and name not in FREE]
    assert len(closed) > 50
    assert [name for name in closed if schemas[name].get("additionalProperties") is not False] == []


@pytest.mark.parametrize("name", document()["components"]["schemas"])
def test_a_schema_is_one_and_its_examples_fit_it(name: str):
    schema = document()["components"]["schemas"][name]
    Draft202012Validator.check_schema(schema)
    for example in schema.get("examples", []):
        assert problems(schema, example) == []


@BY_ROUTE
def test_examples_of_bodies_fit_their_schema(route: Route):
    for media in route.operation.get("requestBody", {}).get("content", {}).values():
        for example in [
            *media.get("examples", {}).values(),
            *([{"value": media["example"]}] if "example" in media else []),
        ]:
            assert problems(media["schema"], example["value"]) == []


def test_the_document_is_openapi():
    assert document()["openapi"].startswith("3.1")
    assert [str(error) for error in OPENAPI_31_VALIDATOR.iter_errors(document())] == []


def test_what_the_document_refers_to_is_there():
    places = {one["$ref"] for one in inside(document()) if isinstance(one.get("$ref"), str)}
    assert {place.rsplit("/", 1)[-1] for place in places} <= document()["components"]["schemas"].keys()
    assert len({route.operation["operationId"] for route in ROUTES}) == len(ROUTES)


def test_errors_are_ours_and_never_the_frameworks():
    assert "HTTPValidationError" not in str(document())
    conflicts = {str(route) for route in ROUTES if "422" in route.operation["responses"]}
    keyed = {
        str(route)
        for route in ROUTES
        if any(parameter["name"] == "Idempotency-Key" for parameter in route.operation.get("parameters", ()))
    }
    assert conflicts == keyed
    reads_or_has_ids_of_its_own = {
        "POST /auth/shopify-sync",
        "POST /api/credits/shopify-order",
        "POST /api/log-error",
        "POST /webhooks/{adapter}/{attempt}",
        "POST /api/assets/signed-url",
        "POST /admin/config/runtime/reload",
        "POST /api/v1/generations/{generation_id}/stream-token",
        "POST /api/v1/storage/signed-url",
        "POST /api/v1/storage/verify",
    }
    assert keyed == {str(route) for route in ROUTES if str(route).startswith("POST ")} - reads_or_has_ids_of_its_own


@pytest.mark.parametrize(
    ("name", "status", "models"),
    [
        ("GET /credits/balance", 401, ["Refusal"]),
        ("GET /billing/settings", 401, ["Sentence"]),
        ("GET /admin/summary", 401, ["Unauthorized"]),
        ("GET /admin/mega/parity", 503, ["SentenceNotOk", "Refusal"]),
        ("POST /mma/still/create", 402, ["NotEnoughCreditsInDetail"]),
        ("POST /editorial/generate", 402, ["NotEnoughCredits"]),
        ("POST /motion/suggest", 503, ["ResultPendingBody", "Refusal"]),
    ],
)
def test_a_refusal_has_the_manners_of_its_route(name: str, status: int, models: list[str]):
    [route] = [route for route in ROUTES if str(route) == name]
    schema = dict(answers(route))[status]["schema"]
    assert [part["title"] for part in parts(schema)] == models


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("POST /auth/shopify-sync", 401),
        ("POST /auth/shopify-sync", 503),
        ("POST /api/log-error", 401),
        ("GET /health", 503),
    ],
)
def test_a_status_that_a_route_never_sends_is_not_in_the_document(name: str, status: int):
    [route] = [route for route in ROUTES if str(route) == name]
    assert str(status) not in route.operation["responses"]


def test_a_body_that_is_sent_is_in_the_document():
    with_body = {str(route): list(route.operation.get("requestBody", {}).get("content", {})) for route in ROUTES}
    without = {name for name, found in with_body.items() if not found and not name.startswith("GET ")}
    of_v1 = {name for name in without if "/api/v1/" in name}
    assert [name for name in of_v1 if not name.startswith("DELETE ")] == []
    assert without - of_v1 == {
        "DELETE /history/{record_id}",
        "POST /api/admin/cleanup-stuck-generations",
        "POST /admin/config/runtime/reload",
        "POST /auth/shopify-sync",
    }
    assert with_body["POST /api/r2/upload-signed"] == [JSON]
    assert with_body["POST /mma/still/create"] == [JSON]  # forms too, but a client is made for one kind
    assert with_body["POST /feedback/like"] == [JSON]
    assert with_body["PUT /assets/{key}"] == ["application/octet-stream"]


def test_each_event_of_the_stream_is_described():
    [route] = [route for route in ROUTES if str(route) == STREAM]
    stated = route.operation["responses"]["200"]
    media = stated["content"]["text/event-stream"]
    fields = {event["properties"]["event"]["const"]: event["properties"] for event in media["schema"]["oneOf"]}
    assert list(fields) == ["scan_line", "status", "done", "reset"]
    for name, of_event in fields.items():
        assert f"`{name}`" in stated["description"]
        assert resolved(of_event["data"]["contentSchema"])["additionalProperties"] is False
    assert "event: scan_line" in media["example"]


# --- forms that generators of clients stumble over ---------------------------------------------------------------------


def schemas_of(document: Json) -> Iterator[tuple[str, Json]]:
    return ((name, schema) for name, schema in document["components"]["schemas"].items())


def as_snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def test_no_two_fields_of_a_schema_have_one_name_in_a_client():
    clashes = {
        name: fields
        for name, schema in schemas_of(document())
        if len(fields := list(schema.get("properties", {}))) != len({as_snake(field) for field in fields})
    }
    assert clashes == {}


def test_no_schema_is_named_as_a_class_of_the_client_or_as_a_field_of_its_own():
    for name, schema in schemas_of(document()):
        assert name not in {"ErrorContext", "Parameters", "Unset"}
        assert as_snake(name) not in {as_snake(field) for field in schema.get("properties", {})}


def test_both_spellings_of_an_answer_are_still_told_and_nothing_else_is():
    accepted = dict(answers(next(route for route in ROUTES if str(route) == "POST /mma/still/create")))[200]
    example = accepted["example"]
    assert {"generation_id", "generationId"} <= example.keys()
    assert problems(accepted["schema"], example) == []
    assert problems(accepted["schema"], example | {"generationid": "x"})


def test_no_value_has_the_type_null_alone_and_no_boolean_only_one_value():
    for schema in (part for _, whole in schemas_of(document()) for part in inside(whole)):
        for field in schema.get("properties", {}).values():
            assert field.get("type") != "null"
            assert not isinstance(field.get("const"), bool)
            assert "default" not in field


def test_each_operation_is_in_one_group_and_files_are_bytes():
    for route in ROUTES:
        assert len(route.operation["tags"]) == 1
        for part in (route.operation.get("requestBody", {}), *route.operation["responses"].values()):
            for media_type, media in part.get("content", {}).items():
                if media_type.startswith(("image/", "video/")):
                    assert media["schema"] == {"type": "string", "format": "binary"}
