-- name: lock^
-- The generation, locked until the transaction ends, with how many of its positions were made and when its steps ended.
select generation.mg_pass_id as pass_id, generation.mg_mma_status as status, generation.mg_payload as payload,
  generation.mg_meta as meta, generation.mg_lease_no as lease_no, generation.mg_deleted_at is not null as is_deleted,
  customer.mg_user_id as user_id
from mega_generations generation
join mega_customers customer using (mg_pass_id)
where generation.mg_id = :generation_key and generation.mg_record_type = 'generation'
for update of generation;

-- name: progress^
select
  (
    select count(distinct (slide->>'variant', slide->>'source'))
    from mega_generations step, jsonb_array_elements(step.mg_payload #> '{output,slides}') slide
    where step.mg_record_type = 'mma_step' and step.mg_generation_id = :generation_id
  ) as made,
  (
    select coalesce(max(mg_step_no), -1) + 1 from mega_generations
    where mg_record_type = 'mma_step' and mg_generation_id = :generation_id
  ) as next_step_no;

-- name: reopen!
-- The one way out of a final status. The round is noted, and what the last one ended with is taken off.
with reopened as (
  update mega_generations
  set mg_mma_status = 'queued',
      mg_status = 'pending',
      mg_error = null,
      mg_meta = (mg_meta - array['error', 'completed_at']) || jsonb_build_object(
        'rounds', coalesce(mg_meta->'rounds', '[]') || jsonb_build_array(:round::jsonb || jsonb_build_object('at', now()))),
      mg_mma_vars = jsonb_set(mg_mma_vars, '{userMessages,final_line}', 'null'),
      mg_deadline_at = now() + make_interval(secs => :start_within_seconds),
      mg_cancel_requested_at = null,
      mg_cancel_requested_by = null,
      mg_takeovers = 0,
      mg_log_seq = mg_log_seq + 1
  where mg_id = :generation_key and mg_mma_status = 'partial'
  returning mg_generation_id, mg_log_seq
)
insert into image_generation_logs (job_id, user_id, level, step, message, details, seq)
select mg_generation_id::uuid, :user_id, 'info', 'initialization', :message, :details, mg_log_seq
from reopened;

-- name: unbegun_lease_no$
-- The number that the lease has while no worker has begun the current round.
select coalesce((mg_meta #>> '{rounds,-1,lease_no}')::integer, 0) from mega_generations where mg_id = :generation_key;
