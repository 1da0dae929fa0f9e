-- Which migrations of the queue (Procrastinate) its schema has. `safelight migrate` writes it, and applies what is missing.

set local lock_timeout = '10s';

create table if not exists safelight.queue_migrations (
  name text primary key,
  -- The version of the queue's package that was installed then.
  package_version text not null,
  -- The schema had it already when it was first recorded.
  was_there boolean not null,
  recorded_at timestamptz not null default now()
);

select safelight.guard_rows();
