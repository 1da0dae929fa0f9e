-- Fills a scratch database with what many days leave behind. The generations :first to :last, ten steps each; every
-- fiftieth fails at its ninth step. Widths are those of real rows: about 1 KB a step, 2 KB a generation.

-- name: insert_customers!
insert into mega_customers (mg_pass_id, mg_credits)
select 'pass:user:' || no, 0 from generate_series(0, :customers::integer - 1) no;

-- name: insert_generations!
insert into mega_generations (
  mg_id, mg_record_type, mg_generation_id, mg_pass_id, mg_session_id, mg_platform, mg_title, mg_type, mg_content_type,
  mg_provider, mg_model, mg_mma_mode, mg_mma_status, mg_status, mg_error, mg_output_url, mg_output_key, mg_prompt,
  mg_latency_ms, mg_meta, mg_payload, mg_pipeline_version, mg_log_seq, mg_created_at, mg_source_system
)
select 'generation:' || id, 'generation', id, 'pass:user:' || mod(no, :customers::integer), 'session-' || no / 10, 'web', 'bench',
  'image', 'image', 'seedream', 'bench', 'still', case when failed then 'error' else 'done' end,
  case when failed then 'failed' else 'succeeded' end, case when failed then 'bench' end,
  case when not failed then 'http://127.0.0.1:8787/assets/mma/still/' || id || '.png' end,
  case when not failed then 'mma/still/' || id || '.png' end, repeat('a prompt ', 30), 9000,
  jsonb_build_object('flow', 'still_create', 'cost', 1),
  jsonb_build_object('order', jsonb_build_object('brief', repeat(md5(no::text), 50))), 1, :lines,
  now() - make_interval(secs => :last::integer - no), 'safelight'
from (
  select no, mod(no, 50) = 0 as failed, '00000000-0000-7000-8000-' || lpad(to_hex(no), 12, '0') as id
  from generate_series(:first::integer, :last::integer) no
) made;

-- name: insert_steps!
insert into mega_generations (
  mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_pass_id, mg_session_id, mg_platform, mg_mma_mode,
  mg_mma_status, mg_step_no, mg_step_type, mg_provider, mg_model, mg_latency_ms, mg_status, mg_created_at, mg_payload
)
select 'mma_step:' || id || ':' || step_no, 'mma_step', id, 'generation:' || id, 'pass:user:' || mod(no, :customers::integer),
  'session-' || no / 10, 'web', 'still', 'prompting', step_no, step_type, 'local', 'bench', 900,
  case when failed then 'failed' else 'succeeded' end, now() - make_interval(secs => :last::integer - no),
  jsonb_build_object(
    'input', case when step_type = 'seedream_generate'
      then jsonb_build_object('settings_key', 'mma.provider.seedream.defaults', 'settings_version', 1, 'settings_id',
        'app_config:mma.provider.seedream.defaults.v1', 'settings_hash', (select mg_content_hash from mega_admin
        where mg_id = 'app_config:mma.provider.seedream.defaults.v1'), 'settings_resolved', '{"size": "1K"}'::jsonb,
        'prompt', repeat('a prompt ', 60))
      else jsonb_build_object('ctx_key', 'mma.ctx.gpt_reader', 'ctx_version', 1, 'ctx_id',
        'app_config:mma.ctx.gpt_reader.v1', 'ctx_hash', (select mg_content_hash from mega_admin
        where mg_id = 'app_config:mma.ctx.gpt_reader.v1'), 'role', 'product', 'image_url', repeat('a prompt ', 40))
    end,
    'output', case
      when failed then '{}'::jsonb
      when step_type = 'seedream_generate' then jsonb_build_object('sha256', repeat(md5(no::text), 2),
        'output_key', 'mma/still/' || id || '.png', 'media_type', 'image/png', 'bytes', 900000)
      else jsonb_build_object('crt', repeat('what is to be seen ', 15))
    end,
    'timing', jsonb_build_object('started_at', '2025-12-20T09:00:00.000+00:00', 'ended_at',
      '2025-12-20T09:00:00.900+00:00', 'duration_ms', 900),
    'error', case when failed then '{"error_code": "MMA_SEEDREAM_TIMEOUT", "type": "ProviderTimeout"}'::jsonb end,
    'attempts', jsonb_build_array(jsonb_build_object('attempt', 1, 'started_at', '2025-12-20T09:00:00.000+00:00',
      'ended_at', '2025-12-20T09:00:00.900+00:00', 'error', case when failed then 'ProviderTimeout' end)),
    'starts', case when step_type = 'seedream_generate'
      then jsonb_build_array(jsonb_build_object('attempt_key', id || ':8:1', 'outcome', 'accepted', 'handle', id))
      else '[]'::jsonb
    end
  )
from (
  select no, '00000000-0000-7000-8000-' || lpad(to_hex(no), 12, '0') as id, step_no - 1 as step_no, step_type,
    mod(no, 50) = 0 and step_no = 9 as failed
  from generate_series(:first::integer, :last::integer) no,
    unnest(array['scan_product', 'scan_logo', 'scan_inspiration', 'scan_inspiration', 'scan_inspiration',
      'scan_inspiration', 'like_history', 'gpt_reader', 'seedream_generate', 'postscan_output_still'])
      with ordinality as story (step_type, step_no)
) taken
where not (mod(no, 50) = 0 and step_no = 9);

-- name: insert_ledger!
insert into mega_generations (
  mg_id, mg_record_type, mg_pass_id, mg_generation_id, mg_delta, mg_reason, mg_ref_type, mg_ref_id, mg_created_at
)
select 'credit_transaction:' || kind || ':' || id, 'credit_transaction', 'pass:user:' || mod(no, :customers::integer), id, delta, 'mma_still', kind,
  'mma:' || id, now() - make_interval(secs => :last::integer - no)
from (
  select no, '00000000-0000-7000-8000-' || lpad(to_hex(no), 12, '0') as id from generate_series(:first::integer, :last::integer) no
) made, (values ('mma_charge', -1), ('mma_refund', 1)) as entry (kind, delta)
where kind = 'mma_charge' or mod(no, 50) = 0;

-- name: insert_lines!
insert into image_generation_logs (job_id, level, step, message, seq, created_at)
select ('00000000-0000-7000-8000-' || lpad(to_hex(no), 12, '0'))::uuid, 'info', 'gpt_reader',
  'I know how this should look.', seq, now() - make_interval(secs => :last::integer - no)
from generate_series(:first::integer, :last::integer) no, generate_series(1, :lines::integer) seq;

-- name: insert_ops_rows!
insert into mega_admin (mg_id, mg_record_type, mg_action, mg_source_system, mg_detail)
select 'error:' || no, 'error', 'mma.step', 'safelight', :detail::jsonb || jsonb_build_object('generation_id',
  '00000000-0000-7000-8000-' || lpad(to_hex(no), 12, '0'))
from generate_series(:first::integer, :last::integer) no where mod(no, 50) = 0;

-- name: insert_grants!
-- Every balance is what was granted, less what was charged and not given back.
insert into mega_generations (mg_id, mg_record_type, mg_pass_id, mg_delta, mg_reason, mg_ref_type, mg_ref_id)
select 'credit_transaction:grant:' || mg_pass_id, 'credit_transaction', mg_pass_id, -sum(mg_delta), 'bench', 'manual', mg_pass_id
from mega_generations where mg_record_type = 'credit_transaction' group by mg_pass_id;

-- name: droppable_indexes
-- Rows go in faster without them; keys and what unique rules need stay.
select indexname as name, indexdef as definition from pg_indexes
where schemaname = 'public' and tablename in ('mega_generations', 'image_generation_logs')
  and indexdef !~* '^create unique';

-- name: size^
select (select count(*) from mega_generations) + (select count(*) from image_generation_logs)
  + (select count(*) from mega_admin) + (select count(*) from mega_customers) as rows,
  pg_database_size(current_database()) as bytes;
