-- name: insert_generation!
insert into mega_generations (
  mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_pass_id, mg_session_id, mg_platform, mg_title,
  mg_type, mg_content_type, mg_provider, mg_mma_mode, mg_mma_status, mg_status, mg_mma_vars, mg_meta, mg_payload,
  mg_pipeline_version, mg_idempotency_key, mg_request_hash, mg_log_seq, mg_event_at, mg_source_system, mg_deadline_at,
  mg_project_id
) values (
  :generation_key, 'generation', :generation_id, :parent_key, :pass_id, :session_id, :platform, :title,
  :type, :content_type, :provider, :mode, 'queued', 'pending', :variables, :meta, :payload,
  :pipeline_version, :idempotency_key, :request_hash, 1, now(), 'safelight',
  now() + make_interval(secs => :start_within_seconds), :project_id
);

-- name: accepted_before^
-- The generation that was accepted under this key, or by this very request, whose answer was then lost.
select mg_generation_id as generation_id, mg_request_hash as request_hash, (mg_meta->>'cost')::integer as price_credits
from mega_generations
where mg_id = :generation_key
union all
select mg_generation_id, mg_request_hash, (mg_meta->>'cost')::integer
from mega_generations
where mg_record_type = 'generation' and mg_pass_id = :pass_id and mg_idempotency_key = :key
limit 1;

-- name: by_id^
select mg_generation_id as generation_id, mg_parent_id as parent_id, mg_pass_id as pass_id, mg_session_id as session_id,
  mg_platform as platform, mg_title as title, mg_mma_mode as mode, mg_mma_status as status, mg_mma_vars as variables,
  generation.mg_meta as meta, mg_payload as payload, mg_prompt as prompt, mg_output_url as output_url,
  mg_error as error, generation.mg_created_at as created_at, generation.mg_updated_at as updated_at,
  generation.mg_deleted_at as deleted_at, customer.mg_credits as balance
from mega_generations generation
left join mega_customers customer using (mg_pass_id)
where generation.mg_id = :generation_key and generation.mg_record_type = 'generation';

-- name: key_of_url$
-- The customer's generation of an older backend whose result is at this URL; ours are known by the file's key.
select mg_id from mega_generations
where mg_record_type = 'generation' and mg_pass_id = :pass_id and mg_pipeline_version is null and mg_output_url = :url
limit 1;

-- name: retries_of
select mg_generation_id as id, mg_mma_status as status
from mega_generations
where mg_record_type = 'generation' and mg_pass_id = :pass_id and mg_meta->>'retry_of' = :generation_id
order by mg_created_at, mg_generation_id;

-- name: cancelling^
-- What became of the request. A result that is stored is delivered, also before the generation is final.
select generation.mg_mma_status as status, generation.mg_meta->'cost' as cost, customer.mg_credits as balance,
  exists (
    select from mega_generations step
    where step.mg_record_type = 'mma_step' and step.mg_generation_id = :generation_id
      and strpos(step.mg_step_type, '_generate') > 0 and step.mg_status = 'succeeded'
  ) as has_result
from mega_generations generation
left join mega_customers customer using (mg_pass_id)
where generation.mg_id = :generation_key;

-- name: ended_without_result$
select mg_mma_status in ('error', 'cancelled') from mega_generations where mg_id = :generation_key;

-- name: note_withdrawn!
-- What the generation has stored is gone, and no row leads a customer to it.
update mega_generations
set mg_meta = mg_meta || jsonb_build_object('result_withdrawn_at', now()),
    mg_output_url = null,
    mg_output_key = null,
    mg_mma_vars = case when mg_mma_vars ? 'outputs' then jsonb_set(mg_mma_vars, '{outputs}', (
      select coalesce(jsonb_object_agg(name, null), '{}') from jsonb_object_keys(mg_mma_vars->'outputs') name
    )) else mg_mma_vars end
where mg_id = :generation_key and (mg_mma_status in ('error', 'cancelled') or mg_deleted_at is not null);

-- name: newest
select mg_generation_id, mg_pass_id, mg_mma_mode, mg_mma_status, mg_error, mg_parent_id, mg_output_url, mg_created_at,
  mg_latency_ms, mg_meta->>'flow' as flow
from mega_generations
where mg_record_type = 'generation'
  and (:pass_id::text is null or mg_pass_id = :pass_id)
  and (:status::text is null or mg_mma_status = :status)
order by mg_created_at desc
limit :limit;

-- name: columns_by_id^
select generation.*, customer.mg_credits as balance
from mega_generations generation
left join mega_customers customer using (mg_pass_id)
where generation.mg_id = :generation_key and generation.mg_record_type = 'generation';

-- name: steps
select mg_step_no, mg_step_type, mg_payload
from mega_generations
where mg_record_type = 'mma_step' and mg_generation_id = :generation_id
order by mg_step_no;

-- name: insert_session!
insert into mega_generations (
  mg_id, mg_record_type, mg_pass_id, mg_session_id, mg_platform, mg_title, mg_status, mg_meta, mg_event_at
) values (
  'session:' || :session_id, 'session', :pass_id, :session_id, :platform, :title, 'succeeded', :meta, now()
)
on conflict (mg_id) do nothing;

-- name: owner_of_session$
select mg_pass_id from mega_generations where mg_id = 'session:' || :session_id;

-- name: insert_event!
insert into mega_generations (
  mg_id, mg_record_type, mg_pass_id, mg_generation_id, mg_parent_id, mg_meta, mg_event_at
) values (
  'mma_event:' || :event_id, 'mma_event', :pass_id, :generation_id, :parent_key, :meta, now()
)
on conflict (mg_id) do nothing;

-- name: liked
-- Newest first, the latest word on each item: liked or downloaded things, without those un-liked or disliked since.
-- A feedback row without a comment is a like (docs/contract/rows.md); an item is its generation, else its URL.
with word as (
  select
    coalesce(nullif(mg_generation_id, ''), (
      select made.mg_generation_id from mega_generations made
      where made.mg_pass_id = :pass_id and made.mg_record_type = 'generation'
        and made.mg_output_url = coalesce(said.mg_output_url, said.mg_meta #>> '{payload,url}')
      limit 1
    ), mg_output_url, mg_meta #>> '{payload,url}') as item,
    case
      when mg_record_type = 'feedback' then coalesce((mg_meta->>'liked')::boolean, true)
      when mg_meta #>> '{payload,liked}' = 'false' then false
      else mg_meta->>'event_type' in ('like', 'download')
    end as liked,
    coalesce(mg_prompt, mg_meta #>> '{payload,prompt}') as prompt,
    coalesce(mg_output_url, mg_meta #>> '{payload,url}') as url,
    mg_created_at as at,
    mg_id as id
  from mega_generations said
  where mg_pass_id = :pass_id
    and (
      (mg_record_type = 'feedback' and coalesce(mg_comment, '') = '')
      or (mg_record_type = 'mma_event' and mg_meta->>'event_type' in ('like', 'unlike', 'dislike', 'download'))
    )
), latest as (
  select distinct on (item) * from word where item is not null order by item, at desc, id desc
)
select latest.item, coalesce(generation.mg_prompt, latest.prompt) as prompt,
  coalesce(generation.mg_output_url, latest.url) as url, generation.mg_content_type as content_type, latest.at
from latest
left join mega_generations generation
  on generation.mg_id = 'generation:' || latest.item and generation.mg_record_type = 'generation'
where latest.liked and generation.mg_deleted_at is null
order by latest.at desc
limit :limit;

-- name: history
-- `results_only` leaves out generations that ended without a picture or video.
-- Rows of one transaction share their time, which is the cursor: they stay on one page.
-- A page ends early where its rows would take too many bytes.
with newest as (
  select mg_id from mega_generations
  where mg_pass_id = :pass_id
    and mg_record_type in ('session', 'generation', 'feedback')
    and mg_deleted_at is null
    and not (
      :results_only and mg_record_type = 'generation'
      and coalesce(mg_mma_status, mg_status, '') in ('error', 'failed', 'cancelled', 'suggested')
    )
    and (:before::timestamptz is null or mg_created_at < :before)
  order by mg_created_at desc
  fetch first :limit rows with ties
), measured as (
  select mg_id, rank() over (order by mg_created_at desc) as place,
    sum(octet_length(listed::text)) over (order by mg_created_at desc) as bytes
  from mega_generations listed join newest using (mg_id)
)
select listed.* from mega_generations listed join measured using (mg_id)
where place = 1 or bytes <= :bytes_max
order by mg_created_at desc;

-- name: credit_history
select * from mega_generations
where mg_pass_id = :pass_id and mg_record_type = 'credit_transaction'
order by mg_created_at desc
limit :limit;

-- name: lock_generation!
-- Waits for a write that is under way; the next statement sees what it wrote.
select mg_id from mega_generations where mg_id = :generation_key for update;

-- name: request_cancelling^
-- Notes once who asked. Where the generation is final, or its result is stored, nothing changes.
with asked as (
  update mega_generations
  set mg_cancel_requested_at = coalesce(mg_cancel_requested_at, now()),
      mg_cancel_requested_by = coalesce(mg_cancel_requested_by, :by)
  where mg_id = :generation_key and mg_mma_status not in ('done', 'error', 'suggested', 'cancelled', 'partial')
    and not exists (
      select from mega_generations step
      where step.mg_record_type = 'mma_step' and step.mg_generation_id = :generation_id
        and strpos(step.mg_step_type, '_generate') > 0 and step.mg_status = 'succeeded'
    )
    and (:pass_id::text is null or mg_pass_id = :pass_id)
  returning mg_id
)
select generation.mg_mma_status as status
from mega_generations generation
where generation.mg_id = :generation_key and generation.mg_record_type = 'generation'
  and (:pass_id::text is null or generation.mg_pass_id = :pass_id);

-- name: unnamed_keys
-- A result is stored before the row that names it: while its generation runs, it is nobody's orphan. What a generation
-- has left that ended without a result, or was deleted, is one, whoever names it.
select stored.key
from unnest(:keys::text[], :generation_ids::text[]) as stored (key, generation_id)
where not exists (
  select from mega_generations named
  where named.mg_generation_id = stored.generation_id
    and (
      named.mg_output_key = stored.key
      or named.mg_record_type = 'mma_step' and named.mg_payload #>> '{output,output_key}' = stored.key
      or named.mg_record_type = 'mma_step'
        and named.mg_payload #> '{output,more_outputs}' @> jsonb_build_array(jsonb_build_object('key', stored.key))
      or named.mg_record_type = 'generation'
        and named.mg_mma_status not in ('done', 'error', 'suggested', 'cancelled', 'partial')
    )
)
or exists (
  select from mega_generations ended
  where ended.mg_id = 'generation:' || stored.generation_id and ended.mg_pipeline_version is not null
    and (ended.mg_mma_status in ('error', 'cancelled') or ended.mg_deleted_at is not null)
);

-- name: insert_feedback!
insert into mega_generations (
  mg_id, mg_record_type, mg_pass_id, mg_session_id, mg_generation_id, mg_parent_id, mg_platform, mg_type,
  mg_result_type, mg_prompt, mg_comment, mg_output_url, mg_image_url, mg_video_url, mg_status, mg_meta, mg_event_at
) values (
  'feedback:' || :feedback_id, 'feedback', :pass_id, :session_id, :generation_id,
  'generation:' || :generation_id::text, :platform, :result_type, :result_type, :prompt, :comment,
  coalesce(:image_url::text, :video_url::text), :image_url, :video_url, 'succeeded', :meta, now()
)
on conflict (mg_id) do nothing;

-- name: count_feedback$
select count(*) from (
  select from mega_generations
  where mg_record_type = 'feedback' and mg_pass_id = :pass_id and mg_deleted_at is null
  limit :limit
) counted;
