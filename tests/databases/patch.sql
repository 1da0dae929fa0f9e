-- The published MMA patch: columns and indexes, but the old lists of record types stay.
alter table public.mega_customers
  add column if not exists mg_mma_preferences jsonb not null default '{}',
  add column if not exists mg_mma_preferences_updated_at timestamptz;
alter table public.mega_generations
  add column if not exists mg_parent_id text,
  add column if not exists mg_step_no integer,
  add column if not exists mg_step_type text,
  add column if not exists mg_mma_mode text,
  add column if not exists mg_mma_status text,
  add column if not exists mg_mma_vars jsonb not null default '{}';
create index if not exists mega_generations_mma_vars_gin on public.mega_generations using gin (mg_mma_vars);
alter table public.mega_generations add constraint mega_generations_mma_step_requires_fields check (
  mg_record_type <> 'mma_step' or (mg_step_no is not null and mg_step_type is not null
    and mg_generation_id is not null and mg_parent_id like 'generation:%'));
