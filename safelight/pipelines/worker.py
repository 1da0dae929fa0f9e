"""Runs generations: takes the lease, executes the order's flow, and writes how it ended."""

from collections.abc import Awaitable, Callable, Mapping

from safelight import telemetry
from safelight.db.connection.database import TRANSIENT_ERRORS
from safelight.db.connection.notifications import Notifier
from safelight.db.generations import rounds, runs
from safelight.domain.errors.base import LeaseLost, QueueTimeout, SafelightError
from safelight.domain.flows import Flow
from safelight.domain.steps import RESULT_STEPS
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.retry import RetryPolicy
from safelight.pipelines.engine.run import Run
from safelight.pipelines.engine.run_store import RunStore
from safelight.pipelines.engine.snooze import Snooze
from safelight.pipelines.flows.image_jobs import image_job
from safelight.pipelines.flows.model_runs import model_run
from safelight.pipelines.flows.stills import still_create, still_tweak
from safelight.pipelines.flows.videos import video_animate, video_tweak
from safelight.pipelines.results import conclude, lease_lost

NEVER_LEASED = 0  # the lease number of a generation that no worker has had
FIRST_LEASE = 1  # no step has been written before it

RunFlow = Callable[[PipelineContext, Run], Awaitable[None]]

# By pipeline version: a generation finishes on the flow it was accepted under.
FLOWS: Mapping[int, Mapping[Flow, RunFlow]] = {
    1: {
        Flow.STILL_CREATE: still_create,
        Flow.STILL_TWEAK: still_tweak,
        Flow.VIDEO_ANIMATE: video_animate,
        Flow.VIDEO_TWEAK: video_tweak,
        Flow.IMAGE_JOB: image_job,
        Flow.MODEL_RUN: model_run,
    }
}


class Worker:
    def __init__(
        self,
        context: PipelineContext,
        notifier: Notifier,
        policy: RetryPolicy,
        flows: Mapping[int, Mapping[Flow, RunFlow]] = FLOWS,
    ) -> None:
        self._context = context
        self._policy = policy
        self._notifier = notifier
        self._flows = flows

    async def run(self, generation_id: str) -> None:
        """Run the generation as far as it goes now.

        Raises:
            Snooze: there is nothing to do for a while.
        """
        await self._with_lease(generation_id, self._execute)

    async def give_up(self, generation_id: str) -> None:
        """End a generation that no worker began before its deadline; leave it alone where one just did."""
        async with self._context.db.connection() as conn:
            lease_no = await rounds.unbegun_lease_no(conn, generation_id)
        await self._with_lease(generation_id, self._execute, if_lease_no=lease_no)

    async def refuse(self, generation_id: str, error: SafelightError) -> None:
        """End a generation that no worker began, refunded; leave it alone where one just did."""
        await self._with_lease(generation_id, lambda run: conclude(self._context, run, error), if_lease_no=NEVER_LEASED)

    async def _with_lease(
        self, generation_id: str, work: Callable[[Run], Awaitable[None]], *, if_lease_no: int | None = None
    ) -> None:
        with telemetry.about(telemetry.LogIds(generation_id=generation_id)):
            run = await self._take(generation_id, if_lease_no)
            if run is None:
                return
            try:
                await work(run)
            except LeaseLost as lost:
                telemetry.warning(telemetry.Tag.GENERATION_PROCESSING, str(lost), generation_id=generation_id)
                await lease_lost(self._context, run)

    async def _take(self, generation_id: str, if_lease_no: int | None) -> Run | None:
        async with self._context.db.connection() as conn:
            leased = await runs.take_lease(conn, generation_id, self._flows, if_lease_no=if_lease_no)
            if leased is None:
                return None
            is_first = leased.lease_no == FIRST_LEASE
            steps = [] if is_first else await runs.checkpoints(conn, generation_id, RESULT_STEPS)
        telemetry.note(pass_id=leased.pass_id, request_id=leased.request.get("request_id"))
        run = Run(RunStore(self._context.db, self._notifier, leased, steps), self._policy, leased)
        if run.store.is_new:
            run.log("🚀", f"Starting background processing for generation {generation_id}")
            run.log("🔍", f"Model: {run.order.flow.engine}, Prompt length: {run.order.prompt_chars}")
        return run

    async def _execute(self, run: Run) -> None:
        try:
            run.restore(self._context.sealer)
            if run.store.is_new and run.store.deadline_passed():
                raise QueueTimeout("no worker had a free place before the deadline")
            await self._flows[run.pipeline_version][run.order.flow](self._context, run)
        except (Snooze, LeaseLost, *TRANSIENT_ERRORS):
            raise  # not a failure of the generation: the queue, or another worker, goes on with it
        except Exception as cause:  # noqa: BLE001 - whatever went wrong, the customer gets the result or a refund
            await conclude(self._context, run, cause)
