"""Errors of result files: what a vendor delivered cannot be used."""

from safelight.domain.errors.base import ProviderError


class ResultDamaged(ProviderError):
    """A vendor's result that cannot be decoded to its end. It is fetched again; the customer can do nothing about
    it."""

    retryable = True
    code = "RESULT_DAMAGED"
    safe_message = "The picture service delivered a damaged file."

    def __init__(self, vendor: str, reason: str) -> None:
        super().__init__(f"{vendor}: {reason}", details={"vendor": vendor, "reason": reason})
