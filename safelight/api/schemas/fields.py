"""Types of the fields of answers, each with an example for the document.

Values that are stored as JSON are passed on as they are (`StoredText`, …): rows of an older backend may hold others.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from safelight.api.schemas import examples

Json = dict[str, Any]

Text = Annotated[str, Field(examples=["…"])]
Uri = Annotated[str, Field(json_schema_extra={"format": "uri"}, examples=[examples.STILL_URL])]
FileUri = Annotated[str, Field(json_schema_extra={"format": "uri"}, examples=[examples.FILE_URL])]
SignedUri = Annotated[
    str,
    Field(json_schema_extra={"format": "uri"}, examples=[f"{examples.FILE_URL}?expires=1766134800&signature=0d0f5a3e"]),
]
Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"}, examples=[examples.GENERATION])]
SessionUuid = Annotated[str, Field(json_schema_extra={"format": "uuid"}, examples=[examples.SESSION])]
GenerationId = Annotated[str, Field(examples=[examples.GENERATION])]
SessionId = Annotated[str, Field(examples=[examples.SESSION])]
PassId = Annotated[str, Field(examples=[examples.PASS])]
RequestId = Annotated[str, Field(examples=[examples.REQUEST])]
Email = Annotated[str, Field(examples=["ada@example.com"])]
Platform = Annotated[str, Field(examples=["tiktok"])]
Key = Annotated[str, Field(examples=[examples.FILE_KEY])]
Time = Annotated[datetime, Field(examples=["2025-12-19T08:00:00Z"])]
Count = Annotated[int, Field(ge=0, examples=[1])]
Credits = Annotated[int, Field(examples=[13])]
Seconds = Annotated[int, Field(ge=0, examples=[3600])]
Prompt = Annotated[str, Field(examples=[examples.PROMPT])]
Mode = Literal["still", "video", "image_job", "model_run"]
CustomerId = Annotated[str, Field(description="A pass id, or `anonymous`.", examples=[examples.PASS])]

StoredText = Annotated[Any, WithJsonSchema({"type": "string"})]
StoredTextOrNull = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "null"}]})]
StoredTime = Annotated[
    Any, WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2025-12-19T08:00:00Z"]})
]
StoredTexts = Annotated[Any, WithJsonSchema({"type": "array", "items": {"type": "string"}})]
StoredWhole = Annotated[Any, WithJsonSchema({"type": "integer"})]
StoredUriOrNull = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string", "format": "uri"}, {"type": "null"}]})]
StoredNumber = Annotated[Any, WithJsonSchema({"type": "number"})]
StoredObject = Annotated[Any, WithJsonSchema({"type": "object", "additionalProperties": True})]
