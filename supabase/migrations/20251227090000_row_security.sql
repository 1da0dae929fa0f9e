-- Who may read and write: a signed-in user reads what is theirs and writes nothing, a visitor does neither, the service
-- role does everything. The owner of the tables, who the API and the workers connect as, is not held to any of this.

set local lock_timeout = '10s';

create schema if not exists safelight;

-- ---------------------------------------------------------------------------------------------------------------
-- Supabase has these roles and `auth.uid()`. Elsewhere they are made, where the migrating role may.
-- ---------------------------------------------------------------------------------------------------------------

do $$
declare
  wanted text;
begin
  foreach wanted in array array['anon', 'authenticated', 'service_role'] loop
    if not exists (select from pg_roles where rolname = wanted) then
      begin
        execute format('create role %I nologin noinherit', wanted);
      exception
        when insufficient_privilege then
          raise warning 'the role % is not there and may not be made; once it is: select safelight.guard_rows()', wanted;
        when duplicate_object or unique_violation then
          null; -- another database of this server was migrated at the same moment
      end;
    end if;
  end loop;
end $$;

do $$
begin
  if to_regprocedure('auth.uid()') is null then
    create function auth.uid() returns uuid
    language sql stable set search_path = '' as $uid$
      select coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb->>'sub'
      )::uuid
    $uid$;
  end if;
end $$;

-- ---------------------------------------------------------------------------------------------------------------
-- What in the schema `public` is ours: others may live there too, and are left alone
-- ---------------------------------------------------------------------------------------------------------------

create table if not exists safelight.guarded (
  kind text not null check (kind in ('relation', 'function')),
  name text not null,
  -- Signed-in users may read it, or call it. A view shows them what they may read of its tables.
  for_users boolean not null,
  -- Of a table: the condition that holds for a user's own rows.
  own_rows text,
  primary key (kind, name)
);

-- The arrays are worked out once a query, so that indexes on the left side are used. What a user may read of
-- `mega_generations` decides whose lines they may read.
insert into safelight.guarded (kind, name, for_users, own_rows) values
  ('relation', 'mega_customers', true, 'mg_user_id = (select auth.uid())'),
  ('relation', 'mega_generations', true, 'mg_pass_id = any (array(
    select customer.mg_pass_id from public.mega_customers customer where customer.mg_user_id = (select auth.uid())))'),
  ('relation', 'image_generation_logs', true, 'exists (
    select from public.mega_generations generation
    where generation.mg_id = ''generation:'' || image_generation_logs.job_id and generation.mg_pass_id = any (array(
      select customer.mg_pass_id from public.mega_customers customer where customer.mg_user_id = (select auth.uid()))))'),
  ('relation', 'mega_admin', false, null),
  ('relation', 'profiles', true, null),
  ('relation', 'projects', true, null),
  ('relation', 'sessions', true, null),
  ('relation', 'generations', true, null),
  ('relation', 'failed_generations_view', true, null),
  ('function', 'generation_status', true, null), -- the views ask it
  ('function', 'get_failure_stats', false, null),
  ('function', 'unfinished_generations', false, null),
  ('function', 'mega_set_updated_at', false, null),
  ('function', 'mega_generations_set_user', false, null),
  ('function', 'mega_customers_tell_user', false, null),
  ('function', 'mega_keep_final_status', false, null),
  ('function', 'mega_refuse_rewriting_step', false, null),
  ('function', 'mega_demand_both_planes', false, null),
  ('function', 'mega_refuse_refund_beyond_charge', false, null),
  ('function', 'image_generation_logs_refuse_hole', false, null)
on conflict (kind, name) do nothing;

-- ---------------------------------------------------------------------------------------------------------------
-- Guarding: a migration that adds to `public` adds to the list above and calls this; so does whoever makes a role later.
-- The schemas `safelight` and `procrastinate` are ours as a whole. Doing it again changes nothing.
-- ---------------------------------------------------------------------------------------------------------------

create or replace function safelight.role_names(variadic wanted text[]) returns setof text
language sql stable set search_path = '' as $$
  select quote_ident(rolname) from pg_catalog.pg_roles where rolname = any (wanted)
$$;

create or replace function safelight.grant_only(what text, users_may text) returns void
language plpgsql set search_path = '' as $$
declare
  role text;
begin
  execute format('revoke all on %s from public', what);
  for role in select safelight.role_names('anon', 'authenticated') loop
    execute format('revoke all on %s from %s', what, role);
  end loop;
  for role in select safelight.role_names('service_role') loop
    execute format('grant all on %s to %s', what, role);
  end loop;
  for role in select safelight.role_names('authenticated') where users_may is not null loop
    execute format('grant %s on %s to %s', users_may, what, role);
  end loop;
end $$;

create or replace function safelight.ensure_policy(relation regclass, policy text, definition text) returns void
language plpgsql set search_path = '' as $$
begin
  if not exists (select from pg_catalog.pg_policy where polrelid = relation and polname = policy) then
    execute format('create policy %I on %s as %s', policy, relation, definition);
  end if;
end $$;

-- The service role's policy matters where that role was made without BYPASSRLS. A user's condition stands twice: the
-- second is for the day a policy of somebody else is on the table, which can then not show more.
create or replace function safelight.guard_table(relation regclass, own_rows text) returns void
language plpgsql set search_path = '' as $$
begin
  if not (select relrowsecurity from pg_catalog.pg_class where oid = relation) then
    execute format('alter table %s enable row level security', relation);
  end if;
  perform safelight.ensure_policy(relation, 'safelight_service',
    format('permissive for all to %s using (true) with check (true)', role))
  from safelight.role_names('service_role') role;
  perform safelight.ensure_policy(relation, 'safelight_' || kind,
    format('%s for select to %s using (%s)', kind, role, own_rows))
  from safelight.role_names('authenticated') role, unnest(array['permissive', 'restrictive']) kind
  where own_rows is not null;
end $$;

create or replace function safelight.guard_relation(relation regclass, for_users boolean, own_rows text) returns void
language plpgsql set search_path = '' as $$
declare
  seen pg_catalog.pg_class;
begin
  select * into seen from pg_catalog.pg_class where oid = relation;
  if seen.relkind = 'S' then
    perform safelight.grant_only(format('sequence %s', relation), null);
    return;
  end if;
  perform safelight.grant_only(format('table %s', relation), case when for_users then 'select' end);
  if seen.relkind in ('r', 'p') then
    perform safelight.guard_table(relation, own_rows);
  elsif seen.relkind = 'v' and not coalesce('security_invoker=true' = any (seen.reloptions), false) then
    execute format('alter view %s set (security_invoker = true)', relation);
  end if;
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

  perform safelight.grant_only(
    format('routine %s', routine.oid::regprocedure), case when guarded.for_users then 'execute' end)
  from pg_catalog.pg_proc routine
  join pg_catalog.pg_namespace space on space.oid = routine.pronamespace
  left join unnest(listed) guarded
    on guarded.kind = 'function' and space.nspname = 'public' and guarded.name = routine.proname
  where space.nspname in ('safelight', 'procrastinate') or guarded.name is not null;
end $$;

select safelight.guard_rows();

-- ---------------------------------------------------------------------------------------------------------------
-- Realtime: who waits sees new lines and the generation's new status, each only their own
-- ---------------------------------------------------------------------------------------------------------------

do $$
declare
  wanted text;
begin
  foreach wanted in array array['image_generation_logs', 'mega_generations'] loop
    if exists (select from pg_publication where pubname = 'supabase_realtime' and not puballtables) and not exists (
      select from pg_publication_tables
      where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = wanted
    ) then
      execute format('alter publication supabase_realtime add table public.%I', wanted);
    end if;
  end loop;
exception when insufficient_privilege then
  raise warning 'the publication supabase_realtime belongs to another role: add image_generation_logs and mega_generations';
end $$;
