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
select queue_name, task_name, queueing_lock, lock, args, attempts + 1, greatest(priority, 0) + 1 from dead
on conflict do nothing
returning queueing_lock as generation_id;

-- name: enqueue_orphaned
-- An unfinished generation that no job will come back for gets one. Customers take turns, the oldest of each first.
insert into procrastinate_jobs (queue_name, task_name, queueing_lock, lock, args, priority)
select
  case when generation.mg_payload ? 'imports' then :import_queue_name else :queue_name end,
  case when generation.mg_payload ? 'imports' then :import_task_name else :task_name end,
  generation.mg_generation_id, generation.mg_payload #>> '{imports,lock}',
  jsonb_build_object('generation_id', generation.mg_generation_id),
  1 - row_number() over (partition by generation.mg_pass_id order by generation.mg_created_at)
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

-- name: lock_customer$
-- Held until the transaction ends: nobody else takes or gives a place of this customer meanwhile.
select pg_advisory_xact_lock(hashtextextended('places of ' || :customer, 0));

-- name: turn^
-- The number of the customer's other unfinished generations, and the priority of the next one: so many turns after the
-- job that is first in the queue. With a `places_max` it must wait until one of the customer's jobs ends, if these are
-- all taken, or if others wait so already.
select unfinished.count as unfinished,
  greatest(:priority_min, coalesce(queue.front, 0) - unfinished.count)::integer as priority,
  :places_max > 0 and (
    exists (select from procrastinate_jobs where lock = 'held:' || :customer and status = 'todo')
    or (
      select count(*) from procrastinate_jobs
      where args->>'customer' = :customer and args ? 'customer' and lock is null and status in ('todo', 'doing')
        and queueing_lock <> :generation_id
    ) >= :places_max
  ) as is_held
from (
  select count(*) from (
    select from mega_generations
    where mg_record_type = 'generation' and mg_pipeline_version is not null
      and mg_mma_status in ('queued', 'scanning', 'prompting', 'generating', 'postscan')
      and mg_pass_id = :customer and mg_generation_id <> :generation_id
    limit :limit
  ) other
) unfinished, (
  select max(priority) as front from procrastinate_jobs where status = 'todo' and priority <= 0
) queue;

-- name: customer_of$
select mg_pass_id from mega_generations where mg_id = :generation_key;

-- name: release
-- Jobs of the customer that are held may be begun, as many as there are free places.
with place as (
  select job.id from procrastinate_jobs job
  where job.lock = 'held:' || :customer and job.status = 'todo'
  order by job.priority desc, job.id
  limit greatest(0, :places_max - (
    select count(*) from procrastinate_jobs
    where args->>'customer' = :customer and args ? 'customer' and lock is null and status in ('todo', 'doing')
  ))
)
update procrastinate_jobs job set lock = null, scheduled_at = null
from place where job.id = place.id
returning job.queueing_lock as generation_id;

-- name: release_all!
-- There is no bound any more.
update procrastinate_jobs set lock = null, scheduled_at = null where lock is not null and starts_with(lock, 'held:') and status = 'todo';

-- name: customers_held
select distinct substr(lock, 6) as customer from procrastinate_jobs
where lock is not null and starts_with(lock, 'held:') and status = 'todo';
