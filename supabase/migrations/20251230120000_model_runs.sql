-- Model runs: their results are files of the customer, and the list of models has prices that can be charged.

set local lock_timeout = '10s';

create or replace function safelight.check_models(document jsonb) returns void
language plpgsql set search_path = '' as $$
declare
  wrong record;
begin
  if jsonb_typeof(document->'models') is distinct from 'array' then
    raise exception 'models must be a list' using errcode = 'check_violation';
  end if;
  select entry->>'id' as id, entry->'credits' as stated into wrong
  from jsonb_array_elements(document->'models') entry
  where case
    when jsonb_typeof(entry->'credits') = 'number'
      then (entry->>'credits')::numeric not between 0 and 1000000
        or (entry->>'credits')::numeric <> trunc((entry->>'credits')::numeric)
    else true
  end
  limit 1;
  if found then
    raise exception 'credits of %: % is not allowed; it is a whole number from 0 to 1000000', wrong.id, wrong.stated
      using errcode = 'check_violation';
  end if;
end $$;

create or replace function safelight.check_app_config() returns trigger
language plpgsql set search_path = '' as $$
declare
  engine constant text := substring(new.mg_key from '^mma[.]provider[.](.+)[.]defaults$');
begin
  if new.mg_key = 'mma.provider.registry' then
    perform safelight.check_registry(new.mg_value);
  elsif new.mg_key = 'mma.provider.models' then
    perform safelight.check_models(new.mg_value);
  elsif engine is not null then
    perform safelight.check_provider_defaults(engine, new.mg_value);
  else
    perform safelight.check_context(new.mg_key, new.mg_value);
  end if;
  return new;
end $$;

create or replace view public.file_metadata with (security_invoker = true) as
select
  substr(mg_id, 6) as id,
  mg_user_id as user_id,
  mg_generation_id as generation_id,
  mg_meta->>'bucket' as bucket_name,
  mg_output_key as file_path,
  mg_title as original_filename,
  (mg_meta->>'bytes')::bigint as file_size,
  mg_content_type as content_type,
  mg_meta->>'sha256' as file_hash,
  false as is_thumbnail,
  true as is_processed,
  mg_meta as metadata,
  mg_project_id as project_id,
  mg_created_at as created_at,
  mg_updated_at as updated_at,
  (mg_meta->>'expires_at')::timestamptz as expires_at
from public.mega_generations
where mg_record_type = 'file' and mg_deleted_at is null
union all
select
  mg_generation_id, mg_user_id, mg_generation_id, 'public', mg_output_key, null,
  (mg_mma_vars #>> '{outputs,file,bytes}')::bigint, mg_mma_vars #>> '{outputs,file,media_type}',
  mg_mma_vars #>> '{outputs,file,sha256}', false, true, '{}', mg_project_id, mg_created_at, mg_updated_at, null
from public.mega_generations
where mg_record_type = 'generation' and mg_mma_status = 'done' and mg_output_key is not null and mg_deleted_at is null
union all
select
  md5(step.mg_generation_id || ':' || (slide->>'variant') || ':' || (slide->>'source')),
  job.mg_user_id, step.mg_generation_id, 'public', slide->>'key', null, (slide->>'bytes')::bigint,
  slide->>'media_type', slide->>'sha256', false, true,
  jsonb_build_object('variant', slide->'variant', 'source', slide->'source'), job.mg_project_id, step.mg_updated_at,
  step.mg_updated_at, null
from public.mega_generations step
join public.mega_generations job on job.mg_id = step.mg_parent_id and job.mg_deleted_at is null
cross join lateral jsonb_array_elements(step.mg_payload #> '{output,slides}') slide
where step.mg_record_type = 'mma_step' and step.mg_step_type = 'variant_creation'
  and step.mg_payload #>> '{timing,ended_at}' is not null
union all
select
  md5(mg_generation_id || ':0:' || (result->>'source')), mg_user_id, mg_generation_id, 'public', result->>'key', null,
  (result->>'bytes')::bigint, result->>'media_type', result->>'sha256', false, true,
  jsonb_build_object('variant', result->'variant', 'source', result->'source'), mg_project_id, mg_created_at,
  mg_updated_at, null
from public.mega_generations
cross join lateral jsonb_array_elements(mg_mma_vars #> '{outputs,results}') result
where mg_record_type = 'generation' and mg_mma_mode = 'model_run' and mg_deleted_at is null
  and jsonb_typeof(mg_mma_vars #> '{outputs,results}') = 'array';

select safelight.guard_rows();
