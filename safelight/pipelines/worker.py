"""Runs generations: takes the lease, tells the story of the order's flow, and writes how it ended."""

from collections.abc import Awaitable, Callable, Mapping

import psycopg

from safelight import telemetry
from safelight.db import job_log, runs
from safelight.db.wakeups import Announcer
from safelight.domain.errors import LeaseLost
from safelight.domain.orders import Flow
from safelight.pipelines.failures import fail
from safelight.pipelines.retries import RetryPolicy
from safelight.pipelines.runner import Run, Snooze
from safelight.pipelines.stills import still_create, still_tweak
from safelight.pipelines.studio import Studio
from safelight.pipelines.videos import video_animate, video_tweak

Story = Callable[[Studio, Run], Awaitable[None]]

# By pipeline version: a generation finishes on the story it was accepted under.
STORIES: Mapping[int, Mapping[Flow, Story]] = {
    1: {
        Flow.STILL_CREATE: still_create,
        Flow.STILL_TWEAK: still_tweak,
        Flow.VIDEO_ANIMATE: video_animate,
        Flow.VIDEO_TWEAK: video_tweak,
    }
}


class Worker:
    def __init__(
        self,
        studio: Studio,
        announcer: Announcer,
        policy: RetryPolicy,
        stories: Mapping[int, Mapping[Flow, Story]] = STORIES,
    ) -> None:
        self._studio = studio
        self._policy = policy
        self._announcer = announcer
        self._stories = stories

    async def run(self, generation_id: str) -> None:
        """Run the generation as far as it goes now.

        Raises:
            Snooze: there is nothing to do for a while.
        """
        run, story = await self._take(generation_id)
        if run is None or story is None:
            return
        try:
            await self._tell(run, story)
        except LeaseLost as lost:
            telemetry.warning(telemetry.Tag.GENERATION_PROCESSING, str(lost), generation_id=generation_id)

    async def _tell(self, run: Run, story: Story) -> None:
        try:
            await story(self._studio, run)
        except (Snooze, LeaseLost, psycopg.OperationalError):
            raise  # not a failure of the generation: the queue, or another worker, goes on with it
        except Exception as cause:  # noqa: BLE001 - whatever went wrong, the customer gets an end and a refund
            await fail(self._studio.db, run, cause)

    async def _take(self, generation_id: str) -> tuple[Run | None, Story | None]:
        async with self._studio.db.connection() as conn:
            leased = await runs.take_lease(conn, generation_id)
            if leased is None:
                return None, None
            steps = await runs.steps_of(conn, generation_id)
            said = await job_log.lines_after(conn, generation_id, 0)
        run = Run(self._studio.db, self._announcer, self._policy, leased, steps, said)
        if not steps:
            telemetry.info(
                "🚀",
                telemetry.Tag.GENERATION_PROCESSING,
                f"Starting background processing for generation {generation_id}",
                generation_id=generation_id,
            )
        return run, self._stories[leased["mg_pipeline_version"]][run.order.flow]
