"""Errors of requests that may succeed later; `Retry-After` of the answer says when."""

from safelight.domain.errors.base import InvalidInput, SafelightError
from safelight.domain.errors.categories import Category


class RetryLater(SafelightError):
    """The request is valid and may be sent again later."""

    retryable = True

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class AuthUnavailable(RetryLater):
    """The keys that verify access tokens cannot be fetched now."""

    http_status = 503
    code = "AUTH_UNAVAILABLE"
    safe_message = "We cannot check who you are right now. Please try again in a moment."


class Overloaded(RetryLater):
    """This process is at its limit of all clients together."""

    http_status = 503
    code = "OVERLOADED"
    safe_message = "We are very busy. Please try again in a moment."


class RequestInProgress(RetryLater):
    """A request with the same idempotency key is in progress."""

    http_status = 503
    code = "REQUEST_IN_PROGRESS"
    safe_message = "We are still at work on this very request. Please ask again in a moment."


class TooManyRequests(RetryLater):
    """The rate limit of a customer or an address is reached. `is_news` if operators were not told of it lately."""

    category = Category.VALIDATION_ERROR
    http_status = 429
    code = "TOO_MANY_REQUESTS"
    safe_message = "That was a lot at once. Please try again in a moment."

    def __init__(self, message: str, *, retry_after_seconds: float, is_news: bool = False) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.is_news = is_news


class FreeSuggestionsUsedUp(TooManyRequests):
    """A customer without credits, or their network address, has used all free suggestions of the day."""

    code = "FREE_SUGGESTIONS_USED_UP"
    safe_message = "Today's free suggestions are used up. Credits lift this limit; else come back tomorrow."


class TooManyInProgress(RetryLater):
    """A customer is at the limit of unfinished generations."""

    category = Category.VALIDATION_ERROR
    http_status = 429
    code = "TOO_MANY_IN_PROGRESS"

    def __init__(self, limit: int, *, retry_after_seconds: float) -> None:
        super().__init__(f"{limit} generations are in progress", retry_after_seconds=retry_after_seconds)
        self.safe_message = f"You have {limit} generations in progress. Please wait until one of them has ended."


class GenerationInProgress(InvalidInput):
    """The request is refused until the generation, or one made from it, is final."""

    http_status = 409
    code = "GENERATION_IN_PROGRESS"


class NothingToRetry(InvalidInput):
    """Nothing of the generation can be made again as it is asked for, or not yet."""

    http_status = 409
    code = "NOTHING_TO_RETRY"


class DownloadFailed(SafelightError):
    """The storage does not deliver one of our files."""

    http_status = 502
    code = "DOWNLOAD_FAILED"
    safe_message = "The file cannot be read just now. Please try again in a moment."
