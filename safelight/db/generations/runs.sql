-- What a worker writes while it runs a generation. Each statement holds the fence: it changes nothing, and returns no
-- row, unless the worker still has the lease and the generation is not final. A write of a step is known by the lease,
-- the step and its number among the step's writes: steps may be written side by side, and a statement whose answer was
-- lost can be sent again without counting twice.

-- name: take_lease^
update mega_generations generation
set mg_lease_no = mg_lease_no + 1
from mega_customers customer
where generation.mg_id = :generation_key
  and customer.mg_pass_id = generation.mg_pass_id
  and generation.mg_mma_status not in ('done', 'error', 'suggested', 'cancelled', 'partial')
  and generation.mg_pipeline_version = any(:pipeline_versions)
  and generation.mg_lease_no = coalesce(:if_lease_no, generation.mg_lease_no)
returning generation.mg_generation_id as generation_id, generation.mg_pass_id as pass_id,
  generation.mg_lease_no as lease_no, generation.mg_pipeline_version as pipeline_version,
  generation.mg_payload as payload, generation.mg_mma_vars as variables, generation.mg_meta as meta,
  generation.mg_mma_status as status, generation.mg_log_seq as log_seq, generation.mg_takeovers as takeovers,
  generation.mg_deadline_at as deadline_at, generation.mg_cancel_requested_at is not null as cancelling,
  customer.mg_user_id as user_id, customer.mg_mma_preferences as preferences, clock_timestamp() as taken_at;

-- name: checkpoints
-- What a run goes on from: a step that has ended gives its output alone, one of the `whole_types` everything.
select mg_step_no as number, mg_step_type as type,
  case
    when mg_status = 'processing' or mg_step_type = any(:whole_types) then mg_payload
    else mg_payload - array['input', 'attempts', 'starts']
  end as payload
from mega_generations
where mg_record_type = 'mma_step' and mg_generation_id = :generation_id
order by mg_step_no;

-- name: payload_of_step$
select mg_payload from mega_generations where mg_id = :step_key;

-- name: write_steps^
-- Begins, continues or ends steps: their rows, the generation's status and variables, and the lines, all or none. If
-- only some of the steps match, the length of the log becomes null, which its column refuses.
-- Each payload counts the writes of its step, and each write is the next one of a step that has not ended. All of it
-- happens under the lock of the generation's row, which also numbers the lines.
with held as (
  select mg_id, mg_generation_id, mg_pass_id, mg_session_id, mg_platform, mg_mma_mode
  from mega_generations
  where mg_id = :generation_key
    and mg_lease_no = :lease_no
    and mg_mma_status not in ('done', 'error', 'suggested', 'cancelled', 'partial')
  for update
), step as (
  insert into mega_generations as written (
    mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_pass_id, mg_session_id, mg_platform, mg_mma_mode,
    mg_mma_status, mg_step_no, mg_step_type, mg_payload, mg_provider, mg_model, mg_latency_ms,
    mg_input_chars, mg_output_chars, mg_input_tokens, mg_output_tokens, mg_status
  )
  select given.id, 'mma_step', mg_generation_id, mg_id, mg_pass_id, mg_session_id, mg_platform, mg_mma_mode,
    :status, given.number, given.type, given.payload, given.provider, given.model, given.latency_ms,
    given.input_chars, given.output_chars, given.input_tokens, given.output_tokens, given.status
  from held, jsonb_to_recordset(:steps) as given (
    id text, number integer, type text, payload jsonb, provider text, model text, latency_ms integer,
    input_chars integer, output_chars integer, input_tokens integer, output_tokens integer, status text
  )
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
    and coalesce((written.mg_payload->>'writes')::integer, 0) = (excluded.mg_payload->>'writes')::integer - 1
  returning mg_status
), noted as (
  update mega_generations
  set mg_mma_status = :status,
      mg_status = 'processing',
      mg_mma_vars = coalesce(:variables, mg_mma_vars),
      mg_deadline_at = coalesce(now() + make_interval(secs => :deadline_seconds), mg_deadline_at),
      mg_takeovers = case when counted.ended > 0 then 0 else mg_takeovers end,
      mg_log_seq = case when counted.steps = jsonb_array_length(:steps) then mg_log_seq + jsonb_array_length(:lines) end
  from (select count(*) as steps, count(*) filter (where mg_status <> 'processing') as ended from step) counted
  where mg_id = :generation_key and counted.steps > 0
  returning mg_generation_id, mg_log_seq, mg_cancel_requested_at, mg_deadline_at
), line as (
  insert into image_generation_logs (job_id, user_id, level, step, message, details, seq)
  select mg_generation_id::uuid, :user_id, said.value->>'level', said.value->>'step', said.value->>'message',
    said.value->'details', mg_log_seq - jsonb_array_length(:lines) + said.no
  from noted, jsonb_array_elements(:lines) with ordinality as said (value, no)
)
select mg_log_seq as log_seq, mg_cancel_requested_at is not null as cancelling, mg_deadline_at as deadline_at,
  clock_timestamp() as written_at
from noted;

-- name: written_before^
-- Whether `write_steps` has been carried out, though its answer was lost: the lease is ours, and the writes are counted.
select mg_log_seq as log_seq, mg_cancel_requested_at is not null as cancelling, mg_deadline_at as deadline_at,
  clock_timestamp() as written_at
from mega_generations
where mg_id = :generation_key and mg_lease_no = :lease_no and not exists (
  select from jsonb_to_recordset(:steps) as given (id text, payload jsonb)
  left join mega_generations step on step.mg_id = given.id
  where step.mg_payload->'writes' is distinct from given.payload->'writes'
);

-- name: finish^
-- A final status never changes again.
with held as (
  update mega_generations
  set mg_mma_status = :status,
      mg_status = :record_status,
      mg_error = :error,
      mg_meta = mg_meta || jsonb_build_object('completed_at', now()) || :meta,
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

-- name: finished_before^
-- Whether `finish` has been carried out, though its answer was lost: a lease ends a generation once.
select mg_log_seq as log_seq, mg_cancel_requested_at is not null as cancelling, mg_deadline_at as deadline_at,
  clock_timestamp() as written_at
from mega_generations
where mg_id = :generation_key and mg_lease_no = :lease_no and mg_mma_status = :status;
