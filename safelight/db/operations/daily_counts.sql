-- name: take^
-- No row comes back when all of today's are used. Days are UTC's.
insert into safelight.daily_count as known (day, purpose, key, uses)
values ((now() at time zone 'utc')::date, :purpose, :key, 1)
on conflict (day, purpose, key) do update set uses = known.uses + 1 where known.uses < :limit
returning uses;

-- name: forget_old_days!
-- Rows that another transaction deletes just now are passed over: nobody waits for anybody here.
delete from safelight.daily_count where (day, purpose, key) in (
  select day, purpose, key from safelight.daily_count
  where day < (now() at time zone 'utc')::date - 1
  limit :limit
  for update skip locked
);

-- name: seconds_left$
select extract(epoch from date_trunc('day', now() at time zone 'utc') + interval '1 day' - (now() at time zone 'utc'));
