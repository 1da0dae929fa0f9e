"""Parts that a record shows redacted are kept sealed beside it, so that a model is sent every text as it was written.

Redaction is for records. Where it changes a part of one that the pipeline reads back, the record holds that part a
second time, sealed with a key that is not in the row, and says so; whoever goes on takes the sealed one.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from safelight.pipelines.engine.sealing import Sealer
from safelight.redaction import DEFAULT_REDACTOR

Json = dict[str, Any]

SEALED, NOTE = "sealed", "redacted"
SAID = "Shown here without what looks like a secret. The model is sent the text as it was written."


def sealed_parts(sealer: Sealer | None, record: Mapping[str, Any], names: Collection[str]) -> Json:
    """The additions to the record: its parts that redaction changes, sealed. Empty if it changes none."""
    changed = [name for name in names if name in record and DEFAULT_REDACTOR.changes(record[name])]
    if sealer is None or not changed:
        return {}
    return {SEALED: {name: sealer.seal(json.dumps(record[name])) for name in changed}, NOTE: SAID}


def restored(sealer: Sealer | None, record: Json, sealed: Mapping[str, str]) -> Json:
    """The record with its sealed parts as they were. Raises ConfigError where another secret has sealed them."""
    if sealer is None:
        return record
    return record | {name: json.loads(sealer.unseal(token)) for name, token in sealed.items() if name in record}
