"""A rehearsal of the worst days: generations are ordered over HTTP and run against a simulated service while workers
are killed and paused and the database is restarted; then everything is counted."""

from safelight.chaos.rehearsal import Plan, Progress, rehearse
from safelight.chaos.scorecard import TAKEOVER_SECONDS_TO_REACH, Scorecard
from safelight.chaos.stage import Provider

__all__ = ["TAKEOVER_SECONDS_TO_REACH", "Plan", "Progress", "Provider", "Scorecard", "rehearse"]
