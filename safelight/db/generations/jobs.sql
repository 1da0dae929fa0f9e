-- The queue's rows, seen from outside the queue. Each statement decides and acts at once, so that two reapers, or a
-- reaper and a worker, cannot both act on the same row.

-- name: requeue_stalled
-- Jobs of workers without a heartbeat become new jobs, and so do jobs that hang: their generation is long past its
-- deadline. The old row goes: a worker that was only paused and comes back must not end the job of its successor. They
-- go before those that have not begun, however many are waiting.
with dead as (
  delete from procrastinate_jobs job
  where job.queue_name = any(:queue_names) and job.status = 'doing'
    and (
      not exists (
        select from procrastinate_workers worker
        where worker.id = job.worker_id and worker.last_heartbeat > now() - make_interval(secs => :dead_after_seconds)
      )
      or exists (
        select from mega_generations generation
        where generation.mg_id = 'generation:' || job.queueing_lock
          and generation.mg_deadline_at < now() - make_interval(secs => :hung_after_seconds)
      )
    )
  returning job.queue_name, job.task_name, job.queueing_lock, job.lock, job.args, job.attempts, job.priority,
    job.worker_id
), counted as (
  -- A worker that withdrew its registration was not killed by what it did.
  update mega_generations
  set mg_takeovers = mg_takeovers + 1
  where mg_id in (
    -- A worker that is paused in a transaction may hold the row: nobody waits for it here.
    select mg_id from mega_generations
    where mg_id in (select 'generation:' || queueing_lock from dead where worker_id is not null)
      and mg_mma_status in ('queued', 'scanning', 'prompting', 'generating', 'postscan')
    for update skip locked
  )
)
insert into procrastinate_jobs (queue_name, task_name, queueing_lock, lock, args, attempts, priority)
select queue_name, task_name, queueing_lock, lock, args, attempts + 1, priority + 1 from dead
on conflict do nothing
returning queueing_lock as generation_id;

-- name: enqueue_orphaned
-- An unfinished generation that no job will come back for gets one.
insert into procrastinate_jobs (queue_name, task_name, queueing_lock, lock, args)
select
  case when generation.mg_payload ? 'imports' then :import_queue_name else :queue_name end,
  case when generation.mg_payload ? 'imports' then :import_task_name else :task_name end,
  generation.mg_generation_id, generation.mg_payload #>> '{imports,lock}',
  jsonb_build_object('generation_id', generation.mg_generation_id)
from mega_generations generation
where generation.mg_record_type = 'generation' and generation.mg_pipeline_version is not null
  and generation.mg_mma_status in ('queued', 'scanning', 'prompting', 'generating', 'postscan')
  and generation.mg_created_at < now() - make_interval(secs => :older_than_seconds)
  and not exists (
    select from procrastinate_jobs job
    where job.queueing_lock = generation.mg_generation_id and job.status in ('todo', 'doing')
  )
order by generation.mg_created_at
limit :limit
on conflict do nothing
returning queueing_lock as generation_id;

-- name: expired_in_queue
-- Generations that no worker has touched before their deadline, since they were accepted or reopened.
select generation.mg_generation_id as generation_id
from mega_generations generation
where generation.mg_record_type = 'generation' and generation.mg_pipeline_version is not null
  and generation.mg_mma_status in ('queued', 'scanning', 'prompting', 'generating', 'postscan')
  and generation.mg_lease_no = coalesce((generation.mg_meta #>> '{rounds,-1,lease_no}')::integer, 0)
  and generation.mg_deadline_at < now()
order by generation.mg_created_at
limit :limit;

-- name: put_back!
-- By the database's clock, which judges what is due.
select procrastinate_retry_job_v2(:job_id, clock_timestamp() + make_interval(secs => :seconds), null, null, null);

-- name: wake$
-- A job that waits is due now, whatever it shares a lock with; one that runs stays as it is. Says whether there is such
-- a generation.
with woken as (
  update procrastinate_jobs
  set scheduled_at = null, lock = null, priority = greatest(priority, :priority)
  where queueing_lock = :generation_id and status = 'todo'
)
select exists (select from mega_generations where mg_id = :generation_key);
