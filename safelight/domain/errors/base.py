"""The error tree. Code decides on these types, never on message text.

Each type carries what every plane needs: the category (which decides the emoji), a stable
`error_code`, and a `safe_message` that may be shown to a user: no host, key, stack or vendor text.
"""

from typing import ClassVar

from safelight.domain.errors.categories import Category


class SafelightError(Exception):
    """Base of all errors of ours. `str(error)` is for operators; `safe_message` is for users."""

    category: ClassVar[Category] = Category.API_ERROR
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    code: str = "INTERNAL_ERROR"
    safe_message: str = "Something went wrong on our side."

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        safe_message: str | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or self.code
        self.safe_message = safe_message or self.safe_message
        self.details = details or {}


# --- what a client did -------------------------------------------------------------------------------------------


class InvalidInput(SafelightError):
    """A request that cannot succeed as it is. The message names the field and what is allowed."""

    category = Category.VALIDATION_ERROR
    http_status = 400
    code = "VALIDATION_ERROR"

    def __init__(self, message: str, *, code: str | None = None, details: dict[str, object] | None = None) -> None:
        super().__init__(message, code=code, safe_message=message, details=details)


class PayloadTooLarge(InvalidInput):
    http_status = 413
    code = "PAYLOAD_TOO_LARGE"


class NotFound(InvalidInput):
    http_status = 404
    code = "NOT_FOUND"


class AuthError(SafelightError):
    """The request has no credentials, or they are not valid."""

    category = Category.AUTH_ERROR
    http_status = 401
    code = "UNAUTHORIZED"

    def __init__(self, message: str, *, code: str | None = None, details: dict[str, object] | None = None) -> None:
        super().__init__(message, code=code, safe_message=message, details=details)


class InvalidToken(AuthError):
    """An access token that is not signed for us, or not valid now. `details["reason"]` is for operators."""

    code = "INVALID_TOKEN"


class MissingUserId(InvalidToken):
    """A valid token that names no user, such as a key of the project."""

    code = "MISSING_USER_ID"


class Forbidden(AuthError):
    """The caller is known and has no permission."""

    http_status = 403
    code = "FORBIDDEN"


class WebhookRefused(AuthError):
    """A webhook without a valid signature of its provider, or with one that is too old."""

    code = "WEBHOOK_REFUSED"


class WebhookReplayed(WebhookRefused):
    """A webhook that was received before. A provider that retries signs again."""

    http_status = 409
    code = "WEBHOOK_REPLAYED"


class IdempotencyConflict(InvalidInput):
    """An idempotency key that was used with another body (422)."""

    http_status = 422
    code = "IDEMPOTENCY_KEY_REUSED"


class InsufficientCredits(SafelightError):
    category = Category.VALIDATION_ERROR
    http_status = 402
    code = "INSUFFICIENT_CREDITS"

    def __init__(self, *, required: int, balance: int) -> None:
        super().__init__(
            f"INSUFFICIENT_CREDITS: this needs {required} credits and the balance is {balance}.",
            safe_message=f"INSUFFICIENT_CREDITS: this needs {required} credits and the balance is {balance}.",
        )
        self.required = required
        self.balance = balance


UNREACHABLE_HOST = "The file could not be read: its host has no public address."


class RemoteFileRefused(InvalidInput):
    """A URL that may not or could not be fetched."""

    code = "REMOTE_FILE_REFUSED"


class RemoteUrlInvalid(RemoteFileRefused):
    """Not a plain http or https URL."""


class RemoteAddressRefused(RemoteFileRefused):
    """The host, or one that the URL redirects to, is not public. Users do not learn whether it exists."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.safe_message = UNREACHABLE_HOST


class RemotePortRefused(RemoteAddressRefused):
    """A port that files are not fetched from, on any host."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.safe_message = message


class RemoteFileTooLarge(RemoteFileRefused):
    code = "REMOTE_FILE_TOO_LARGE"


class RemoteFileGone(RemoteFileRefused):
    """The server answered that the file does not exist or is not accessible; a retry cannot help."""

    code = "REMOTE_FILE_GONE"


class RemoteFileUnavailable(RemoteFileRefused):
    """The file could not be fetched now; a retry may help. The message for users holds nothing of the network error."""

    retryable = True
    code = "REMOTE_FILE_UNAVAILABLE"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.safe_message = "The file could not be read from its server just now."


class RemoteHostUnknown(RemoteFileUnavailable):
    """The host name could not be resolved now. For users it is a host that may not be fetched from."""

    code = RemoteFileRefused.code

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.safe_message = UNREACHABLE_HOST


# --- what an outside service did ---------------------------------------------------------------------------------


class ProviderError(SafelightError):
    """An outside service failed or refused."""

    category = Category.PROVIDER_ERROR
    http_status = 502
    code = "PROVIDER_FAILED"
    safe_message = "The picture service had a problem with this one."

    def __init__(
        self,
        message: str,
        *,
        provider_http_status: int | None = None,
        code: str | None = None,
        safe_message: str | None = None,
        retry_after_seconds: float | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message, code=code, safe_message=safe_message, details=details)
        self.provider_http_status = provider_http_status
        self.retry_after_seconds = retry_after_seconds


class ProviderUnavailable(ProviderError):
    retryable = True
    code = "PROVIDER_UNAVAILABLE"
    safe_message = "The picture service is not reachable right now. Please try again soon."


class ProviderRateLimited(ProviderError):
    retryable = True
    code = "RATE_LIMITED"
    safe_message = "The picture service is very busy. Please try again in a minute."


class ProviderTimeout(ProviderError):
    category = Category.TIMEOUT
    http_status = 504
    retryable = True
    code = "TIMEOUT"
    safe_message = "The picture service took too long to answer. Please try again."


class OutcomeUnknown(ProviderError):
    """A paid start was sent and no answer arrived: the service may have accepted it."""

    category = Category.TIMEOUT
    http_status = 504
    code = "OUTCOME_UNKNOWN"
    safe_message = "The picture service did not tell us whether it started."


class LookupUnsupported(ProviderError):
    """The service cannot say whether it accepted a start."""

    code = "LOOK_UP_UNSUPPORTED"


class ProviderRejected(ProviderError):
    """The service says that our request is invalid; a retry cannot help."""

    code = "REJECTED"


class ProviderAccessDenied(ProviderError):
    """The service does not accept our key, or the key lacks a permission: an operator must act."""

    category = Category.CONFIG_ERROR
    code = "PROVIDER_ACCESS_DENIED"
    safe_message = "The picture service is not set up correctly. We have been told."


class ProviderQuotaExhausted(ProviderError):
    """Our account with the service has no credit left. This is not a rate limit: waiting does not help, paying does."""

    code = "QUOTA_EXHAUSTED"
    safe_message = "The picture service is not available to us right now. We have been told."


class ContentRefused(ProviderError):
    """The service will not make this content. Refunded, never retried."""

    code = "CONTENT_REFUSED"
    # Clients show a notice of their own for `flagged as sensitive` (docs/contract/http.md).
    safe_message = (
        "This was flagged as sensitive by the picture service, so it was not made. Please ask for it differently."
    )


class ProviderContractBroken(ProviderError):
    """An answer of unknown shape."""

    code = "CONTRACT_BROKEN"


class SpendCapReached(ProviderError):
    """The daily spending limit of a provider is reached."""

    http_status = 503
    code = "SPEND_CAP"
    safe_message = "We have made all we can for today. Tomorrow we go on."


class SchemaMismatch(SafelightError):
    """The answer of a model is not JSON, or does not match the context's `output_schema`."""

    category = Category.GPT_SCHEMA_ERROR
    http_status = 502
    code = "OUTPUT_SCHEMA"
    safe_message = "We could not make sense of one answer while preparing your picture."


# --- what we did ---------------------------------------------------------------------------------------------------


class ConfigError(SafelightError):
    """A context, provider default or registry row that is missing or cannot be used."""

    category = Category.CONFIG_ERROR
    code = "CONFIG"


class StorageError(SafelightError):
    retryable = True
    code = "STORAGE"
    safe_message = "We could not save the result. Please try again."


class AlreadyStored(SafelightError):
    """A key that may be written only once already has a file."""

    http_status = 409
    code = "ALREADY_STORED"


class AssetUnreadable(SafelightError):
    """An input picture that cannot be read, or is not a picture."""

    category = Category.VALIDATION_ERROR
    http_status = 400
    code = "ASSET_UNREADABLE"
    safe_message = "One of the pictures could not be read. Please upload it again."


class AssetUnreachable(SafelightError):
    """An input picture on another server that could not be fetched, or is not a picture. Never retried: the customer
    names another, or uploads it. `field` named it; `reason` is for operators."""

    category = Category.VALIDATION_ERROR
    http_status = 400
    code = "ASSET_UNREACHABLE"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(
            f"{field}: {reason}",
            safe_message=f"{field}: this picture could not be fetched from its address."
            " Please check the link, or upload the picture.",
        )


class LeaseLost(SafelightError):
    """Another worker has taken over this generation; writes of this one no longer count."""

    code = "LEASE_LOST"


class WorkerLost(SafelightError):
    """Several workers died in the middle of this step."""

    code = "WORKER_LOST"


class DeadlineExceeded(SafelightError):
    """A provider was still at work when the deadline of the model passed."""

    category = Category.TIMEOUT
    http_status = 504
    code = "DEADLINE"
    safe_message = "This took longer than it ever should, so we stopped it."


class QueueTimeout(SafelightError):
    """No worker was free to begin the generation before its deadline."""

    category = Category.TIMEOUT
    http_status = 504
    retryable = True
    code = "NEVER_STARTED"
    safe_message = "We were too busy to begin. Please try again."


class GenerationFailed(SafelightError):
    """A generation that a request waits for failed or was cancelled. The cause is recorded already."""

    code = "ENDED_WITHOUT_RESULT"


class GenerationRejected(GenerationFailed):
    """A generation that failed because of its input, such as an unreadable picture: the request cannot succeed."""

    category = Category.VALIDATION_ERROR
    http_status = 400


class ResultPending(SafelightError):
    """A request waited for a generation as long as it may; the generation goes on."""

    category = Category.TIMEOUT
    http_status = 503
    code = "STILL_MAKING"
    safe_message = "This takes longer than usual and goes on by itself. The result will be in your history."

    def __init__(self, generation_id: str) -> None:
        super().__init__(f"generation {generation_id} is not final yet")
        self.generation_id = generation_id


class Cancelled(SafelightError):
    """The customer or an operator cancelled the generation."""

    category = Category.VALIDATION_ERROR
    http_status = 200
    code = "CANCELLED"
    safe_message = "Stopped, as you asked."


def as_error(cause: Exception) -> SafelightError:
    """The cause as an error that every plane can name."""
    return cause if isinstance(cause, SafelightError) else SafelightError(f"{type(cause).__name__}: {cause}")


# Queries and alerts of operators look for this name (docs/contract/failures-in-sql.md).
_TYPE_NAMES: dict[type[Exception], str] = {ProviderRateLimited: "RateLimitError"}


def type_name(error: Exception) -> str:
    """The name of the error in `errorContext.type` of a failed generation."""
    return _TYPE_NAMES.get(type(error), type(error).__name__)
