"""Errors of result files that a vendor delivered."""

from safelight.domain.errors.base import ProviderError


class ResultDamaged(ProviderError):
    """A vendor's result cannot be decoded to its end. It is fetched again; the customer cannot mend it."""

    retryable = True
    code = "RESULT_DAMAGED"
    safe_message = "The picture service delivered a damaged file."

    def __init__(self, vendor: str, reason: str) -> None:
        super().__init__(f"{vendor}: {reason}", details={"vendor": vendor, "reason": reason})
