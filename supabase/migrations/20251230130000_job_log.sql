-- Whoever follows a job log is told of a line that somebody else than the engine wrote, as of one of the engine's.

set local lock_timeout = '10s';

-- The engine tells outside of its transactions, many jobs at once; the few lines of others may wait for each other.
create or replace function public.image_generation_logs_notify() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.pg_notify('safelight_lines', new.job_id::text);
  return new;
end $$;

-- Named so that it runs before the trigger that gives the number: the engine's lines have theirs.
create or replace trigger image_generation_logs_notify before insert on public.image_generation_logs
  for each row when (new.seq is null)
  execute function public.image_generation_logs_notify();

insert into safelight.guarded (kind, name, for_users, own_rows) values
  ('function', 'image_generation_logs_notify', false, null)
on conflict (kind, name) do nothing;

select safelight.guard_rows();
