-- Failed, cancelled and stuck generations, for whoever asks in SQL: the tables that seed 004 names, as views over ours.

set local lock_timeout = '10s';

-- ---------------------------------------------------------------------------------------------------------------
-- Whose a generation is: the signed-in user where one is known, kept on the row, so that an index finds it
-- ---------------------------------------------------------------------------------------------------------------

alter table public.mega_generations add column if not exists mg_user_id uuid;

create or replace function public.mega_generations_set_user() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.mg_user_id := (
    select customer.mg_user_id from public.mega_customers customer where customer.mg_pass_id = new.mg_pass_id
  );
  return new;
end $$;

create or replace trigger mega_generations_set_user before insert or update of mg_pass_id on public.mega_generations
  for each row when (new.mg_record_type in ('generation', 'session'))
  execute function public.mega_generations_set_user();

-- A visitor who signs in keeps what was made before.
create or replace function public.mega_customers_tell_user() returns trigger
language plpgsql set search_path = '' as $$
begin
  update public.mega_generations set mg_user_id = new.mg_user_id
  where mg_pass_id = new.mg_pass_id and mg_record_type in ('generation', 'session');
  return null;
end $$;

create or replace trigger mega_customers_tell_user after update of mg_user_id on public.mega_customers
  for each row when (new.mg_user_id is distinct from old.mg_user_id)
  execute function public.mega_customers_tell_user();

update public.mega_generations made set mg_user_id = customer.mg_user_id
from public.mega_customers customer
where customer.mg_pass_id = made.mg_pass_id and customer.mg_user_id is not null
  and made.mg_record_type in ('generation', 'session') and made.mg_user_id is null;

-- ---------------------------------------------------------------------------------------------------------------
-- Seed 004's words for a status, and the indexes that find what is not simply completed
-- ---------------------------------------------------------------------------------------------------------------

-- Rows from before the MMA patch have the record's status alone, or none: they were written when they were done. The
-- function has no settings of its own, so that the planner sees through it to the indexes below.
create or replace function public.generation_status(mma_status text, record_status text) returns text
language sql immutable parallel safe as $$
  select case
    when coalesce(mma_status, record_status) in ('error', 'failed') then 'failed'
    when coalesce(mma_status, record_status) = 'cancelled' then 'cancelled'
    when coalesce(mma_status, record_status) in ('queued', 'pending') then 'queued'
    when coalesce(mma_status, record_status)
      in ('scanning', 'prompting', 'generating', 'postscan', 'processing') then 'processing'
    else 'completed'
  end
$$;

create index if not exists mega_generations_not_completed
  on public.mega_generations (public.generation_status(mg_mma_status, mg_status), mg_created_at)
  where mg_record_type = 'generation' and public.generation_status(mg_mma_status, mg_status) <> 'completed';
create index if not exists mega_generations_of_user
  on public.mega_generations (
    coalesce(mg_user_id::text, mg_pass_id), public.generation_status(mg_mma_status, mg_status), mg_created_at
  )
  where mg_record_type = 'generation';
create index if not exists mega_generations_sessions
  on public.mega_generations (mg_session_id) where mg_record_type = 'session';
create index if not exists mega_customers_as_user
  on public.mega_customers (coalesce(mg_user_id::text, mg_pass_id));

-- ---------------------------------------------------------------------------------------------------------------
-- The tables of seed 004
-- ---------------------------------------------------------------------------------------------------------------

create or replace view public.profiles with (security_invoker = true) as
select
  coalesce(mg_user_id::text, mg_pass_id) as id,
  mg_pass_id as username,
  coalesce(mg_display_name, nullif(concat_ws(' ', mg_first_name, mg_last_name), '')) as display_name,
  mg_created_at as created_at,
  mg_updated_at as updated_at,
  mg_deleted_at as deleted_at
from public.mega_customers;

-- One project a customer: all that was made for them.
create or replace view public.projects with (security_invoker = true) as
select
  coalesce(mg_user_id::text, mg_pass_id) as id,
  'All work' as name,
  coalesce(mg_user_id::text, mg_pass_id) as owner_id,
  mg_created_at as created_at
from public.mega_customers;

create or replace view public.sessions with (security_invoker = true) as
select
  mg_session_id as id,
  coalesce(mg_user_id::text, mg_pass_id) as project_id,
  mg_title as name,
  coalesce(mg_user_id::text, mg_pass_id) as user_id,
  mg_platform as platform,
  mg_created_at as created_at,
  mg_updated_at as updated_at
from public.mega_generations
where mg_record_type = 'session' and mg_deleted_at is null;

-- `parameters` is the order as it was accepted and, where the generation failed or was cancelled, `error` and
-- `errorContext`. A failure writes its context to `mg_meta.error`; a row that was marked by hand has `mg_error` alone.
-- Users may read this view: it holds no stack. (`offset 0` has each row's parameters made once, however often a query
-- reaches into them.)
create or replace view public.generations with (security_invoker = true) as
select
  mg_generation_id as id,
  mg_session_id as session_id,
  coalesce(mg_user_id::text, mg_pass_id) as user_id,
  coalesce(mg_model, mg_provider) as model_id,
  coalesce(
    mg_prompt,
    nullif(mg_payload #>> '{order,brief}', ''),
    nullif(mg_payload #>> '{order,motion_brief}', ''),
    nullif(mg_payload #>> '{order,feedback}', '')
  ) as prompt,
  nullif(mg_payload #>> '{order,negative_prompt}', '') as negative_prompt,
  made.parameters,
  public.generation_status(mg_mma_status, mg_status) as status,
  mg_created_at as created_at,
  mg_updated_at as updated_at,
  mg_pass_id as pass_id,
  mg_mma_status as mma_status,
  mg_output_url as output_url,
  mg_deadline_at as deadline_at
from public.mega_generations
cross join lateral (
  select coalesce(mg_payload->'order', '{}') || case
    when public.generation_status(mg_mma_status, mg_status) not in ('failed', 'cancelled') then '{}'
    else jsonb_build_object(
      'error', coalesce(mg_error, mg_meta #>> '{error,message}', mg_mma_status, mg_status),
      'errorContext', case
        when mg_meta #> '{error,type}' is not null then mg_meta->'error'
        else jsonb_build_object(
          'message', coalesce(mg_error, mg_meta #>> '{error,message}', mg_mma_status, mg_status),
          'type', case mg_mma_status when 'cancelled' then 'Cancelled' else 'UnknownError' end,
          'timestamp', mg_updated_at,
          'code', mg_meta #> '{error,code}',
          'step', mg_meta #> '{error,step}'
        )
      end || jsonb_build_object('userId', coalesce(mg_user_id::text, mg_pass_id))
    )
  end as parameters
  offset 0
) made
where mg_record_type = 'generation' and mg_deleted_at is null;

create or replace view public.failed_generations_view with (security_invoker = true) as
select
  g.id,
  g.user_id,
  g.model_id,
  g.prompt,
  g.status,
  g.created_at,
  g.parameters->>'error' as error_message,
  g.parameters->'errorContext'->>'type' as error_type,
  p.display_name as user_display_name,
  p.username,
  s.name as session_name,
  pr.name as project_name
from public.generations g
left join public.profiles p on g.user_id = p.id
left join public.sessions s on g.session_id = s.id
left join public.projects pr on s.project_id = pr.id
where g.status = 'failed';

-- The seed says `timestamp`, which the `timestamptz` it selects is not.
create or replace function public.get_failure_stats(hours_back integer default 24)
returns table (model_id text, failure_count bigint, affected_users bigint, latest_failure timestamptz)
language sql stable set search_path = '' as $$
  select g.model_id, count(*), count(distinct g.user_id), max(g.created_at)
  from public.generations g
  where g.status = 'failed' and g.created_at >= now() - make_interval(hours => hours_back)
  group by g.model_id
  order by 2 desc
$$;

-- The one definition of stuck: not final, and nobody will go on with it, or past its deadline. A worker that has not
-- said for so long that it lives is dead; the newborn have some seconds until their job is seen. (PL/pgSQL, because the
-- queue's tables may be installed after this.)
create or replace function public.unfinished_generations(
  dead_after_seconds double precision default 15, newborn_seconds double precision default 10
) returns table (id text, liveness text, is_stuck boolean)
language plpgsql stable set search_path = '' as $$
begin
  return query
  with job as (
    select queued.queueing_lock,
      bool_or(queued.status = 'todo') as is_waiting,
      bool_or(queued.status = 'doing' and worker.last_heartbeat > now() - make_interval(secs => dead_after_seconds))
        as is_running
    from procrastinate.procrastinate_jobs queued
    left join procrastinate.procrastinate_workers worker on worker.id = queued.worker_id
    where queued.status in ('todo', 'doing')
    group by queued.queueing_lock
  ), looked_at as (
    select generation.mg_generation_id, case
      when generation.mg_deadline_at < now() then 'past-deadline'
      when job.is_running then 'running'
      when job.is_waiting then 'waiting'
      when generation.mg_created_at > now() - make_interval(secs => newborn_seconds) then 'too-young'
      when job.queueing_lock is not null then 'worker-lost'
      else 'no-job'
    end as what_now
    from public.mega_generations generation
    left join job on job.queueing_lock = generation.mg_generation_id
    where generation.mg_record_type = 'generation' and generation.mg_pipeline_version is not null
      and generation.mg_mma_status in ('queued', 'scanning', 'prompting', 'generating', 'postscan')
  )
  select mg_generation_id, what_now, what_now in ('past-deadline', 'worker-lost', 'no-job') from looked_at;
end $$;

-- ---------------------------------------------------------------------------------------------------------------
-- Supabase has `auth.users`; elsewhere a table of that name, so that the same queries run
-- ---------------------------------------------------------------------------------------------------------------

do $$
begin
  if to_regclass('auth.users') is null then
    create schema if not exists auth;
    create table auth.users (
      id uuid primary key,
      email text,
      created_at timestamptz not null default now()
    );
    create index users_id_as_text on auth.users ((id::text));
  end if;
end $$;
