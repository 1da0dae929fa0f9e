-- 5.1 Insert an ops error row (MEGA_ADMIN)
insert into public.mega_admin (
  mg_id, mg_record_type, mg_actor_pass_id,
  mg_route, mg_method, mg_status,
  mg_detail, mg_created_at, mg_updated_at
) values (
  'error:' || gen_random_uuid()::text,
  'error',
  $1,              -- pass_id
  $2,              -- route
  $3,              -- method
  $4,              -- http status
  $5::jsonb,       -- mg_detail
  now(),
  now()
);

-- 5.2 Mark generation as failed (MEGA_GENERATIONS)
update public.mega_generations
set
  mg_status = 'failed',
  mg_mma_status = 'error',
  mg_error = $2,
  mg_updated_at = now()
where mg_id = 'generation:' || $1;
-- $1 generation_id, $2 short message

-- 6.1 Latest errors (ops feed)
select
  mg_created_at,
  mg_detail->>'error_code' as error_code,
  mg_detail->>'message' as message,
  mg_detail->>'generation_id' as generation_id,
  mg_detail->>'step_type' as step_type
from public.mega_admin
where mg_record_type='error'
order by mg_created_at desc
limit 200;

-- 6.2 Errors for one generation (ops plane)
select mg_created_at, mg_detail
from public.mega_admin
where mg_record_type='error'
  and mg_detail->>'generation_id' = $1
order by mg_created_at asc;

-- 6.3 Full MMA step timeline for one generation (run plane)
select mg_step_no, mg_step_type, mg_created_at, mg_payload
from public.mega_generations
where mg_record_type='mma_step'
  and mg_generation_id = $1
order by mg_step_no asc;

-- 6.4 Find “which ctx version was used” (gpt_reader)
select
  mg_payload #>> '{input,ctx_key}' as ctx_key,
  mg_payload #>> '{input,ctx_version}' as ctx_version,
  mg_payload #>> '{input,ctx_id}' as ctx_id
from public.mega_generations
where mg_record_type='mma_step'
  and mg_generation_id = $1
  and mg_step_type = 'gpt_reader'
order by mg_step_no desc
limit 1;

-- 6.5 Find “which settings version was used” (seedream_generate)
select
  mg_payload #>> '{input,settings_key}' as settings_key,
  mg_payload #>> '{input,settings_version}' as settings_version,
  mg_payload #>  '{input,settings_resolved}' as settings_resolved
from public.mega_generations
where mg_record_type='mma_step'
  and mg_generation_id = $1
  and mg_step_type = 'seedream_generate'
order by mg_step_no desc
limit 1;

-- 6.6 Error counts by category (last 24h)
select
  mg_detail->>'category' as category,
  count(*) as cnt
from public.mega_admin
where mg_record_type='error'
  and mg_created_at >= now() - interval '24 hours'
group by 1
order by cnt desc;
