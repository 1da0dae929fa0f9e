-- Generations whose input pictures are not ours yet: their payload holds a note `imports` until they are.

-- name: pending_imports^
-- None: there is nothing to import, or a worker has the generation, or it is final.
select mg_pass_id as pass_id, mg_meta #>> '{request,request_id}' as request_id, mg_payload->'order' as "order",
  mg_payload #> '{imports,pictures}' as pictures, mg_takeovers as takeovers, mg_cancel_requested_at is not null as cancelling
from mega_generations
where mg_id = :generation_key and mg_payload ? 'imports' and mg_lease_no = 0 and mg_mma_status = 'queued';

-- name: store_imports^
-- The order goes on with our copies. Doing it twice is doing it once: the note is gone.
with held as (
  update mega_generations
  set mg_payload = mg_payload - 'imports' || jsonb_build_object('order', :order::jsonb, 'imported', :imported::jsonb),
      mg_mma_vars = coalesce(jsonb_set(
        mg_mma_vars || :variables::jsonb, '{userMessages,scan_lines}',
        mg_mma_vars #> '{userMessages,scan_lines}' || jsonb_build_object('index', mg_log_seq, 'text', :message::text)
      ), mg_mma_vars || :variables::jsonb),
      mg_log_seq = mg_log_seq + 1,
      mg_takeovers = 0
  where mg_id = :generation_key and mg_payload ? 'imports' and mg_lease_no = 0 and mg_mma_status = 'queued'
  returning mg_generation_id, mg_pass_id, mg_log_seq
), line as (
  insert into image_generation_logs (job_id, user_id, level, step, message, seq)
  select mg_generation_id::uuid, customer.mg_user_id, 'info', 'initialization', :message, mg_log_seq
  from held left join mega_customers customer using (mg_pass_id)
)
select mg_generation_id from held;
