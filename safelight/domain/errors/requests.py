"""Errors of requests that cannot be served as they stand, whatever they ask for."""

from safelight.domain.errors.base import InvalidInput, SafelightError


class UnsupportedMediaType(InvalidInput):
    """A body of a type that the route does not read."""

    http_status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"


class DownloadFailed(SafelightError):
    """A file of ours that its store does not give us."""

    http_status = 502
    code = "DOWNLOAD_FAILED"
    safe_message = "The file cannot be read just now. Please try again in a moment."


class GenerationInProgress(InvalidInput):
    """What is asked for waits until the generation, or one that is made from it, is final."""

    http_status = 409
    code = "GENERATION_IN_PROGRESS"
