-- The MEGA tables and the job log, from whatever is there: nothing, the published base tables, the MMA patch on
-- top of them, or tables that have drifted. Every statement can run again without a change.

set local lock_timeout = '10s';
set local timezone = 'UTC';

-- ---------------------------------------------------------------------------------------------------------------
-- mega_customers: one row a customer; the balance and the preferences live here
-- ---------------------------------------------------------------------------------------------------------------

create table if not exists public.mega_customers (
  mg_pass_id text primary key
);

alter table public.mega_customers
  add column if not exists mg_shopify_customer_id text,
  add column if not exists mg_user_id uuid,
  add column if not exists mg_email text,
  add column if not exists mg_first_name text,
  add column if not exists mg_last_name text,
  add column if not exists mg_display_name text,
  add column if not exists mg_locale text,
  add column if not exists mg_timezone text,
  add column if not exists mg_marketing_opt_in boolean default false,
  add column if not exists mg_product_updates_opt_in boolean default false,
  add column if not exists mg_credits integer not null default 0,
  add column if not exists mg_expires_at timestamptz,
  add column if not exists mg_last_active timestamptz,
  add column if not exists mg_disabled boolean not null default false,
  add column if not exists mg_verified_email boolean default false,
  add column if not exists mg_verified_google boolean default false,
  add column if not exists mg_verified_apple boolean default false;

alter table public.mega_customers
  add column if not exists mg_verified_any boolean generated always as (
    coalesce(mg_verified_email, false) or coalesce(mg_verified_google, false) or coalesce(mg_verified_apple, false)
  ) stored,
  add column if not exists mg_verification_method text,
  add column if not exists mg_verification_at timestamptz,
  add column if not exists mg_verification_keynumber text,
  add column if not exists mg_topup_default_packs integer not null default 3 check (mg_topup_default_packs >= 0),
  add column if not exists mg_auto_topup_enabled boolean default false,
  add column if not exists mg_auto_topup_monthly_limit_packs integer
    check (mg_auto_topup_monthly_limit_packs is null or mg_auto_topup_monthly_limit_packs >= 0),
  add column if not exists mg_last_topup_at timestamptz,
  add column if not exists mg_topup_source text,
  add column if not exists mg_meta jsonb not null default '{}',
  add column if not exists mg_source_system text,
  add column if not exists mg_deleted_at timestamptz,
  add column if not exists mg_created_at timestamptz not null default now(),
  add column if not exists mg_updated_at timestamptz not null default now(),
  add column if not exists mg_admin_allowlist boolean not null default false,
  add column if not exists mg_mma_preferences jsonb not null default '{}',
  add column if not exists mg_mma_preferences_updated_at timestamptz;

create index if not exists mega_customers_email_idx on public.mega_customers (lower(mg_email));
create index if not exists mega_customers_mma_preferences_gin on public.mega_customers using gin (mg_mma_preferences);

-- A drifted table may hold one identity twice. That is found and mended by people; it must not stop the migration.
do $$
begin
  create unique index if not exists mega_customers_shopify_customer_id_key
    on public.mega_customers (mg_shopify_customer_id) where mg_shopify_customer_id is not null;
exception when unique_violation then
  raise warning 'mega_customers holds a shopify customer id twice; its unique index was not made';
end $$;

do $$
begin
  create unique index if not exists mega_customers_user_id_key
    on public.mega_customers (mg_user_id) where mg_user_id is not null;
exception when unique_violation then
  raise warning 'mega_customers holds a user id twice; its unique index was not made';
end $$;

-- ---------------------------------------------------------------------------------------------------------------
-- mega_generations: generations, their steps and events, sessions, feedback, and the credits ledger
-- ---------------------------------------------------------------------------------------------------------------

create table if not exists public.mega_generations (
  mg_id text primary key,
  mg_record_type text not null
);

alter table public.mega_generations
  add column if not exists mg_pass_id text,
  add column if not exists mg_session_id text,
  add column if not exists mg_generation_id text,
  add column if not exists mg_platform text,
  add column if not exists mg_title text,
  add column if not exists mg_type text,
  add column if not exists mg_prompt text,
  add column if not exists mg_output_url text,
  add column if not exists mg_output_key text,
  add column if not exists mg_provider text,
  add column if not exists mg_model text,
  add column if not exists mg_latency_ms integer,
  add column if not exists mg_input_chars integer,
  add column if not exists mg_output_chars integer,
  add column if not exists mg_input_tokens integer,
  add column if not exists mg_output_tokens integer,
  add column if not exists mg_content_type text,
  add column if not exists mg_status text,
  add column if not exists mg_error text,
  add column if not exists mg_result_type text,
  add column if not exists mg_comment text,
  add column if not exists mg_image_url text,
  add column if not exists mg_video_url text,
  add column if not exists mg_delta integer,
  add column if not exists mg_reason text,
  add column if not exists mg_source text,
  add column if not exists mg_ref_type text,
  add column if not exists mg_ref_id text,
  add column if not exists mg_client_version text,
  add column if not exists mg_os text,
  add column if not exists mg_browser text,
  add column if not exists mg_device text,
  add column if not exists mg_meta jsonb not null default '{}',
  add column if not exists mg_payload jsonb not null default '{}',
  add column if not exists mg_source_system text,
  add column if not exists mg_deleted_at timestamptz,
  add column if not exists mg_created_at timestamptz not null default now(),
  add column if not exists mg_updated_at timestamptz not null default now(),
  add column if not exists mg_parent_id text,
  add column if not exists mg_step_no integer,
  add column if not exists mg_step_type text,
  add column if not exists mg_mma_mode text,
  add column if not exists mg_mma_status text,
  add column if not exists mg_mma_vars jsonb not null default '{}',
  add column if not exists mg_event_at timestamptz,
  -- The number of the lease under which a worker may write to this generation; every take-over raises it.
  add column if not exists mg_lease_no integer not null default 0,
  -- How many job-log lines this generation has: the next line's seq is one more.
  add column if not exists mg_log_seq integer not null default 0,
  -- The version of the pipeline this generation was accepted under, and finishes under.
  add column if not exists mg_pipeline_version integer,
  add column if not exists mg_idempotency_key text,
  add column if not exists mg_request_hash text;

create index if not exists mega_generations_pass_idx on public.mega_generations (mg_pass_id);
create index if not exists mega_generations_session_idx
  on public.mega_generations (mg_session_id) where mg_session_id is not null;
create index if not exists mega_generations_generation_idx
  on public.mega_generations (mg_generation_id) where mg_generation_id is not null;
create index if not exists mega_generations_record_type_idx on public.mega_generations (mg_record_type);
create index if not exists mega_generations_created_idx on public.mega_generations (mg_created_at desc);
create index if not exists mega_generations_generation_recordtype_stepno
  on public.mega_generations (mg_generation_id, mg_record_type, mg_step_no);
create index if not exists mega_generations_pass_recordtype_created
  on public.mega_generations (mg_pass_id, mg_record_type, mg_created_at desc);
create index if not exists mega_generations_mma_vars_gin on public.mega_generations using gin (mg_mma_vars);
create index if not exists mega_generations_mma_steps_lookup
  on public.mega_generations (mg_generation_id, mg_record_type, mg_step_no);
create index if not exists mega_generations_mma_step_type_lookup
  on public.mega_generations (mg_generation_id, mg_step_type);

-- One charge and one refund a generation: a repeated request or a retried job cannot move credits twice.
create unique index if not exists mega_generations_ledger_ref_key
  on public.mega_generations (mg_ref_type, mg_ref_id)
  where mg_record_type = 'credit_transaction' and mg_ref_type in ('mma_charge', 'mma_refund');

create unique index if not exists mega_generations_idempotency_key
  on public.mega_generations (mg_pass_id, mg_idempotency_key)
  where mg_record_type = 'generation' and mg_idempotency_key is not null;

-- ---------------------------------------------------------------------------------------------------------------
-- mega_admin: the ops plane, versioned configuration, admin sessions and their audit
-- ---------------------------------------------------------------------------------------------------------------

create table if not exists public.mega_admin (
  mg_id text primary key,
  mg_record_type text not null
);

alter table public.mega_admin
  add column if not exists mg_actor_pass_id text,
  add column if not exists mg_session_hash text,
  add column if not exists mg_user_id uuid,
  add column if not exists mg_email text,
  add column if not exists mg_ip text,
  add column if not exists mg_user_agent text,
  add column if not exists mg_first_seen_at timestamptz,
  add column if not exists mg_last_seen_at timestamptz,
  add column if not exists mg_profile_id uuid,
  add column if not exists mg_shopify_customer_id text,
  add column if not exists mg_action text,
  add column if not exists mg_route text,
  add column if not exists mg_method text,
  add column if not exists mg_status integer,
  add column if not exists mg_detail jsonb,
  add column if not exists mg_runtime_id integer,
  add column if not exists mg_runtime_flat jsonb,
  add column if not exists mg_key text,
  add column if not exists mg_value jsonb,
  add column if not exists mg_meta jsonb not null default '{}',
  add column if not exists mg_payload jsonb not null default '{}',
  add column if not exists mg_source_system text,
  add column if not exists mg_deleted_at timestamptz,
  add column if not exists mg_created_at timestamptz not null default now(),
  add column if not exists mg_updated_at timestamptz not null default now(),
  add column if not exists mg_error_code text,
  add column if not exists mg_error_message text,
  add column if not exists mg_error_stack text,
  add column if not exists mg_event_at timestamptz;

create index if not exists mega_admin_actor_pass_idx on public.mega_admin (mg_actor_pass_id);
create index if not exists mega_admin_record_type_idx on public.mega_admin (mg_record_type);
create index if not exists mega_admin_session_hash_idx
  on public.mega_admin (mg_session_hash) where mg_session_hash is not null;
create index if not exists mega_admin_created_idx on public.mega_admin (mg_created_at desc);
create index if not exists mega_admin_record_type_created_at on public.mega_admin (mg_record_type, mg_created_at desc);
create index if not exists mega_admin_error_generation_id on public.mega_admin ((mg_detail->>'generation_id'));
create index if not exists mega_admin_error_step_type on public.mega_admin ((mg_detail->>'step_type'));
create index if not exists mega_admin_app_config_key
  on public.mega_admin (mg_key) where mg_record_type = 'app_config';

-- ---------------------------------------------------------------------------------------------------------------
-- What drift may have left: nulls where the contract says {}, old or differently named checks, missing keys
-- ---------------------------------------------------------------------------------------------------------------

do $$
declare
  target record;
begin
  for target in
    select * from (values
      ('mega_customers', 'mg_meta'), ('mega_customers', 'mg_mma_preferences'),
      ('mega_generations', 'mg_meta'), ('mega_generations', 'mg_payload'), ('mega_generations', 'mg_mma_vars'),
      ('mega_admin', 'mg_meta'), ('mega_admin', 'mg_payload')
    ) as wanted (table_name, column_name)
    join information_schema.columns c using (table_name, column_name)
    where c.table_schema = 'public' and (c.is_nullable = 'YES' or c.column_default is null)
  loop
    execute format('update public.%I set %I = ''{}'' where %I is null',
      target.table_name, target.column_name, target.column_name);
    execute format('alter table public.%I alter column %I set default ''{}'', alter column %I set not null',
      target.table_name, target.column_name, target.column_name);
  end loop;
end $$;

-- A check is added without reading old rows, then validated; rows that drift let in stay readable and are named.
create or replace function pg_temp.replace_check(table_name text, check_name text, condition text) returns void
language plpgsql as $$
begin
  execute format('alter table public.%I drop constraint if exists %I', table_name, check_name);
  execute format('alter table public.%I add constraint %I check (%s) not valid', table_name, check_name, condition);
  execute format('alter table public.%I validate constraint %I', table_name, check_name);
exception when check_violation then
  execute format('alter table public.%I drop constraint if exists %I', table_name, check_name);
  execute format('alter table public.%I add constraint %I check (%s) not valid', table_name, check_name, condition);
  raise warning '%: some old rows do not meet %; new rows must', table_name, check_name;
end $$;

-- The published files named no check: whatever a database calls the old list of record types, it goes.
do $$
declare
  old record;
begin
  for old in
    select c.conrelid::regclass as table_name, c.conname
    from pg_constraint c
    join pg_attribute a on a.attrelid = c.conrelid and c.conkey = array[a.attnum]
    where c.contype = 'c' and a.attname = 'mg_record_type'
      and c.conrelid in ('public.mega_generations'::regclass, 'public.mega_admin'::regclass)
  loop
    execute format('alter table %s drop constraint %I', old.table_name, old.conname);
  end loop;
end $$;

select pg_temp.replace_check('mega_generations', 'mega_generations_mg_record_type_check',
  $check$mg_record_type in ('generation', 'session', 'feedback', 'credit_transaction', 'mma_step', 'mma_event')$check$);
select pg_temp.replace_check('mega_admin', 'mega_admin_mg_record_type_check',
  $check$mg_record_type in ('admin_session', 'admin_audit', 'profile', 'runtime_config', 'app_config', 'error', 'warn')$check$);
select pg_temp.replace_check('mega_generations', 'mega_generations_mma_step_requires_fields',
  $check$mg_record_type <> 'mma_step' or (mg_step_no is not null and mg_step_type is not null
    and mg_generation_id is not null and mg_parent_id like 'generation:%')$check$);
select pg_temp.replace_check('mega_generations', 'mega_generations_mma_status_check',
  $check$mg_mma_status in ('queued', 'scanning', 'prompting', 'generating', 'postscan',
    'done', 'error', 'suggested', 'cancelled', 'partial')$check$);

do $$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('mega_generations', 'mg_pass_id'), ('mega_admin', 'mg_actor_pass_id')) as key (table_name, column_name)
  loop
    if not exists (
      select from pg_constraint c
      join pg_attribute a on a.attrelid = c.conrelid and c.conkey = array[a.attnum]
      where c.contype = 'f' and c.conrelid = format('public.%I', wanted.table_name)::regclass
        and a.attname = wanted.column_name
    ) then
      execute format('alter table public.%I add constraint %I foreign key (%I)
        references public.mega_customers (mg_pass_id) on update cascade not valid',
        wanted.table_name, wanted.table_name || '_' || wanted.column_name || '_fkey', wanted.column_name);
    end if;
  end loop;
end $$;

create or replace function public.mega_set_updated_at() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.mg_updated_at := now();
  return new;
end $$;

create or replace trigger mega_customers_set_updated_at before update on public.mega_customers
  for each row execute function public.mega_set_updated_at();
create or replace trigger mega_generations_set_updated_at before update on public.mega_generations
  for each row execute function public.mega_set_updated_at();
create or replace trigger mega_admin_set_updated_at before update on public.mega_admin
  for each row execute function public.mega_set_updated_at();

-- ---------------------------------------------------------------------------------------------------------------
-- image_generation_logs: the lines a person may read while waiting; `seq` has no holes within a job
-- ---------------------------------------------------------------------------------------------------------------

create table if not exists public.image_generation_logs (
  id uuid default gen_random_uuid() primary key,
  job_id uuid not null,
  user_id uuid,
  level varchar(20) not null default 'info',
  step varchar(100) not null,
  message text not null,
  details jsonb,
  created_at timestamptz default now()
);

alter table public.image_generation_logs add column if not exists seq integer;

-- A table made from the seed document ties each line to tables that are views here, and demands a signed-in user.
do $$
declare
  old record;
begin
  for old in
    select conname from pg_constraint
    where contype = 'f' and conrelid = 'public.image_generation_logs'::regclass
  loop
    execute format('alter table public.image_generation_logs drop constraint %I', old.conname);
  end loop;
end $$;

alter table public.image_generation_logs alter column user_id drop not null;

update public.image_generation_logs line set seq = numbered.seq
from (
  select id, row_number() over (partition by job_id order by created_at, id) as seq
  from public.image_generation_logs
) numbered
where line.id = numbered.id and line.seq is null;

alter table public.image_generation_logs alter column seq set not null;

create unique index if not exists image_generation_logs_job_seq on public.image_generation_logs (job_id, seq);

select pg_temp.replace_check('image_generation_logs', 'image_generation_logs_level_check',
  $check$level in ('info', 'success', 'warning', 'error')$check$);
