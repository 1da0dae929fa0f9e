-- name: bound_read!
select set_config('statement_timeout', :statement_timeout, true);

-- name: alive_registrations$
select count(*) from procrastinate_workers
where last_heartbeat > now() - make_interval(secs => :dead_after_seconds);

-- name: read^
-- Jobs are there until their generation is final, so this grows with the work there is and not with the tables.
with worker as (
  select id, last_heartbeat > now() - make_interval(secs => :dead_after_seconds) as is_alive from procrastinate_workers
), job as (
  select job.id, job.queue_name, job.scheduled_at,
    status = 'todo' and coalesce(scheduled_at <= now(), true) as is_due,
    status = 'doing' as is_taken, coalesce(worker.is_alive, false) as is_alive
  from procrastinate_jobs job
  left join worker on worker.id = job.worker_id
  where job.queue_name = any(:queue_names) and job.status in ('todo', 'doing')
), counted as (
  select
    count(*) filter (where is_taken and is_alive) as in_progress,
    count(*) filter (where is_taken and not is_alive) as abandoned,
    count(*) filter (where not is_taken and not is_due) as scheduled,
    min(scheduled_at) filter (where is_due) as first_scheduled,
    min(id) filter (where is_due and scheduled_at is null) as first_id
  from job
)
select
  (select count(*) from worker where is_alive) as alive,
  (select count(*) from worker where not is_alive) as lost,
  (
    select coalesce(jsonb_object_agg(queue_name, due), '{}')
    from (select queue_name, count(*) as due from job where is_due group by queue_name) queue
  ) as due,
  in_progress, abandoned, scheduled,
  extract(epoch from now() - least(
    first_scheduled,
    -- An event `scheduled` has the time that it was scheduled for.
    (select max(at) from procrastinate_events where job_id = first_id and at <= now())
  ))::float8 as oldest_due_seconds
from counted;
