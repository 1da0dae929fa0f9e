-- What must never happen, whoever writes: a final status that changes, a finished step that is written again, a failure
-- that one plane does not know of, a log with a hole, a refund without its charge, a row under a wrong name.

set local lock_timeout = '10s';

-- ---------------------------------------------------------------------------------------------------------------
-- A final status is final. The update is passed over with a warning rather than refused: an operator's statement over
-- many generations (seed 000 section 5.2) does what is right for the others.
-- ---------------------------------------------------------------------------------------------------------------

create or replace function public.mega_keep_final_status() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise warning '% is % and stays so', old.mg_id, old.mg_mma_status;
  return null;
end $$;

create or replace trigger mega_generations_keep_final_status before update on public.mega_generations
  for each row
  when (
    old.mg_record_type = 'generation'
    and old.mg_mma_status in ('done', 'error', 'suggested', 'cancelled', 'partial')
    and new.mg_mma_status is distinct from old.mg_mma_status
  )
  execute function public.mega_keep_final_status();

-- ---------------------------------------------------------------------------------------------------------------
-- A finished step is history
-- ---------------------------------------------------------------------------------------------------------------

create or replace function public.mega_refuse_rewriting_step() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'the step % has ended and never changes again', old.mg_id using errcode = 'restrict_violation';
end $$;

create or replace trigger mega_generations_refuse_rewriting_step before update on public.mega_generations
  for each row
  when (
    old.mg_record_type = 'mma_step'
    and old.mg_payload #>> '{timing,ended_at}' is not null
    and (
      new.mg_payload is distinct from old.mg_payload
      or new.mg_step_no is distinct from old.mg_step_no
      or new.mg_step_type is distinct from old.mg_step_type
      or new.mg_generation_id is distinct from old.mg_generation_id
      or new.mg_record_type is distinct from old.mg_record_type
    )
  )
  execute function public.mega_refuse_rewriting_step();

-- ---------------------------------------------------------------------------------------------------------------
-- Both planes (seed 000 section 4): what our engine fails is in the run plane and in the ops plane when it commits.
-- An operator who marks a generation by hand (seed 000 section 5.2, as written) is let through; `safelight doctor` finds
-- what that leaves open.
-- ---------------------------------------------------------------------------------------------------------------

create or replace function public.mega_demand_both_planes() returns trigger
language plpgsql set search_path = '' as $$
begin
  if current_setting('application_name') <> 'safelight' then
    return null;
  end if;
  if not exists (
    select from public.mega_admin
    where mg_record_type in ('error', 'warn') and mg_detail->>'generation_id' = new.mg_generation_id
  ) then
    raise exception '% failed without a row in the ops plane', new.mg_id using errcode = 'integrity_constraint_violation';
  end if;
  if new.mg_record_type = 'generation' and not exists (
    select from public.mega_generations
    where mg_record_type = 'mma_step' and mg_generation_id = new.mg_generation_id and mg_status = 'failed'
  ) then
    raise exception '% failed without a failed step', new.mg_id using errcode = 'integrity_constraint_violation';
  end if;
  return null;
end $$;

drop trigger if exists mega_generations_demand_both_planes on public.mega_generations;
create constraint trigger mega_generations_demand_both_planes after update on public.mega_generations
  deferrable initially deferred
  for each row
  when (
    new.mg_record_type = 'generation' and new.mg_pipeline_version is not null
    and new.mg_mma_status in ('error', 'cancelled', 'partial')
    and old.mg_mma_status is distinct from new.mg_mma_status
  )
  execute function public.mega_demand_both_planes();

drop trigger if exists mega_generations_demand_ops_row on public.mega_generations;
create constraint trigger mega_generations_demand_ops_row after insert or update on public.mega_generations
  deferrable initially deferred
  for each row
  when (new.mg_record_type = 'mma_step' and new.mg_status = 'failed')
  execute function public.mega_demand_both_planes();

-- ---------------------------------------------------------------------------------------------------------------
-- The job log has no hole: a line stands after the one before it
-- ---------------------------------------------------------------------------------------------------------------

create or replace function public.image_generation_logs_refuse_hole() returns trigger
language plpgsql set search_path = '' as $$
begin
  if exists (
    select from written
    where seq <> 1 and not exists (
      select from public.image_generation_logs line where line.job_id = written.job_id and line.seq = written.seq - 1
    )
  ) then
    raise exception 'a line of the job log must follow the one before it' using errcode = 'integrity_constraint_violation';
  end if;
  return null;
end $$;

create or replace trigger image_generation_logs_refuse_hole after insert on public.image_generation_logs
  referencing new table as written
  for each statement execute function public.image_generation_logs_refuse_hole();

-- ---------------------------------------------------------------------------------------------------------------
-- A refund gives back at most what was charged
-- ---------------------------------------------------------------------------------------------------------------

create or replace function public.mega_refuse_refund_beyond_charge() returns trigger
language plpgsql set search_path = '' as $$
begin
  if new.mg_delta > coalesce((
    select -mg_delta from public.mega_generations
    where mg_record_type = 'credit_transaction' and mg_ref_type = 'mma_charge' and mg_ref_id = new.mg_ref_id
  ), 0) then
    raise exception 'the refund % is more than its charge', new.mg_ref_id using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end $$;

create or replace trigger mega_generations_refuse_refund_beyond_charge before insert on public.mega_generations
  for each row
  when (new.mg_record_type = 'credit_transaction' and new.mg_ref_type = 'mma_refund')
  execute function public.mega_refuse_refund_beyond_charge();

-- ---------------------------------------------------------------------------------------------------------------
-- Names and balances. Old rows that do not meet a check stay readable and are named; new rows must meet it.
-- ---------------------------------------------------------------------------------------------------------------

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

select pg_temp.replace_check('mega_generations', 'mega_generations_id_names_record_type',
  $check$starts_with(mg_id, mg_record_type || ':')$check$);
-- Warnings were once written under the name of errors.
select pg_temp.replace_check('mega_admin', 'mega_admin_id_names_record_type',
  $check$starts_with(mg_id, mg_record_type || ':') or (mg_record_type = 'warn' and starts_with(mg_id, 'error:'))$check$);
select pg_temp.replace_check('mega_customers', 'mega_customers_credits_not_negative', $check$mg_credits >= 0$check$);
