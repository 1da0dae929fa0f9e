"""The canonical variable map `mg_mma_vars` (docs/contract/rows.md)."""

from typing import Any

from safelight.domain.orders import BaseVideoOrder, ModelRun, Order, StillTweak, VideoTweak

Variables = dict[str, Any]

VARIABLES_VERSION = "2025-12-19"


def initial(order: Order) -> Variables:
    return _of_set(order) if order.flow.is_set else _of_one_result(order)


def _of_set(order: Order) -> Variables:
    """A set may have thousands of pictures: these, and the lines of the log, stand in rows of their own. The results of
    a model run, which are few, are named here."""
    return {
        "version": VARIABLES_VERSION,
        "mode": order.flow.mode,
        "progress": {"bases": 0, "made": 0, "expected": order.positions},
        "userMessages": {"final_line": None},
        "settings": {order.flow.engine: {}},
        "meta": {
            "ctx_versions": {},
            "settings_versions": {},
            "flow": order.flow.value,
            "session_id": order.session_id,
            "platform": order.platform,
            "title": order.title,
            **({"model_id": order.model_id} if isinstance(order, ModelRun) else {}),
        },
        **({"outputs": {"results": []}} if isinstance(order, ModelRun) else {}),
    }


def _of_one_result(order: Order) -> Variables:
    return {
        "version": VARIABLES_VERSION,
        "mode": order.flow.mode,
        "assets": _assets(order),
        "scans": {
            "product_crt": None,
            "logo_crt": None,
            "inspiration_crt": [],
            "still_crt": order.known_caption if isinstance(order, BaseVideoOrder) else None,
            "output_still_crt": None,
        },
        "history": {
            "vision_intelligence": order.vision_intelligence,
            "like_window": order.like_window,
            "style_history_csv": order.style_history_csv,
        },
        "inputs": _inputs(order),
        "prompts": {
            "clean_prompt": None,
            "motion_prompt": None,
            "motion_sugg_prompt": None,
            "sugg_prompt": None,
        },
        "feedback": {
            "still_feedback": order.feedback or None if isinstance(order, StillTweak) else None,
            "motion_feedback": order.feedback or None if isinstance(order, VideoTweak) else None,
        },
        "userMessages": {"scan_lines": [], "final_line": None},
        "settings": {"seedream": {}, "kling": {}},
        "outputs": {
            "seedream_image_id": None,
            "seedream_image_url": None,
            "kling_video_id": None,
            "kling_video_url": None,
        },
        "meta": {
            "ctx_versions": {},
            "settings_versions": {},
            "flow": order.flow.value,
            "parent_generation_id": order.parent.generation_id if order.parent else None,
            "session_id": order.session_id,
            "platform": order.platform,
            "title": order.title,
        },
    }


def assign(variables: Variables, path: str, value: Any) -> None:
    """Set a dotted path, e.g. `scans.product_crt`. The parts before the last must exist."""
    *parents, last = path.split(".")
    place = variables
    for part in parents:
        place = place[part]
    place[last] = value


def _frames(order: Order) -> tuple[str | None, str | None]:
    return (order.start_url, order.end_url) if isinstance(order, BaseVideoOrder) else (None, None)


def _assets(order: Order) -> Variables:
    start, end = _frames(order)
    return {
        "product_image_id": None,
        "logo_image_id": None,
        "inspiration_image_ids": [],
        "style_hero_image_id": None,
        "input_still_image_id": start,
        "product_image_url": order.assets.product,
        "logo_image_url": order.assets.logo,
        "inspiration_image_urls": list(order.assets.inspirations),
        "style_image_urls": list(order.assets.inspirations),
        "style_hero_image_url": order.assets.style_hero,
        "kling_image_urls": [url for url in (start, end) if url],
        "start_image_url": start,
        "end_image_url": end,
    }


def _inputs(order: Order) -> Variables:
    start, end = _frames(order)
    return (
        order.informational
        | order.flow_inputs()
        | {
            "start_image_url": start,
            "end_image_url": end,
            "platform": order.platform,
            "aspect_ratio": order.aspect_ratio or "",
            "session_id": order.session_id,
            "title": order.title,
        }
    )
