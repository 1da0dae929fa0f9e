-- Generations whose result is a set of positions: image jobs (variant x source) and model runs (result number). Such a set
-- may end in part, be reopened for what is missing, and is charged for what was made.

set local lock_timeout = '10s';

-- Views of these names are made below. Tables of another system keep theirs, under another name.
do $$
declare
  taken text;
begin
  select string_agg(format('public.%I', relname), ', ' order by relname) into taken
  from pg_catalog.pg_class
  where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'f', 'm') and relname in (
    'image_generation_jobs', 'generated_images', 'generated_carousel_images', 'file_metadata', 'credit_transactions');
  if taken is not null then
    raise exception 'there are tables where Safelight shows views: %', taken
      using errcode = 'duplicate_table',
        hint = 'Rename each, then migrate again: alter table public.NAME rename to NAME_before_safelight';
  end if;
end $$;

-- ---------------------------------------------------------------------------------------------------------------
-- A final status is final, but for one way out: a set that ended in part is reopened to make what is missing.
-- ---------------------------------------------------------------------------------------------------------------

create or replace trigger mega_generations_keep_final_status before update on public.mega_generations
  for each row
  when (
    old.mg_record_type = 'generation'
    and old.mg_mma_status in ('done', 'error', 'suggested', 'cancelled', 'partial')
    and new.mg_mma_status is distinct from old.mg_mma_status
    and not (
      old.mg_mma_status = 'partial' and new.mg_mma_status = 'queued' and old.mg_mma_mode in ('image_job', 'model_run')
      and new.mg_deleted_at is null
    )
  )
  execute function public.mega_keep_final_status();

-- ---------------------------------------------------------------------------------------------------------------
-- Money: a set has a charge for each round (`mma:<id>`, then `mma:<id>:retry:<n>`) and a refund for each round that left
-- something out (`mma:<id>:refund:<n>`). Together the refunds are at most what was charged.
-- ---------------------------------------------------------------------------------------------------------------

-- Whoever writes a refund holds the lock of the generation's row, so that two of them are not added up side by side.
create or replace function public.mega_refuse_refund_beyond_charge() returns trigger
language plpgsql set search_path = '' as $$
begin
  if exists (
    select from public.mega_generations
    where mg_record_type = 'credit_transaction' and mg_ref_type = 'mma_refund' and mg_ref_id = new.mg_ref_id
  ) then
    return new; -- given back before: the unique index decides
  end if;
  if new.mg_delta > coalesce((
    select -sum(mg_delta) from public.mega_generations
    where mg_generation_id = new.mg_generation_id and mg_record_type = 'credit_transaction'
      and mg_ref_type in ('mma_charge', 'mma_refund')
  ), 0) then
    raise exception 'the refund % is more than what was charged', new.mg_ref_id
      using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end $$;

-- ---------------------------------------------------------------------------------------------------------------
-- The job log belongs to everybody: a line that is written without `seq` gets its number here, under the lock of its
-- generation's row. With the rights of the owner: a signed-in user may write lines, and no generation.
-- ---------------------------------------------------------------------------------------------------------------

create or replace function public.image_generation_logs_number() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  lines_max constant integer := 50000;
  generation record;
begin
  if new.job_id is null then
    return new; -- the table refuses it
  end if;
  update public.mega_generations set mg_log_seq = mg_log_seq + 1
  where mg_id = 'generation:' || new.job_id and mg_record_type = 'generation'
  returning mg_log_seq, mg_mma_mode into generation;
  if not found then
    raise exception 'job_id: there is no generation %', new.job_id using errcode = 'foreign_key_violation';
  end if;
  if generation.mg_log_seq > lines_max then
    raise exception 'job_id: the log of % is full; it holds at most % lines', new.job_id, lines_max
      using errcode = 'program_limit_exceeded';
  end if;
  if generation.mg_mma_mode = 'image_job' and new.step not in ('initialization', 'validation', 'base_generation',
      'variant_creation', 'processing', 'upload', 'completion', 'cleanup') then
    raise exception 'step: % is none of the steps of an image job: initialization, validation, base_generation, '
      'variant_creation, processing, upload, completion, cleanup', new.step using errcode = 'check_violation';
  end if;
  new.seq := generation.mg_log_seq;
  new.created_at := coalesce(new.created_at, now());
  return new;
end $$;

-- Named so that it runs before the trigger that seals the line.
create or replace trigger image_generation_logs_number before insert on public.image_generation_logs
  for each row when (new.seq is null)
  execute function public.image_generation_logs_number();

-- It seals the lines of users too, who may not use our schema.
create or replace function safelight.seal_line() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  new.row_hash := safelight.row_hash(new);
  return new;
end $$;

alter table public.image_generation_logs drop constraint if exists image_generation_logs_sizes_check;
alter table public.image_generation_logs add constraint image_generation_logs_sizes_check check (
  char_length(message) <= 4000 and char_length(step) <= 100 and octet_length(details::text) <= 65536
) not valid;

-- A signed-in user reads the lines of their own generations, and may add some in their own name.
alter table safelight.guarded
  add column if not exists inserted_columns text, -- those that users may state in rows they add; none: they add none
  add column if not exists inserted_rows text; -- the condition that holds for rows that users add

update safelight.guarded set
  inserted_columns = 'job_id, user_id, level, step, message, details',
  inserted_rows = 'user_id = (select auth.uid()) and exists (
    select from public.mega_generations generation
    where generation.mg_id = ''generation:'' || image_generation_logs.job_id and generation.mg_pass_id = any (array(
      select customer.mg_pass_id from public.mega_customers customer where customer.mg_user_id = (select auth.uid()))))'
where kind = 'relation' and name = 'image_generation_logs';

create or replace function safelight.guard_inserts(relation regclass, listed safelight.guarded) returns void
language plpgsql set search_path = '' as $$
declare
  role text;
begin
  for role in select safelight.role_names('authenticated') loop
    execute format('grant insert (%s) on %s to %s', listed.inserted_columns, relation, role);
    perform safelight.ensure_policy(relation, 'safelight_insert',
      format('permissive for insert to %s with check (%s)', role, listed.inserted_rows));
  end loop;
end $$;

create or replace function safelight.guard_rows() returns void
language plpgsql set search_path = '' as $$
declare
  -- Read before, since a table in use cannot be altered.
  listed constant safelight.guarded[] := array(select guarded from safelight.guarded guarded);
begin
  perform safelight.grant_only(format('schema %I', nspname), null)
  from pg_catalog.pg_namespace where nspname in ('safelight', 'procrastinate');

  perform safelight.guard_relation(relation.oid, coalesce(guarded.for_users, false), guarded.own_rows)
  from pg_catalog.pg_class relation
  join pg_catalog.pg_namespace space on space.oid = relation.relnamespace
  left join unnest(listed) guarded
    on guarded.kind = 'relation' and space.nspname = 'public' and guarded.name = relation.relname
  where relation.relkind in ('r', 'p', 'v', 'm', 'S')
    and (space.nspname in ('safelight', 'procrastinate') or guarded.name is not null);

  perform safelight.guard_inserts(format('public.%I', guarded.name)::regclass, guarded)
  from unnest(listed) guarded
  where guarded.inserted_columns is not null and to_regclass(format('public.%I', guarded.name)) is not null;

  perform safelight.grant_only(
    format('routine %s', routine.oid::regprocedure), case when guarded.for_users then 'execute' end)
  from pg_catalog.pg_proc routine
  join pg_catalog.pg_namespace space on space.oid = routine.pronamespace
  left join unnest(listed) guarded
    on guarded.kind = 'function' and space.nspname = 'public' and guarded.name = routine.proname
  where space.nspname in ('safelight', 'procrastinate') or guarded.name is not null;
end $$;

insert into safelight.guarded (kind, name, for_users, own_rows) values
  ('function', 'image_generation_logs_number', false, null)
on conflict (kind, name) do nothing;


-- ---------------------------------------------------------------------------------------------------------------
-- What cannot be done in a transaction, or would hold a lock for as long as it reads a table: `safelight migrate` does it
-- after the migrations, one statement at a time, and `safelight doctor` names what is still open.
-- ---------------------------------------------------------------------------------------------------------------

create table if not exists safelight.online_work (
  statement text primary key,
  reason text not null,
  noted_at timestamptz not null default now()
);
alter table safelight.online_work enable row level security;

-- ---------------------------------------------------------------------------------------------------------------
-- Partial completion has its word in `generations.status`. Rows that are partial already stand under the old word in two
-- indexes until these are made anew, which blocks nobody.
-- ---------------------------------------------------------------------------------------------------------------

create or replace function public.generation_status(mma_status text, record_status text) returns text
language sql immutable parallel safe as $$
  select case
    when coalesce(mma_status, record_status) in ('error', 'failed') then 'failed'
    when coalesce(mma_status, record_status) = 'cancelled' then 'cancelled'
    when coalesce(mma_status, record_status) in ('queued', 'pending') then 'queued'
    when coalesce(mma_status, record_status)
      in ('scanning', 'prompting', 'generating', 'postscan', 'processing') then 'processing'
    when coalesce(mma_status, record_status) in ('partial', 'completed_partial') then 'completed_partial'
    else 'completed'
  end
$$;

insert into safelight.online_work (statement, reason)
select 'reindex index concurrently public.' || name, 'generation_status() says completed_partial since this version'
from unnest(array['mega_generations_not_completed', 'mega_generations_of_user']) name
on conflict (statement) do nothing;

-- ---------------------------------------------------------------------------------------------------------------
-- Projects, templates and the files that customers stored are rows too
-- ---------------------------------------------------------------------------------------------------------------

alter table public.mega_generations drop constraint if exists mega_generations_mg_record_type_check;
alter table public.mega_generations add constraint mega_generations_mg_record_type_check check (
  mg_record_type in ('generation', 'session', 'feedback', 'credit_transaction', 'mma_step', 'mma_event', 'project',
    'template', 'file')
) not valid;
insert into safelight.online_work (statement, reason) values
  ('alter table public.mega_generations validate constraint mega_generations_mg_record_type_check',
    'the list of record types was extended'),
  ('alter table public.image_generation_logs validate constraint image_generation_logs_sizes_check',
    'lines of the job log have a greatest size')
on conflict (statement) do nothing;

alter table public.mega_generations add column if not exists mg_project_id text;

insert into safelight.online_work (statement, reason) values
  ($$create index concurrently if not exists mega_generations_of_project on public.mega_generations (mg_project_id, mg_created_at desc)
  where mg_project_id is not null$$,
    'sets, projects and favorites are found by indexes'),
  ($$create index concurrently if not exists mega_generations_favorites on public.mega_generations (mg_pass_id, mg_created_at desc)
  where mg_record_type = 'generation' and mg_meta->>'favorite' = 'true'$$,
    'sets, projects and favorites are found by indexes'),
  ($$create index concurrently if not exists mega_generations_projects on public.mega_generations (substr(mg_id, 9))
  where mg_record_type = 'project'$$,
    'sets, projects and favorites are found by indexes'),
  ($$create index concurrently if not exists mega_generations_image_jobs on public.mega_generations ((mg_generation_id::uuid))
  where mg_record_type = 'generation' and mg_mma_mode = 'image_job'$$,
    'sets, projects and favorites are found by indexes'),
  ($$create index concurrently if not exists mega_generations_variants on public.mega_generations ((mg_generation_id::uuid))
  where mg_record_type = 'mma_step' and mg_step_type = 'variant_creation'$$,
    'sets, projects and favorites are found by indexes')
on conflict (statement) do nothing;

-- Like the rows that belong to a user by their customer: sessions and generations.
create or replace trigger mega_generations_set_user before insert or update of mg_pass_id on public.mega_generations
  for each row when (new.mg_record_type in ('generation', 'session', 'project', 'template', 'file'))
  execute function public.mega_generations_set_user();

create or replace function public.mega_customers_tell_user() returns trigger
language plpgsql set search_path = '' as $$
begin
  update public.mega_generations set mg_user_id = new.mg_user_id
  where mg_pass_id = new.mg_pass_id
    and mg_record_type in ('generation', 'session', 'project', 'template', 'file');
  return null;
end $$;

-- ---------------------------------------------------------------------------------------------------------------
-- A customer reads the steps that make the positions of a set: they hold its files, seeds and settings, nothing of
-- prompts or providers. Each position that was made is charged, so that it may be read while others are made.
-- ---------------------------------------------------------------------------------------------------------------

update safelight.guarded set own_rows = replace(
  own_rows,
  $old$(mg_record_type <> 'mma_step' or (select public.customers_read_steps()))$old$,
  $new$(mg_record_type <> 'mma_step' or mg_step_type = 'variant_creation' or (select public.customers_read_steps()))$new$
)
where kind = 'relation' and name = 'mega_generations';

drop policy if exists safelight_permissive on public.mega_generations;
drop policy if exists safelight_restrictive on public.mega_generations;

-- ---------------------------------------------------------------------------------------------------------------
-- The tables of seeds 002 and 003, as views
-- ---------------------------------------------------------------------------------------------------------------

-- One project for all that was made before there were projects, and those that customers made.
create or replace view public.projects with (security_invoker = true) as
select
  coalesce(mg_user_id::text, mg_pass_id) as id,
  'All work' as name,
  coalesce(mg_user_id::text, mg_pass_id) as owner_id,
  mg_created_at as created_at
from public.mega_customers
union all
select
  substr(mg_id, 9),
  mg_title,
  coalesce(mg_user_id::text, mg_pass_id),
  mg_created_at
from public.mega_generations
where mg_record_type = 'project' and mg_deleted_at is null;

-- `progress` counts work: 30 % the base images, 70 % the positions. `prompt` and `template_description` are JSON texts, as
-- seed 002's clients read them.
create or replace view public.image_generation_jobs with (security_invoker = true) as
select
  mg_generation_id::uuid as id,
  mg_title as name,
  (mg_payload #>> '{order,template_id}')::uuid as template_id,
  coalesce(mg_payload #>> '{order,template_name}', mg_title || ' Template') as template_name,
  jsonb_build_object('source_images', jsonb_path_query_array(mg_payload, '$.order.sources[*].url'))::text
    as template_description,
  public.generation_status(mg_mma_status, mg_status) as status,
  case
    when mg_mma_status in ('done', 'partial', 'cancelled') then 100
    else coalesce(
      floor(30.0 * (mg_mma_vars #>> '{progress,bases}')::integer
        / nullif(jsonb_array_length(mg_payload #> '{order,sources}'), 0))
      + floor(70.0 * (mg_mma_vars #>> '{progress,made}')::integer
        / nullif((mg_mma_vars #>> '{progress,expected}')::integer, 0)),
      0)::integer
  end as progress,
  coalesce(mg_error, mg_mma_vars #>> '{userMessages,final_line}') as message,
  (mg_payload #>> '{order,variants}')::integer as variants,
  jsonb_build_object(
    'prompts', (
      select coalesce(jsonb_agg(coalesce(nullif(source->>'prompt', ''), mg_payload #>> '{order,prompt}') order by place), '[]')
      from jsonb_array_elements(mg_payload #> '{order,sources}') with ordinality as listed (source, place)
    ),
    'settings', jsonb_strip_nulls(jsonb_build_object(
      'aspect_ratio', mg_payload #> '{order,aspect_ratio}', 'quality', mg_payload #> '{order,quality}'))
  )::text as prompt,
  jsonb_strip_nulls(jsonb_build_object(
    'aspect_ratio', mg_payload #> '{order,aspect_ratio}', 'quality', mg_payload #> '{order,quality}',
    'post_processing', mg_payload #> '{order,post_processing}')) as settings,
  mg_created_at as created_at,
  mg_updated_at as updated_at,
  (mg_meta->>'completed_at')::timestamptz as completed_at,
  mg_user_id as user_id
from public.mega_generations
where mg_record_type = 'generation' and mg_mma_mode = 'image_job' and mg_deleted_at is null;

-- One row for each position that was made: `carousel_index` is the variant, `image_index` the source, both from 0.
create or replace view public.generated_images with (security_invoker = true) as
select
  md5(step.mg_generation_id || ':' || (slide->>'variant') || ':' || (slide->>'source'))::uuid as id,
  step.mg_generation_id::uuid as job_id,
  (slide->>'variant')::integer as carousel_index,
  (slide->>'source')::integer as image_index,
  read.sources #>> array[slide->>'source', 'url'] as source_image_url,
  slide->>'url' as generated_image_url,
  slide->>'key' as storage_path,
  (slide->>'width')::integer as width,
  (slide->>'height')::integer as height,
  coalesce(nullif(read.sources #>> array[slide->>'source', 'prompt'], ''), read.prompt) as prompt_used,
  step.mg_payload #> '{input,settings}' as settings_used,
  step.mg_updated_at as created_at,
  job.mg_user_id as user_id,
  (step.mg_payload #>> '{input,variant_id}')::uuid as variant_id
from public.mega_generations step
join public.mega_generations job on job.mg_id = step.mg_parent_id and job.mg_deleted_at is null
-- Read once for each variant, not for each of its pictures: an order may be large.
cross join lateral (
  select job.mg_payload #> '{order,sources}' as sources, job.mg_payload #>> '{order,prompt}' as prompt offset 0
) read
cross join lateral jsonb_array_elements(step.mg_payload #> '{output,slides}') slide
where step.mg_record_type = 'mma_step' and step.mg_step_type = 'variant_creation'
  and step.mg_payload #>> '{timing,ended_at}' is not null;

create or replace view public.generated_carousel_images with (security_invoker = true) as
select * from public.generated_images;

-- Files that customers stored, and results: of one generation, or of each position of a set.
create or replace view public.file_metadata with (security_invoker = true) as
select
  substr(mg_id, 6) as id,
  mg_user_id as user_id,
  mg_generation_id as generation_id,
  mg_meta->>'bucket' as bucket_name,
  mg_output_key as file_path,
  mg_title as original_filename,
  (mg_meta->>'bytes')::bigint as file_size,
  mg_content_type as content_type,
  mg_meta->>'sha256' as file_hash,
  false as is_thumbnail,
  true as is_processed,
  mg_meta as metadata,
  mg_project_id as project_id,
  mg_created_at as created_at,
  mg_updated_at as updated_at,
  (mg_meta->>'expires_at')::timestamptz as expires_at
from public.mega_generations
where mg_record_type = 'file' and mg_deleted_at is null
union all
select
  mg_generation_id, mg_user_id, mg_generation_id, 'public', mg_output_key, null,
  (mg_mma_vars #>> '{outputs,file,bytes}')::bigint, mg_mma_vars #>> '{outputs,file,media_type}',
  mg_mma_vars #>> '{outputs,file,sha256}', false, true, '{}', mg_project_id, mg_created_at, mg_updated_at, null
from public.mega_generations
where mg_record_type = 'generation' and mg_mma_status = 'done' and mg_output_key is not null and mg_deleted_at is null
union all
select
  md5(step.mg_generation_id || ':' || (slide->>'variant') || ':' || (slide->>'source')),
  job.mg_user_id, step.mg_generation_id, 'public', slide->>'key', null, (slide->>'bytes')::bigint,
  slide->>'media_type', slide->>'sha256', false, true,
  jsonb_build_object('variant', slide->'variant', 'source', slide->'source'), job.mg_project_id, step.mg_updated_at,
  step.mg_updated_at, null
from public.mega_generations step
join public.mega_generations job on job.mg_id = step.mg_parent_id and job.mg_deleted_at is null
cross join lateral jsonb_array_elements(step.mg_payload #> '{output,slides}') slide
where step.mg_record_type = 'mma_step' and step.mg_step_type = 'variant_creation'
  and step.mg_payload #>> '{timing,ended_at}' is not null;

-- `balance_after` is known of entries since this version, and of charges and grants of before.
create or replace view public.credit_transactions with (security_invoker = true) as
select
  substr(entry.mg_id, 20) as id,
  customer.mg_user_id as user_id,
  case
    when entry.mg_ref_type = 'mma_charge' then 'usage'
    when entry.mg_ref_type = 'mma_refund' then 'refund'
    when entry.mg_ref_type = 'shopify_order' then 'purchase'
    when entry.mg_ref_type = 'shopify_refund' then 'purchase_refund'
    when entry.mg_ref_type = 'expiration' then 'expiration'
    when entry.mg_delta > 0 then 'bonus'
    else 'adjustment'
  end as transaction_type,
  entry.mg_delta as amount,
  (entry.mg_meta->>'credits_after')::bigint as balance_after,
  entry.mg_reason as description,
  jsonb_strip_nulls(jsonb_build_object(
    'generation_id', entry.mg_generation_id, 'ref_type', entry.mg_ref_type, 'ref_id', entry.mg_ref_id
  )) as metadata,
  entry.mg_created_at as created_at
from public.mega_generations entry
join public.mega_customers customer using (mg_pass_id)
where entry.mg_record_type = 'credit_transaction';

insert into safelight.guarded (kind, name, for_users, own_rows) values
  ('relation', 'image_generation_jobs', true, null),
  ('relation', 'generated_images', true, null),
  ('relation', 'generated_carousel_images', true, null),
  ('relation', 'file_metadata', true, null),
  ('relation', 'credit_transactions', true, null)
on conflict (kind, name) do nothing;

select safelight.guard_rows();
