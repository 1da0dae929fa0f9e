-- name: claim$
-- A key whose time is over, or whose work was given up, is free.
insert into safelight.idempotent_requests (key_hash, request_hash, busy_until)
values (:key_hash, :request_hash, clock_timestamp() + make_interval(secs => :busy_seconds))
on conflict (key_hash) do update
set request_hash = excluded.request_hash, answer = null, busy_until = excluded.busy_until, created_at = now()
where idempotent_requests.created_at < now() - make_interval(hours => :hours)
  or (idempotent_requests.answer is null and idempotent_requests.busy_until < clock_timestamp()
    and idempotent_requests.request_hash = excluded.request_hash)
returning key_hash;

-- name: earlier^
select request_hash, answer from safelight.idempotent_requests where key_hash = :key_hash;

-- name: keep!
update safelight.idempotent_requests set answer = :answer, busy_until = null where key_hash = :key_hash;

-- name: release!
delete from safelight.idempotent_requests where key_hash = :key_hash and answer is null;

-- name: forget!
delete from safelight.idempotent_requests
where key_hash in (
  select key_hash from safelight.idempotent_requests
  where created_at < now() - make_interval(hours => :hours)
  order by created_at
  limit :limit
  for update skip locked
);
