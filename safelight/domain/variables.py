"""The canonical variable map `mg_mma_vars` (docs/contract/rows.md)."""

from typing import Any

from safelight.domain.orders import Order

Variables = dict[str, Any]

VARIABLES_VERSION = "2025-12-19"


def initial(order: Order) -> Variables:
    return {
        "version": VARIABLES_VERSION,
        "mode": order.flow.mode,
        "assets": _assets(order),
        "scans": {
            "product_crt": None,
            "logo_crt": None,
            "inspiration_crt": [],
            "still_crt": known_still_caption(order),
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
            "still_feedback": order.feedback or None if order.flow.mode == "still" else None,
            "motion_feedback": order.feedback or None if order.flow.mode == "video" else None,
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


def _assets(order: Order) -> Variables:
    video = order.flow.mode == "video"
    start, end = (order.start_url, order.end_url) if video else (None, None)
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
    return order.informational | {
        "userBrief": order.brief,
        "brief": order.brief,
        "style": order.style,
        "motion_user_brief": order.motion_brief,
        "movement_style": order.movement_style,
        "selected_movement_style": order.movement_style,
        "start_image_url": order.start_url if order.flow.mode == "video" else None,
        "end_image_url": order.end_url if order.flow.mode == "video" else None,
        "type_for_me": order.type_for_me,
        "suggest_only": order.suggest_only,
        "platform": order.platform,
        "aspect_ratio": order.aspect_ratio or "",
        "duration": order.duration_seconds,
        "mode": order.kling_mode or "",
        "negative_prompt": order.negative_prompt,
        "session_id": order.session_id,
        "title": order.title,
    }


def known_still_caption(order: Order) -> str | None:
    """The caption of the first frame of a video, if an earlier generation made it already."""
    if order.flow.mode == "still" or order.parent is None or order.assets.start not in (None, order.parent.output_url):
        return None
    return order.parent.output_crt if order.parent.mode == "still" else order.parent.still_crt
