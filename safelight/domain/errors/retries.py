"""Errors of requests that may succeed later: the answer says when, in `Retry-After`."""

from safelight.domain.errors.base import SafelightError
from safelight.domain.errors.categories import Category


class RetryLater(SafelightError):
    """Nothing is wrong with the request but its time."""

    retryable = True

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class AuthUnavailable(RetryLater):
    """The keys that tokens are checked with cannot be had just now."""

    http_status = 503
    code = "AUTH_UNAVAILABLE"
    safe_message = "We cannot check who you are right now. Please try again in a moment."


class Overloaded(RetryLater):
    """This process holds as much as it may, of all clients together."""

    http_status = 503
    code = "OVERLOADED"
    safe_message = "We are very busy. Please try again in a moment."


class RequestInProgress(RetryLater):
    """The same request, by its idempotency key, is being done at this moment."""

    http_status = 503
    code = "REQUEST_IN_PROGRESS"
    safe_message = "We are still at work on this very request. Please ask again in a moment."


class TooManyRequests(RetryLater):
    """More than one customer, or one address, may ask. `is_news` where operators were not told of it lately."""

    category = Category.VALIDATION_ERROR
    http_status = 429
    code = "TOO_MANY_REQUESTS"
    safe_message = "That was a lot at once. Please try again in a moment."

    def __init__(self, message: str, *, retry_after_seconds: float, is_news: bool) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.is_news = is_news


class FreeSuggestionsUsedUp(TooManyRequests):
    """A customer without credits, or a network address of such customers, had all of today's free suggestions."""

    code = "FREE_SUGGESTIONS_USED_UP"
    safe_message = "Today's free suggestions are used up. Credits lift this limit; else come back tomorrow."

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds, is_news=False)


class TooManyInProgress(RetryLater):
    """A customer has as many unfinished generations as one may have at once."""

    category = Category.VALIDATION_ERROR
    http_status = 429
    code = "TOO_MANY_IN_PROGRESS"

    def __init__(self, limit: int, *, retry_after_seconds: float) -> None:
        super().__init__(f"{limit} generations are in progress", retry_after_seconds=retry_after_seconds)
        self.safe_message = f"You have {limit} generations in progress. Please wait until one of them has ended."
