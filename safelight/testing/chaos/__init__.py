"""An experiment on the worst days: generations are ordered over HTTP and run against a simulated service while workers
are killed and paused and the database is restarted; then everything is counted."""

from safelight.testing.chaos.environment import VendorFormat
from safelight.testing.chaos.experiment import ChaosPlan, Progress, run_experiment
from safelight.testing.chaos.scorecard import TAKEOVER_SECONDS_TO_REACH, Scorecard

__all__ = ["TAKEOVER_SECONDS_TO_REACH", "ChaosPlan", "Progress", "Scorecard", "VendorFormat", "run_experiment"]
