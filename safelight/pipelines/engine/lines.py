"""The lines that the steps of a run write into the job log."""

from safelight.domain.errors.base import SafelightError
from safelight.domain.job_log import LogLine
from safelight.pipelines.engine.step import Step

Lines = list[LogLine]


class StepLines:
    """The lines at each moment of a step are the `usual` ones. A flow whose log says more has a subclass of its own."""

    def begun(self, step: Step, usual: Lines) -> Lines:
        """An attempt of the step begins."""
        return usual

    def retried(self, step: Step, error: SafelightError, seconds: float, usual: Lines) -> Lines:
        """An attempt failed, and the next one is due after so many seconds."""
        return usual

    def failed(self, step: Step, error: SafelightError, usual: Lines) -> Lines:
        """The step of an item has ended with an error."""
        return usual

    def ended(self, step: Step, usual: Lines) -> Lines:
        """The step has ended with its output."""
        return usual
