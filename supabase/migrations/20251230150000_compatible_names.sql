-- Names and columns that clients of seeds 002 and 003 read.

set local lock_timeout = '10s';

-- ---------------------------------------------------------------------------------------------------------------
-- Lines that a user adds: the condition stands twice, as for reading, since scripts of the job log bring a policy of
-- their own, which asks for the user alone and not for their job.
-- ---------------------------------------------------------------------------------------------------------------

create or replace function safelight.guard_inserts(relation regclass, listed safelight.guarded) returns void
language plpgsql set search_path = '' as $$
declare
  role text;
begin
  for role in select safelight.role_names('authenticated') loop
    execute format('grant insert (%s) on %s to %s', listed.inserted_columns, relation, role);
    perform safelight.ensure_policy(relation, 'safelight_insert',
      format('permissive for insert to %s with check (%s)', role, listed.inserted_rows));
    perform safelight.ensure_policy(relation, 'safelight_insert_restrictive',
      format('restrictive for insert to %s with check (%s)', role, listed.inserted_rows));
  end loop;
end $$;

-- ---------------------------------------------------------------------------------------------------------------
-- generated_images: the variant's own id
-- ---------------------------------------------------------------------------------------------------------------

create or replace view public.generated_images with (security_invoker = true) as
select
  md5(step.mg_generation_id || ':' || (slide->>'variant') || ':' || (slide->>'source'))::uuid as id,
  step.mg_generation_id::uuid as job_id,
  (slide->>'variant')::integer as carousel_index,
  (slide->>'source')::integer as image_index,
  read.sources #>> array[slide->>'source', 'url'] as source_image_url,
  slide->>'url' as generated_image_url,
  slide->>'key' as storage_path,
  (slide->>'width')::integer as width,
  (slide->>'height')::integer as height,
  coalesce(nullif(read.sources #>> array[slide->>'source', 'prompt'], ''), read.prompt) as prompt_used,
  step.mg_payload #> '{input,settings}' as settings_used,
  step.mg_updated_at as created_at,
  job.mg_user_id as user_id,
  (step.mg_payload #>> '{input,variant_id}')::uuid as variant_id
from public.mega_generations step
join public.mega_generations job on job.mg_id = step.mg_parent_id and job.mg_deleted_at is null
-- Read once for each variant, not for each of its pictures: an order may be large.
cross join lateral (
  select job.mg_payload #> '{order,sources}' as sources, job.mg_payload #>> '{order,prompt}' as prompt offset 0
) read
cross join lateral jsonb_array_elements(step.mg_payload #> '{output,slides}') slide
where step.mg_record_type = 'mma_step' and step.mg_step_type = 'variant_creation'
  and step.mg_payload #>> '{timing,ended_at}' is not null;

create or replace view public.generated_carousel_images with (security_invoker = true) as
select * from public.generated_images;

-- ---------------------------------------------------------------------------------------------------------------
-- generations: the columns of seed 003 beside those of seed 004. The results of a set are in `file_metadata`.
-- ---------------------------------------------------------------------------------------------------------------

create or replace view public.generations with (security_invoker = true) as
select
  mg_generation_id as id,
  mg_session_id as session_id,
  coalesce(mg_user_id::text, mg_pass_id) as user_id,
  coalesce(mg_model, mg_provider) as model_id,
  coalesce(
    mg_prompt,
    nullif(mg_payload #>> '{order,brief}', ''),
    nullif(mg_payload #>> '{order,motion_brief}', ''),
    nullif(mg_payload #>> '{order,feedback}', ''),
    nullif(mg_payload #>> '{order,prompt}', '')
  ) as prompt,
  nullif(mg_payload #>> '{order,negative_prompt}', '') as negative_prompt,
  made.parameters,
  public.generation_status(mg_mma_status, mg_status) as status,
  mg_created_at as created_at,
  mg_updated_at as updated_at,
  mg_pass_id as pass_id,
  mg_mma_status as mma_status,
  mg_output_url as output_url,
  mg_deadline_at as deadline_at,
  mg_project_id as project_id,
  substr(mg_parent_id, 12) as parent_generation_id,
  case when mg_content_type = 'video' then 'video' else 'image' end as media_type,
  mg_output_url as media_url,
  case when jsonb_typeof(mg_meta #> '{result,bytes}') = 'number' then (mg_meta #>> '{result,bytes}')::bigint end
    as storage_size,
  case when jsonb_typeof(mg_meta->'cost') = 'number' then (mg_meta->>'cost')::numeric end as cost,
  coalesce(mg_meta->>'favorite', 'false') = 'true' as is_favorite,
  made.parameters->>'error' as error_message,
  case when mg_mma_status in ('done', 'partial', 'error', 'cancelled', 'suggested') then
    mg_created_at + mg_latency_ms * interval '1 millisecond' end as completed_at
from public.mega_generations
cross join lateral (
  select coalesce(mg_payload->'order', '{}') || case
    when public.generation_status(mg_mma_status, mg_status) not in ('failed', 'cancelled') then '{}'
    else jsonb_build_object(
      'error', coalesce(mg_error, mg_meta #>> '{error,message}', mg_mma_status, mg_status),
      'errorContext', case
        when mg_meta #> '{error,type}' is not null then mg_meta->'error'
        else jsonb_build_object(
          'message', coalesce(mg_error, mg_meta #>> '{error,message}', mg_mma_status, mg_status),
          'type', case mg_mma_status when 'cancelled' then 'Cancelled' else 'UnknownError' end,
          'timestamp', mg_updated_at,
          'code', mg_meta #> '{error,code}',
          'step', mg_meta #> '{error,step}'
        )
      end || jsonb_build_object('userId', coalesce(mg_user_id::text, mg_pass_id))
    )
  end as parameters
  offset 0
) made
where mg_record_type = 'generation' and mg_deleted_at is null;

select safelight.guard_rows();
