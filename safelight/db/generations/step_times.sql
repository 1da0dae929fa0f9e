-- name: recent
-- Of each type of step and model the newest durations, from an index; of types with many models only the newest count.
select kind.step_type, recent.model, array_agg(recent.seconds order by recent.seconds) as seconds,
  max(recent.created_at) as newest_at
from unnest(:step_types::text[]) kind (step_type)
cross join lateral (
  select model, seconds, created_at, row_number() over (partition by model order by created_at desc) as place
  from (
    select mg_model as model, mg_latency_ms / 1000.0::float8 as seconds, mg_created_at as created_at
    from mega_generations
    where mg_record_type = 'mma_step' and mg_status = 'succeeded' and mg_step_type = kind.step_type
    order by mg_created_at desc
    limit :scanned_max
  ) newest
  where seconds is not null
) recent
where recent.place <= :samples_max
group by kind.step_type, recent.model;

-- name: begun_per_second$
-- From the newest generations that a worker began in the last minutes; null if these are few.
select case when count(*) >= :begun_min then count(*) / nullif(extract(epoch from now() - min(created_at)), 0)::float8 end
from (
  select created_at from (
    select mg_created_at as created_at, mg_record_type, mg_step_no
    from mega_generations
    where mg_created_at > now() - make_interval(secs => :seconds)
    order by mg_created_at desc
    limit :scanned_max
  ) newest
  where mg_record_type = 'mma_step' and mg_step_no = 0
  limit :begun_max
) begun;

-- name: under_way^
-- The generation's place in the queue, and its steps: by type how many have ended, and those under way.
with job as (
  select id, queue_name, priority,
    status = 'todo' and lock is not null and starts_with(lock, 'held:') as is_held,
    status = 'todo' and coalesce(scheduled_at <= now(), true) as is_due
  from procrastinate_jobs
  where queueing_lock = :generation_id and status = 'todo'
)
select
  (
    select count(*) from (
      select from procrastinate_jobs ahead, job
      where job.is_due and ahead.status = 'todo' and ahead.queue_name = job.queue_name
        and coalesce(ahead.scheduled_at <= now(), true)
        and ahead.priority >= job.priority and (ahead.priority > job.priority or ahead.id < job.id)
      limit :ahead_max
    ) counted
  ) as ahead,
  coalesce((select is_due from job), false) as is_due,
  coalesce((select is_held from job), false) as is_held,
  coalesce((select queue_name from job) <> :work_queue, false) as is_importing,
  coalesce((
    select jsonb_object_agg(mg_step_type, ended) from (
      select mg_step_type, count(*) as ended from mega_generations
      where mg_record_type = 'mma_step' and mg_generation_id = :generation_id and mg_status <> 'processing'
      group by mg_step_type
    ) step
  ), '{}') as ended,
  coalesce((
    select jsonb_agg(jsonb_build_object(
      'step_type', mg_step_type, 'model', mg_model,
      'elapsed_seconds', greatest(0, extract(epoch from now() - (mg_payload #>> '{timing,started_at}')::timestamptz))
    ))
    from mega_generations
    where mg_record_type = 'mma_step' and mg_generation_id = :generation_id and mg_status = 'processing'
      and mg_payload #>> '{timing,started_at}' is not null
  ), '[]') as running;
