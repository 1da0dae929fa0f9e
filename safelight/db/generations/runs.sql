-- What a worker writes while it runs a generation. Each statement holds the fence: it changes nothing, and returns no
-- row, unless the worker still has the lease, the log is as long as the worker knows, and the generation is not final.
-- So a statement whose answer was lost can be sent again: it does not count twice.

-- name: take_lease^
update mega_generations generation
set mg_lease_no = mg_lease_no + 1
from mega_customers customer
where generation.mg_id = :generation_key
  and customer.mg_pass_id = generation.mg_pass_id
  and generation.mg_mma_status not in ('done', 'error', 'suggested', 'cancelled', 'partial')
  and generation.mg_pipeline_version = any(:pipeline_versions)
  and generation.mg_lease_no = coalesce(:if_lease_no, generation.mg_lease_no)
returning generation.mg_generation_id, generation.mg_pass_id, generation.mg_lease_no, generation.mg_pipeline_version,
  generation.mg_payload, generation.mg_mma_vars, generation.mg_meta, generation.mg_mma_mode, generation.mg_mma_status,
  generation.mg_log_seq, generation.mg_takeovers, generation.mg_deadline_at,
  generation.mg_cancel_requested_at is not null as cancelling,
  customer.mg_user_id, customer.mg_mma_preferences, clock_timestamp() as taken_at;

-- name: steps_of
select mg_step_no, mg_step_type, mg_payload
from mega_generations
where mg_record_type = 'mma_step' and mg_generation_id = :generation_id
order by mg_step_no;

-- name: write_step^
-- Begins, continues or ends a step: the row, the generation's status and variables, and the lines, all or none.
-- A step that has ended never changes again.
with held as (
  update mega_generations
  set mg_mma_status = :status,
      mg_status = 'processing',
      mg_mma_vars = coalesce(:variables, mg_mma_vars),
      mg_deadline_at = coalesce(now() + make_interval(secs => :deadline_seconds), mg_deadline_at),
      mg_takeovers = case when :step_status = 'processing' then mg_takeovers else 0 end,
      mg_log_seq = mg_log_seq + jsonb_array_length(:lines)
  where mg_id = :generation_key
    and mg_lease_no = :lease_no
    and mg_log_seq = :log_seq
    and mg_mma_status not in ('done', 'error', 'suggested', 'cancelled', 'partial')
  returning mg_id, mg_generation_id, mg_pass_id, mg_session_id, mg_platform, mg_mma_mode, mg_log_seq,
    mg_cancel_requested_at, mg_deadline_at
), step as (
  insert into mega_generations as written (
    mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_pass_id, mg_session_id, mg_platform, mg_mma_mode,
    mg_mma_status, mg_step_no, mg_step_type, mg_payload, mg_provider, mg_model, mg_latency_ms,
    mg_input_chars, mg_output_chars, mg_input_tokens, mg_output_tokens, mg_status
  )
  select :step_key, 'mma_step', mg_generation_id, mg_id, mg_pass_id, mg_session_id, mg_platform, mg_mma_mode,
    :status, :step_no, :step_type, :payload, :provider, :model, :latency_ms,
    :input_chars, :output_chars, :input_tokens, :output_tokens, :step_status
  from held
  on conflict (mg_id) do update
  set mg_payload = excluded.mg_payload,
      mg_provider = excluded.mg_provider,
      mg_model = excluded.mg_model,
      mg_latency_ms = excluded.mg_latency_ms,
      mg_input_chars = excluded.mg_input_chars,
      mg_output_chars = excluded.mg_output_chars,
      mg_input_tokens = excluded.mg_input_tokens,
      mg_output_tokens = excluded.mg_output_tokens,
      mg_status = excluded.mg_status
  where written.mg_payload #>> '{timing,ended_at}' is null
), line as (
  insert into image_generation_logs (job_id, user_id, level, step, message, details, seq)
  select mg_generation_id::uuid, :user_id, said.value->>'level', said.value->>'step', said.value->>'message',
    said.value->'details', mg_log_seq - jsonb_array_length(:lines) + said.no
  from held, jsonb_array_elements(:lines) with ordinality as said (value, no)
)
select mg_log_seq as log_seq, mg_cancel_requested_at is not null as cancelling, mg_deadline_at as deadline_at,
  clock_timestamp() as written_at
from held;

-- name: finish^
-- A final status never changes again.
with held as (
  update mega_generations
  set mg_mma_status = :status,
      mg_status = :record_status,
      mg_error = :error,
      mg_meta = mg_meta || :meta,
      mg_mma_vars = :variables,
      mg_prompt = coalesce(:prompt, mg_prompt),
      mg_output_url = :output_url,
      mg_output_key = :output_key,
      mg_provider = coalesce(:provider, mg_provider),
      mg_model = coalesce(:model, mg_model),
      mg_latency_ms = (extract(epoch from now() - mg_created_at) * 1000)::integer,
      mg_deadline_at = null,
      mg_log_seq = mg_log_seq + jsonb_array_length(:lines)
  where mg_id = :generation_key
    and mg_lease_no = :lease_no
    and mg_log_seq = :log_seq
    and mg_mma_status not in ('done', 'error', 'suggested', 'cancelled', 'partial')
  returning mg_generation_id, mg_log_seq, mg_cancel_requested_at, mg_deadline_at
), line as (
  insert into image_generation_logs (job_id, user_id, level, step, message, details, seq)
  select mg_generation_id::uuid, :user_id, said.value->>'level', said.value->>'step', said.value->>'message',
    said.value->'details', mg_log_seq - jsonb_array_length(:lines) + said.no
  from held, jsonb_array_elements(:lines) with ordinality as said (value, no)
)
select mg_log_seq as log_seq, mg_cancel_requested_at is not null as cancelling, mg_deadline_at as deadline_at,
  clock_timestamp() as written_at
from held;

-- name: written_before^
-- Whether a statement whose answer was lost has been carried out: the lease is ours, and its lines are there.
select mg_log_seq as log_seq, mg_cancel_requested_at is not null as cancelling, mg_deadline_at as deadline_at,
  clock_timestamp() as written_at
from mega_generations
where mg_id = :generation_key and mg_lease_no = :lease_no and mg_log_seq = :log_seq;
