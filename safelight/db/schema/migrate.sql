-- name: take_lock$
-- One migrator at a time, whichever machine it runs on.
select pg_try_advisory_lock(:key) as taken;

-- name: lock_holders
-- Who holds the lock of the migrations.
select a.pid, a.application_name, a.usename, host(a.client_addr) as address, a.state,
  extract(epoch from now() - a.state_change)::integer as seconds
from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and a.datname = current_database()
  and (l.classid::bigint << 32 | l.objid::bigint) = :key and l.pid <> pg_backend_pid();

-- name: table_lock_holders
-- Whose open transactions hold locks on our tables, the oldest first.
select distinct a.pid, a.application_name, a.usename, host(a.client_addr) as address, a.state, a.xact_start,
  extract(epoch from now() - a.xact_start)::integer as seconds
from pg_locks l join pg_stat_activity a using (pid)
join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
where l.granted and a.datname = current_database() and l.pid <> pg_backend_pid()
  and n.nspname in ('public', 'safelight', 'procrastinate', 'supabase_migrations')
order by a.xact_start limit 3;

-- name: ensure_record#
-- The table as the Supabase CLI makes it.
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations
  add column if not exists statements text[], add column if not exists name text;

-- name: record!
insert into supabase_migrations.schema_migrations (version, name, statements) values (:version, :name, :statements)
on conflict (version) do nothing;
