-- name: noted
select statement, reason from safelight.online_work order by noted_at, statement;

-- name: has_generations$
select exists (select from public.mega_generations);

-- name: forget!
delete from safelight.online_work where statement = :statement;

-- name: left_over
-- The halves of indexes that were left when their making was interrupted.
select quote_ident(nspname) || '.' || quote_ident(relname) as name
from pg_index join pg_class on pg_class.oid = indexrelid join pg_namespace on pg_namespace.oid = relnamespace
where not indisvalid and nspname in ('public', 'safelight', 'procrastinate')
  and (relname ~ '_ccnew\d*$|^safelight_' or exists (
    select from safelight.online_work where strpos(statement, 'index concurrently if not exists ' || relname || ' ') > 0
      or strpos(statement, 'index concurrently if not exists ' || relname || E'\n') > 0));
