-- One secret for all nodes of a deployment: it signs URLs and tokens, and keys the hashes in object keys. The first node
-- that migrates brings its own; every other node reads this one. Customers may not read it.

set local lock_timeout = '10s';

create table if not exists safelight.deployment_secret (
  only_row boolean primary key default true check (only_row),
  secret text not null check (length(secret) >= 32),
  created_at timestamptz not null default now()
);

select safelight.guard_rows();
