-- name: bound_closing!
select set_config('lock_timeout', :lock_timeout, true);

-- name: leaking_views
-- A view without `security_invoker` reads as its owner, whom no policy holds; what it reads through a view that has it is
-- still read as whoever asks. A materialized view holds what its owner read. Customers may read what is granted to them;
-- a view in `public` counts in any case, since Supabase grants all that is made there.
with recursive ours as (
  select relation.oid
  from pg_class relation
  join pg_namespace space on space.oid = relation.relnamespace
  left join safelight.guarded guarded
    on guarded.kind = 'relation' and space.nspname = 'public' and guarded.name = relation.relname
  where relation.relkind in ('r', 'p')
    and (space.nspname in ('safelight', 'procrastinate') or guarded.name is not null)
), shown as (
  select relation.oid, relation.relkind, space.nspname, relation.relname,
    relation.relkind = 'v' and exists (
      select from pg_options_to_table(relation.reloptions)
      where option_name = 'security_invoker' and option_value::boolean
    ) as is_invoker,
    array(
      select role.rolname
      from aclexplode(relation.relacl) granted
      left join pg_roles role on role.oid = granted.grantee
      where granted.privilege_type = 'SELECT'
        and (granted.grantee = 0 or role.rolname in ('anon', 'authenticated'))
      order by 1
    ) as readers
  from pg_class relation
  join pg_namespace space on space.oid = relation.relnamespace
  where relation.relkind in ('v', 'm') and space.nspname not in ('pg_catalog', 'information_schema')
), reading as (
  select distinct rule.ev_class as reader, dependency.refobjid as relation
  from pg_rewrite rule
  join pg_depend dependency on dependency.classid = 'pg_rewrite'::regclass and dependency.objid = rule.oid
    and dependency.refclassid = 'pg_class'::regclass and dependency.refobjid <> rule.ev_class
), reached as (
  select oid as view, oid as relation, relkind = 'm' as is_stored
  from shown
  where not is_invoker and (nspname = 'public' and relkind = 'v' or readers <> '{}')
  union
  select reached.view, reading.relation, reached.is_stored or shown.relkind is not distinct from 'm'
  from reached
  join reading on reading.reader = reached.relation
  left join shown on shown.oid = reading.relation
  where reached.is_stored or shown.is_invoker is not true
)
select quote_ident(nspname) || '.' || quote_ident(relname) as id, nspname::text as schema, relname::text as name,
  relkind::text as kind, readers::text[] as readers
from shown
where oid in (select view from reached join ours on ours.oid = reached.relation)
order by nspname, relname;
