-- Scripts of the job log bring policies of their own; ours hold beside them.

set local lock_timeout = '10s';

-- Lines that a user adds: the condition stands twice, as for reading. A script's policy asks for the user alone, not
-- for whose job it is.

create or replace function safelight.guard_inserts(relation regclass, listed safelight.guarded) returns void
language plpgsql set search_path = '' as $$
declare
  role text;
begin
  for role in select safelight.role_names('authenticated') loop
    execute format('grant insert (%s) on %s to %s', listed.inserted_columns, relation, role);
    perform safelight.ensure_policy(relation, 'safelight_insert',
      format('permissive for insert to %s with check (%s)', role, listed.inserted_rows));
    perform safelight.ensure_policy(relation, 'safelight_insert_restrictive',
      format('restrictive for insert to %s with check (%s)', role, listed.inserted_rows));
  end loop;
end $$;

select safelight.guard_rows();
