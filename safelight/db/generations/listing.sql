-- Pages of a customer's generations. A page is read in two steps: the keys by the index that fits the filter, then the
-- rows of these keys, held to the other filters.

-- name: keys_of_all
select mg_id as key, mg_created_at as created_at from mega_generations
where mg_record_type = 'generation' and mg_deleted_at is null and mg_pass_id = :pass_id
  and (mg_created_at, mg_id) < (:before_at::timestamptz, :before_key::text)
order by mg_created_at desc, mg_id desc
limit :limit;

-- name: keys_of_status
select mg_id as key, mg_created_at as created_at from mega_generations
where mg_record_type = 'generation' and mg_deleted_at is null and mg_pass_id = :pass_id
  and public.generation_status(mg_mma_status, mg_status) = :value
  and (mg_created_at, mg_id) < (:before_at::timestamptz, :before_key::text)
order by mg_created_at desc, mg_id desc
limit :limit;

-- name: keys_of_kind
select mg_id as key, mg_created_at as created_at from mega_generations
where mg_record_type = 'generation' and mg_deleted_at is null and mg_pass_id = :pass_id
  and coalesce(mg_mma_mode, case when mg_content_type = 'video' then 'video' else 'still' end) = :value
  and (mg_created_at, mg_id) < (:before_at::timestamptz, :before_key::text)
order by mg_created_at desc, mg_id desc
limit :limit;

-- name: keys_of_favorites
select mg_id as key, mg_created_at as created_at from mega_generations
where mg_record_type = 'generation' and mg_deleted_at is null and mg_pass_id = :pass_id
  and mg_meta->>'favorite' = 'true'
  and (mg_created_at, mg_id) < (:before_at::timestamptz, :before_key::text)
order by mg_created_at desc, mg_id desc
limit :limit;

-- name: keys_of_project
select mg_id as key, mg_created_at as created_at from mega_generations
where mg_project_id = :value and mg_record_type = 'generation' and mg_deleted_at is null and mg_pass_id = :pass_id
  and (mg_created_at, mg_id) < (:before_at::timestamptz, :before_key::text)
order by mg_created_at desc, mg_id desc
limit :limit;

-- name: matching
-- Of these keys those that the other filters leave.
select mg_id as key from mega_generations
where mg_id = any(:keys) and mg_record_type = 'generation' and mg_deleted_at is null
  and (:status::text is null or public.generation_status(mg_mma_status, mg_status) = :status)
  and (:kind::text is null
    or coalesce(mg_mma_mode, case when mg_content_type = 'video' then 'video' else 'still' end) = :kind)
  and (:project_id::text is null or mg_project_id = :project_id)
  and (:favorite::boolean is null or coalesce(mg_meta->>'favorite', 'false') = :favorite::boolean::text)
  and (:text::text is null or strpos(lower(concat_ws(' ', mg_title, mg_prompt, mg_payload #>> '{order,brief}',
    mg_payload #>> '{order,feedback}', mg_payload #>> '{order,motion_brief}', mg_payload #>> '{order,prompt}')),
    lower(:text)) > 0)
order by mg_created_at desc, mg_id desc
limit :limit;

-- name: by_keys
-- `made` are the outputs of the steps that leave files, at most `made_max` of each generation, and of a set at most so
-- many results of each step. A step that could not make all of its positions has failed, and leaves the others.
select generation.mg_id as key, generation.mg_generation_id as generation_id, generation.mg_pass_id as pass_id,
  coalesce(generation.mg_mma_mode, case when generation.mg_content_type = 'video' then 'video' else 'still' end) as kind,
  generation.mg_mma_status as mma_status,
  public.generation_status(generation.mg_mma_status, generation.mg_status) as status,
  generation.mg_title as name, substr(project.mg_id, 9) as project_id,
  substr(generation.mg_parent_id, 12) as parent_id, generation.mg_meta as meta,
  generation.mg_mma_vars->'progress' as progress, generation.mg_mma_vars #> '{meta,stand_in}' as stand_in,
  generation.mg_payload #> '{order,warnings}' as order_warnings,
  generation.mg_model as model, generation.mg_prompt as prompt, generation.mg_output_url as output_url,
  generation.mg_output_key as output_key, generation.mg_latency_ms as latency_ms,
  generation.mg_created_at as created_at, generation.mg_deleted_at as deleted_at,
  (
    select min(step.mg_payload #>> '{timing,started_at}') from mega_generations step
    where step.mg_generation_id = generation.mg_generation_id and step.mg_record_type = 'mma_step'
      and step.mg_step_no = 0
  ) as started_at,
  jsonb_array_length(coalesce(generation.mg_payload #> '{order,sources}', '[]')) as source_count,
  (
    select coalesce(jsonb_agg(output order by step_no), '[]') from (
      select step.mg_step_no as step_no,
        (step.mg_payload->'output') - array['response', 'warnings', 'more_outputs', 'slides']
          || case when step.mg_payload->'output' ? 'slides' then jsonb_build_object('slides', jsonb_path_query_array(
            step.mg_payload->'output', '$.slides[0 to $most]', jsonb_build_object('most', greatest(:made_max - 1, 0))))
            else '{}' end as output
      from mega_generations step
      where step.mg_generation_id = generation.mg_generation_id and step.mg_record_type = 'mma_step'
        and (strpos(step.mg_step_type, '_generate') > 0 or step.mg_step_type = 'variant_creation')
        and (step.mg_status = 'succeeded' or step.mg_payload #> '{output,slides,0}' is not null)
      order by step.mg_step_no
      limit :made_max
    ) steps
  ) as made,
  coalesce((
    select sum(-entry.mg_delta) from mega_generations entry
    where entry.mg_generation_id = generation.mg_generation_id and entry.mg_record_type = 'credit_transaction'
      and entry.mg_ref_type = 'mma_charge'
  ), 0)::bigint as charged,
  coalesce((
    select sum(entry.mg_delta) from mega_generations entry
    where entry.mg_generation_id = generation.mg_generation_id and entry.mg_record_type = 'credit_transaction'
      and entry.mg_ref_type = 'mma_refund'
  ), 0)::bigint as refunded
from mega_generations generation
left join mega_generations project
  on project.mg_id = 'project:' || generation.mg_project_id and project.mg_deleted_at is null
where generation.mg_id = any(:keys) and generation.mg_record_type = 'generation'
order by generation.mg_created_at desc, generation.mg_id desc;

-- name: results_of
-- Of a set, by their positions.
select slide.value as record
from mega_generations step, jsonb_array_elements(step.mg_payload #> '{output,slides}') slide
where step.mg_generation_id = :generation_id and step.mg_record_type = 'mma_step'
  and step.mg_step_type in ('variant_creation', 'model_generate')
  and ((slide.value->>'variant')::integer, (slide.value->>'source')::integer) > (:variant::integer, :source::integer)
order by (slide.value->>'variant')::integer, (slide.value->>'source')::integer
limit :limit;

-- name: result_sums^
select count(*) as count, coalesce(sum((slide.value->>'bytes')::bigint), 0)::bigint as bytes
from mega_generations step, jsonb_array_elements(step.mg_payload #> '{output,slides}') slide
where step.mg_generation_id = :generation_id and step.mg_record_type = 'mma_step'
  and step.mg_step_type in ('variant_creation', 'model_generate');

-- name: rename!
update mega_generations set mg_title = :name
where mg_id = :key and mg_pass_id = :pass_id and mg_record_type = 'generation' and mg_deleted_at is null;

-- name: steps_of
-- `input` and `error` are for operators: prompts and vendors' words.
select mg_step_no as number, mg_step_type as type, mg_status as status, mg_provider as provider, mg_model as model,
  mg_latency_ms as latency_ms, mg_payload->'timing' as timing, mg_payload->'error' as error,
  jsonb_array_length(coalesce(mg_payload->'attempts', '[]')) as attempts,
  case when :with_input then mg_payload->'input' end as input
from mega_generations
where mg_record_type = 'mma_step' and mg_generation_id = :generation_id and mg_step_no > :after
order by mg_step_no
limit :limit;

-- name: set_favorite!
update mega_generations set mg_meta = mg_meta || jsonb_build_object('favorite', :favorite::boolean)
where mg_id = :key and mg_pass_id = :pass_id and mg_record_type = 'generation' and mg_deleted_at is null;

-- name: counts
select public.generation_status(mg_mma_status, mg_status) as status,
  coalesce(mg_mma_mode, case when mg_content_type = 'video' then 'video' else 'still' end) as kind,
  mg_model as model, count(*) as count
from mega_generations
where mg_record_type = 'generation' and mg_deleted_at is null and mg_pass_id = :pass_id
group by 1, 2, 3;

-- name: favorite_count$
select count(*) from mega_generations
where mg_record_type = 'generation' and mg_deleted_at is null and mg_pass_id = :pass_id
  and mg_meta->>'favorite' = 'true';
