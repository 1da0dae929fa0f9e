-- What a browser reports of a generation is beside it in the ops plane, and is no record of its failure: anybody can
-- report anything.

set local lock_timeout = '10s';

create or replace function public.mega_demand_both_planes() returns trigger
language plpgsql set search_path = '' as $$
begin
  if current_setting('application_name') <> 'safelight' then
    return null;
  end if;
  if not exists (
    select from public.mega_admin
    where mg_record_type in ('error', 'warn') and mg_detail->>'generation_id' = new.mg_generation_id
      and mg_action is distinct from 'frontend.error'
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
