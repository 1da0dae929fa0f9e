"""Errors of sets: positions that could not be made."""

from collections.abc import Sequence

from safelight.domain.errors.base import AssetUnreadable, SafelightError


class NoSourceReadable(AssetUnreadable):
    """None of the source pictures of a job can be read. `reasons` are those of each."""

    code = "NO_SOURCE_READABLE"
    safe_message = "None of the source pictures could be read. Please check them, or upload them again."

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons) or "there is no source")


class SlidesMissing(SafelightError):
    """Some pictures of one variant, or results of one model run, could not be made or stored; the others are there."""

    code = "SLIDES_MISSING"

    def __init__(self, errors: Sequence[SafelightError], wanted: int, of: str = "pictures of this variant") -> None:
        text = f"{len(errors)} of {wanted} {of} could not be stored."
        super().__init__(f"{text} The first: {errors[0]}", safe_message=text)
        self.first = errors[0]


class PositionsMissing(SafelightError):
    """A set ends, and some of its positions, or all, could not be made."""

    code = "POSITIONS_MISSING"

    def __init__(self, made: int, expected: int, causes: dict[str, int]) -> None:
        told = f"{expected - made} of {expected} pictures could not be made."
        super().__init__(f"{told} Steps that failed: {causes}", safe_message=told, details={"causes": causes})
        self.code = self.code if made else "NOTHING_MADE"
