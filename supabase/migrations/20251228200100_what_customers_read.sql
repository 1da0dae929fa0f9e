-- A customer does not read step rows: they hold prompt parts, the adapters that serve us and what providers said of their
-- errors. Where customers_read_steps is true they do, each their own; SAFELIGHT_CUSTOMERS_READ_STEPS sets it at `migrate`.

set local lock_timeout = '10s';

insert into safelight.settings (name, value) values ('customers_read_steps', 'false') on conflict (name) do nothing;

-- It is asked once a query, as the owner: customers may not read the settings.
create or replace function public.customers_read_steps() returns boolean
language sql stable security definer set search_path = '' as $$
  select coalesce((select value = 'true' from safelight.settings where name = 'customers_read_steps'), false)
$$;

insert into safelight.guarded (kind, name, for_users, own_rows) values
  ('function', 'customers_read_steps', true, null) -- the policies ask it
on conflict (kind, name) do nothing;

update safelight.guarded set own_rows = 'mg_pass_id = any (array(
    select customer.mg_pass_id from public.mega_customers customer where customer.mg_user_id = (select auth.uid())))
    and (mg_record_type <> ''mma_step'' or (select public.customers_read_steps()))'
where kind = 'relation' and name = 'mega_generations';

drop policy if exists safelight_permissive on public.mega_generations;
drop policy if exists safelight_restrictive on public.mega_generations;

select safelight.guard_rows();

-- Realtime tells of generations alone. The filter is on the key, which is known of every change. There is no list of
-- columns: with one, a table whose replica identity is made full could not be updated any more.
do $$
begin
  if exists (select from pg_publication where pubname = 'supabase_realtime' and not puballtables) then
    if exists (
      select from pg_publication_tables
      where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'mega_generations'
    ) then
      alter publication supabase_realtime drop table public.mega_generations;
    end if;
    alter publication supabase_realtime add table public.mega_generations where (starts_with(mg_id, 'generation:'));
  end if;
exception when insufficient_privilege then
  raise warning 'the publication supabase_realtime belongs to another role: add mega_generations where (starts_with(mg_id, ''generation:''))';
end $$;
