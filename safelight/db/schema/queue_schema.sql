-- name: is_installed$
select to_regclass('procrastinate.procrastinate_jobs') is not null;

-- name: has_record$
select to_regclass('safelight.queue_migrations') is not null;

-- name: recorded
select name from safelight.queue_migrations order by name;

-- name: record!
insert into safelight.queue_migrations (name, package_version, was_there)
values (:name, :package_version, :was_there) on conflict (name) do nothing;

-- name: objects
-- Everything of the queue's schema by its name.
select proname as name from pg_proc where pronamespace = 'procrastinate'::regnamespace
union select relname from pg_class where relnamespace = 'procrastinate'::regnamespace and relkind in ('r', 'v')
union select typname from pg_type where typnamespace = 'procrastinate'::regnamespace and typtype in ('e', 'c');

-- name: signs^
-- What shows that a schema has a migration, for one whose migrations nobody recorded.
select
  to_regprocedure('procrastinate.procrastinate_retry_job_v2(bigint, timestamptz, integer, varchar, varchar)') is not null
    as "03.04.00_01",
  exists (select from pg_proc where pronamespace = 'procrastinate'::regnamespace
    and proname = 'procrastinate_trigger_function_status_events_update_v1' and position('retried' in prosrc) > 0) as "03.04.00_50",
  exists (select from pg_proc where pronamespace = 'procrastinate'::regnamespace
    and proname = 'procrastinate_fetch_job_v2' and position('other_jobs' in prosrc) > 0) as "03.03.00_01",
  exists (select from pg_proc where pronamespace = 'procrastinate'::regnamespace
    and proname = 'procrastinate_defer_jobs_v1') as "03.02.00_01",
  exists (select from pg_proc where pronamespace = 'procrastinate'::regnamespace
    and proname = 'procrastinate_defer_jobs_v1')
    and not exists (select from pg_proc where pronamespace = 'procrastinate'::regnamespace
      and proname = 'procrastinate_defer_job_v1') as "03.02.00_50",
  to_regclass('procrastinate.procrastinate_workers') is not null as "03.01.00_01",
  to_regclass('procrastinate.procrastinate_workers') is not null
    and not exists (select from pg_proc where pronamespace = 'procrastinate'::regnamespace
      and proname = 'procrastinate_fetch_job_v1') as "03.01.00_50",
  exists (select from pg_proc where pronamespace = 'procrastinate'::regnamespace
    and proname = 'procrastinate_cancel_job_v1') as "03.00.00_01",
  exists (select from pg_proc where pronamespace = 'procrastinate'::regnamespace
    and proname = 'procrastinate_unlink_periodic_defers_v1') as "03.00.00_50",
  to_regclass('procrastinate.procrastinate_jobs_priority_idx') is not null
    or to_regclass('procrastinate.procrastinate_jobs_priority_idx_v1') is not null as "02.14.01_01";

-- name: add_index_of_held_jobs#
create index concurrently if not exists safelight_held_jobs on procrastinate.procrastinate_jobs (lock, priority desc, id)
  where status = 'todo' and lock is not null;

-- name: add_index_of_places#
create index concurrently if not exists safelight_places on procrastinate.procrastinate_jobs ((args->>'customer'))
  where args ? 'customer' and lock is null and status in ('todo', 'doing');

-- name: fetch_by_index#
-- A burst of orders comes before the statistics that tell of it: a plan that sorts all jobs to fetch one takes 300 ms at
-- 100,000, the index of priorities well below one.
do $$
begin
  if to_regprocedure('procrastinate.procrastinate_fetch_job_v2(varchar[], bigint)') is not null then
    alter function procrastinate.procrastinate_fetch_job_v2(varchar[], bigint)
      set enable_sort = off set enable_bitmapscan = off;
  end if;
end $$;
