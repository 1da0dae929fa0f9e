"""Bodies that are no JSON: none at all, forms with files, what is not read; and fields that nobody knows."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.api.http.bodies.multipart import read_parts
from safelight.api.schemas.unknown_fields import NAMED_MAX
from tests.conftest import COFFEE, Backend, running

Json = dict[str, Any]
FILE = ("my cup.jpg", COFFEE.read_bytes(), "image/jpeg")


@pytest.fixture(scope="module")
async def idle(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with running(module_dsn, tmp_path_factory.mktemp("home"), worker=False) as backend:
        yield backend


async def ordered(backend: Backend, **more: Any) -> Json:
    await backend.grant(1)
    return await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}, **more})


@pytest.mark.parametrize(
    "headers", [{}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}], ids=["none", "JSON", "text"]
)
async def test_a_cancel_without_a_body_is_fine(idle: Backend, headers: dict[str, str]):
    generation_id = (await ordered(idle))["generation_id"]
    answer = await idle.client.post(
        f"/mma/generations/{generation_id}/cancel", headers={"X-Mina-Pass-Id": idle.pass_id, **headers}
    )
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled"), answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [("/sessions/start", 200), ("/mma/still/create", 400), ("/mma/events", 400), ("/api/log-error", 200)],
)
async def test_no_body_is_an_object_without_fields(idle: Backend, path: str, status: int):
    answer = await idle.client.post(path)
    assert answer.status_code == status, answer.text
    assert answer.json().get("error") != "INVALID_JSON"


@pytest.mark.parametrize("content_type", ["application/vnd.api+json", "application/json; charset=utf-8", None])
async def test_json_by_another_name_is_json(idle: Backend, content_type: str | None):
    headers = {"Content-Type": content_type} if content_type else {}
    content = json.dumps({"passId": idle.pass_id, "title": "by another name"}).encode()
    answer = await idle.client.post("/sessions/start", content=content, headers=headers)
    assert answer.json()["session"]["title"] == "by another name"


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/mma/still/create", "multipart/form-data; boundary=x"),
        ("/mma/still/create", "text/plain"),
        ("/mma/still/create", "application/xml"),
        ("/mma/events", "application/octet-stream"),
        ("/sessions/start", "image/png"),
        ("/api/r2/upload-signed", "image/png"),
        ("/feedback/like", "text/html"),
    ],
)
async def test_other_bodies_are_refused_by_their_type(idle: Backend, path: str, content_type: str):
    answer = await idle.client.post(path, content=b"{}", headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["error"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "application/json" in answer.json()["message"]


async def test_a_form_with_a_file_is_an_upload(idle: Backend):
    fields = {"passId": idle.pass_id, "kind": "product"}
    answer = await idle.client.post("/api/r2/upload-signed", files={"file": FILE}, data=fields)
    stored = answer.json()
    assert (answer.status_code, stored["bytes"], stored["contentType"]) == (200, COFFEE.stat().st_size, "image/jpeg")
    assert stored["key"].startswith("product/")
    assert stored["key"].endswith("-my_cup.jpg")
    assert (await idle.client.get(stored["url"])).content == COFFEE.read_bytes()


async def test_the_fields_of_a_form_with_a_file_count(idle: Backend):
    fields = {"passId": idle.pass_id, "private": "true", "filename": "other.jpg", "folder": "logo"}
    answer = await idle.client.post("/api/r2/upload-signed", files={"picture": FILE}, data=fields)
    assert (answer.status_code, answer.json()["publicUrl"]) == (200, None)
    assert "/logo/" in answer.json()["key"]
    assert answer.json()["key"].endswith("-other.jpg")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "MISSING_DATAURL"),
        (b"--b\r\nContent-Disposition: form-data; name=kind\r\n\r\nlogo\r\n--b--\r\n", "MISSING_DATAURL"),
        (b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n", "INVALID_FORM"),
        (b"--b\r\n\r\n1\r\n--b--", "INVALID_FORM"),
        (b'--b\r\nContent-Disposition: form-data; name=f; filename="a.png"\r\n\r\nno picture\r\n--b--', None),
        (b"no form", "INVALID_FORM"),
        (b"--b\r\nContent-Disposition: form-data; name=a; filename=x\r\n\r\n1\r\n" * 2 + b"--b--", "INVALID_FORM"),
        (b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\xff\r\n--b--", "INVALID_FORM"),
        (b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n" * 60 + b"--b--", "INVALID_FORM"),
    ],
)
async def test_a_form_that_is_broken_says_how(idle: Backend, content: bytes, said: str | None):
    answer = await idle.client.post(
        "/api/r2/upload-signed", content=content, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code == 400, answer.text
    assert said is None or answer.json()["error"] == said


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=300) | st.text(alphabet="\r\n-b\0", max_size=40).map(str.encode))
def test_a_file_comes_out_of_its_form_as_it_went_in(content: bytes):
    head = b'preamble\r\n--bound\r\nContent-Disposition: form-data; name="f"; filename="a b.bin"\r\n\r\n'
    form = head + content + b"\r\n--bound--\r\nepilogue"
    fields, [file] = read_parts(form, 'multipart/form-data; boundary="bound"', files_max=1)
    assert (fields, file.field, file.name, file.content) == ([], "f", "a b.bin", content)


# --- fields that nobody knows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "named", "meant"),
    [
        (
            {"assets": {"product_img_url": "https://example.com/a.png"}},
            "assets.product_img_url",
            "assets.product_image_url",
        ),
        ({"inputs": {"brief": "a cup", "aspectratios": "1:1"}}, "inputs.aspectratios", "inputs.aspect_ratio"),
        ({"product_image_url": "https://example.com/a.png"}, "product_image_url", "assets.product_image_url"),
        ({"aspectRatio": "1:1"}, "aspectRatio", "inputs.aspect_ratio"),
        ({"promps": {}}, "promps", "prompts"),
        ({"settings": {"sedream": {}}}, "settings.sedream", "settings.seedream"),
        ({"qqqqzzzz": 1}, "qqqqzzzz", None),
    ],
)
async def test_an_unknown_field_is_named_with_the_one_that_may_be_meant(
    idle: Backend, more: Json, named: str, meant: str | None
):
    answer = await ordered(idle, **more)
    [warning] = answer["warnings"]
    assert warning.startswith(f"{named} is not known")
    assert warning.endswith(f"Did you mean {meant}?" if meant else "was not used.")


async def test_what_existing_clients_send_is_no_surprise(idle: Backend):
    """The oldest and the newest frontend, whose bodies hold more than any pipeline acts on."""
    answer = await ordered(
        idle,
        customer_id="",
        user_id="",
        email="",
        platform="tiktok",
        mode="video",
        history={"sessionId": "", "sessionTitle": "t", "vision_intelligence": True},
        feedback={"comment": "", "still_feedback": "", "motion_feedback": ""},
        inputs={
            "brief": "a cup",
            "tone": "still-life",
            "stylePresetKeys": ["none"],
            "still_lane": "niche",
            "intent": "x",
        },
        assets={"kling_image_urls": [], "productImageUrl": "", "image": ""},
    )
    assert answer["warnings"] == []


async def test_events_and_cancels_name_them_too(idle: Backend):
    event = await idle.post("/mma/events", {"event_type": "like", "payloads": {"tags": ["soft"]}})
    assert event["warnings"] == ["payloads is not known and was not used. Did you mean payload?"]
    generation_id = (await ordered(idle))["generation_id"]
    stopped = await idle.post(f"/mma/generations/{generation_id}/cancel", {"reason": "mistake"})
    assert stopped["warnings"] == ["reason is not known and was not used."]


async def test_a_flood_of_unknown_fields_is_counted(idle: Backend):
    answer = await ordered(idle, **{f"zq{number}": number for number in range(5000)})
    assert len(answer["warnings"]) == NAMED_MAX + 1
    assert "or more other fields" in answer["warnings"][-1]
