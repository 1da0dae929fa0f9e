-- Failed, cancelled and stuck generations, read from the views of the migration `failed_generations`.

-- name: read^
-- One statement, so one moment: the counts are of everything that was asked for, the page is a part of it. What is
-- stuck shows however old it is.
with found as materialized (
  select g.id, g.user_id, g.pass_id, g.created_at, g.status as kind, null as liveness
  from generations g
  where g.status in ('failed', 'cancelled') and :kind in ('all', g.status)
    and g.created_at >= now() - make_interval(hours => :hours)
    and (:user_id::text is null or :user_id in (g.user_id, g.pass_id))
    and (:pass_id::text is null or g.pass_id = :pass_id)
    and (:session_id::text is null or g.session_id = :session_id)
  union all
  select g.id, g.user_id, g.pass_id, g.created_at, 'stuck', unfinished.liveness
  from unfinished_generations(:dead_after_seconds, :grace_seconds) unfinished
  join generations g on g.id = unfinished.id
  where unfinished.is_stuck and :kind in ('all', 'stuck')
    and (:user_id::text is null or :user_id in (g.user_id, g.pass_id))
    and (:pass_id::text is null or g.pass_id = :pass_id)
    and (:session_id::text is null or g.session_id = :session_id)
), by_user as (
  select pass_id, count(*) as count,
    count(*) filter (where kind = 'failed') as failed,
    count(*) filter (where kind = 'stuck') as stuck,
    count(*) filter (where kind = 'cancelled') as cancelled
  from found
  group by pass_id
  order by count(*) desc, pass_id
  limit :users_limit
), page as (
  select * from found
  where :before_at::timestamptz is null or (created_at, id) < (:before_at, :before_id)
  order by created_at desc, id desc
  limit :limit
)
select
  (select count(*) from found where kind = 'failed') as failed,
  (select count(*) from found where kind = 'stuck') as stuck,
  (select count(*) from found where kind = 'cancelled') as cancelled,
  (
    select coalesce(jsonb_agg(jsonb_build_object(
      'pass_id', by_user.pass_id, 'user_id', coalesce(customer.mg_user_id::text, by_user.pass_id),
      'display_name', profile.display_name, 'username', profile.username,
      'email', coalesce(customer.mg_email, signed_in.email),
      'count', by_user.count, 'failed', by_user.failed, 'stuck', by_user.stuck, 'cancelled', by_user.cancelled
    ) order by by_user.count desc, by_user.pass_id), '[]')
    from by_user
    left join mega_customers customer on customer.mg_pass_id = by_user.pass_id
    left join profiles profile on profile.username = by_user.pass_id
    left join auth.users signed_in on signed_in.id = customer.mg_user_id
  ) as by_user,
  (
    select coalesce(jsonb_agg(jsonb_build_object(
      'id', g.id, 'session_id', g.session_id, 'user_id', g.user_id, 'pass_id', g.pass_id, 'model_id', g.model_id,
      'prompt', g.prompt, 'status', g.status, 'parameters', g.parameters, 'created_at', g.created_at,
      'kind', page.kind, 'liveness', page.liveness,
      'age_minutes', floor(extract(epoch from now() - page.created_at) / 60)::integer,
      'display_name', profile.display_name, 'username', profile.username,
      'session_name', session.name, 'project_id', project.id, 'project_name', project.name
    ) order by page.created_at desc, page.id desc), '[]')
    from page
    join generations g on g.id = page.id
    left join profiles profile on profile.username = g.pass_id
    left join sessions session on session.id = g.session_id
    left join lateral (select id, name from projects where id = session.project_id limit 1) project on true
  ) as generations;

-- name: stacks
select distinct on (mg_detail->>'generation_id') mg_detail->>'generation_id' as generation_id,
  mg_detail->>'stack' as stack
from mega_admin
where mg_record_type = 'error' and mg_detail->>'generation_id' = any(:generation_ids)
  and mg_action is distinct from 'frontend.error'
order by mg_detail->>'generation_id', mg_created_at desc;

-- name: causes
-- Of an error and a warning of the same generation the error is told.
select generation.mg_generation_id as generation_id, generation.mg_cancel_requested_by as cancelled_by,
  ops.mg_detail->>'error_code' as code, ops.mg_detail->>'step_type' as step, ops.mg_detail->>'message' as message,
  ops.mg_detail->>'model' as model, step.mg_step_type as last_step
from mega_generations generation
left join lateral (
  select mg_detail from mega_admin
  where mg_record_type in ('error', 'warn') and mg_detail->>'generation_id' = generation.mg_generation_id
  order by mg_record_type, mg_created_at desc
  limit 1
) ops on true
left join lateral (
  select mg_step_type from mega_generations begun
  where begun.mg_record_type = 'mma_step' and begun.mg_generation_id = generation.mg_generation_id
  order by mg_step_no desc
  limit 1
) step on true
where generation.mg_id = any(:generation_keys);

-- name: unfinished
-- Every unfinished generation, counted by what will become of it.
select liveness, is_stuck, count(*) as count
from unfinished_generations(:dead_after_seconds, :grace_seconds)
group by liveness, is_stuck
order by liveness;

-- name: owners
select g.user_id, coalesce(customer.mg_email, signed_in.email) as email, count(*) as count
from generations g
left join mega_customers customer on customer.mg_pass_id = g.pass_id
left join auth.users signed_in on signed_in.id = customer.mg_user_id
where g.id = any(:generation_ids)
group by g.user_id, coalesce(customer.mg_email, signed_in.email)
order by count(*) desc;
