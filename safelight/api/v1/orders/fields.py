"""Fields that bodies of orders share, and the part of a body that every kind has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field

from safelight.api.http.bodies.json import FormText, parse
from safelight.api.http.services import Services
from safelight.api.schemas.aliases import Short
from safelight.api.schemas.problems import ClosedModel, invalid
from safelight.db.connection.database import Connection
from safelight.domain.identities import ActingCustomer

Json = dict[str, Any]


def object_of_form(value: Any) -> Any:
    """The object or list that a form's text writes out as JSON; anything else as it is. Raises InvalidInput."""
    return parse(value.encode()) if isinstance(value, FormText) else value


def list_of_form(value: Any) -> Any:
    """A form's field that is there once is a list of one."""
    return [value] if isinstance(value, FormText) else value


FormObject = BeforeValidator(object_of_form)
FormList = BeforeValidator(list_of_form)
File = Annotated[
    str | None,
    Field(description="The file itself: a part of a multipart form, or in JSON a base64 data URL.", examples=[None]),
]


class OrderedBody(ClosedModel):
    """The fields that every kind has. FILES are the fields with a file, each with the field for its address."""

    FILES: ClassVar[Mapping[str, str]] = {}

    name: Short | None = Field(None, description="A name for lists.", examples=["Spring"])
    project_id: Short | None = Field(None, description="A project of yours.", examples=[None])

    @classmethod
    def files_max(cls, field: str) -> int:
        """The most files and addresses that a field of files takes, together."""
        raise NotImplementedError

    def with_addresses(self, field: str, urls: Sequence[str]) -> Self:
        """The body with addresses in place of the files of a field. Raises InvalidInput: they are too many."""
        target, is_list = self.FILES[field], isinstance(getattr(self, field), list)
        if not is_list:
            return self.model_copy(update={field: None, target: urls[0]})
        together = [*getattr(self, target), *urls]
        if len(together) > (most := self.files_max(field)):
            raise invalid(field, f"With {target}, at most {most} are allowed, not {len(together)}.")
        return self.model_copy(update={field: [], target: together})


@dataclass(frozen=True, slots=True)
class OrderContext:
    """The connection, services and customer that a builder of orders works with."""

    conn: Connection
    services: Services
    customer: ActingCustomer
