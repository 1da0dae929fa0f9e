"""Identifiers: UUIDv7, so that ids sort by time; rows are namespaced by their record type in `mg_id`."""

import uuid

from uuid_utils import compat


def new_id() -> str:
    return str(compat.uuid7())


def is_uuid(value: str) -> bool:
    try:
        return str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def generation_key(generation_id: str) -> str:
    return f"generation:{generation_id}"


def step_key(generation_id: str, step_no: int) -> str:
    return f"mma_step:{generation_id}:{step_no}"
