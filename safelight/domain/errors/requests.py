"""Errors of requests that cannot be served as they are."""

from safelight.domain.errors.base import InvalidInput, SafelightError


class UnsupportedMediaType(InvalidInput):
    """A body of a type that the route does not read."""

    http_status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"


class DownloadFailed(SafelightError):
    """The storage does not deliver one of our files."""

    http_status = 502
    code = "DOWNLOAD_FAILED"
    safe_message = "The file cannot be read just now. Please try again in a moment."


class GenerationInProgress(InvalidInput):
    """The request is refused until the generation, or one made from it, is final."""

    http_status = 409
    code = "GENERATION_IN_PROGRESS"


class NothingToRetry(InvalidInput):
    """Nothing of the generation can be made again as it is asked for, or not yet."""

    http_status = 409
    code = "NOTHING_TO_RETRY"
