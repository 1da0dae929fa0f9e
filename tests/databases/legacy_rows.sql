-- {n} customers of the MEGA tables and four of the older schema's users for every ten of them, with all that the contract says
-- an older backend got wrong: bare ids, a debit under its generation's id, balances that no ledger explains, debts,
-- refunds without a charge, unknown types, identities stated twice.
insert into legacy.mega_customers (
  mg_pass_id, mg_shopify_customer_id, mg_user_id, mg_email, mg_credits, mg_meta, mg_created_at
)
select 'pass_' || n, case when n % 2 = 0 then n::text end,
  case n % 5 when 0 then md5('user' || n)::uuid when 1 then md5('user' || n - 1)::uuid end,
  'c' || n || '@example.com', n % 40 - 3, '{"autoTopup": {"enabled": true}}', now() - make_interval(days => n % 300)
from generate_series(1, {n}) n;

insert into legacy.customers (shopify_customer_id, email, credits, favourite_colour)
select n::text, 'c' || n || '@example.com', n % 40, 'safelight red' from generate_series(2, {n}, 4) n
union all
select 'only-here-' || n, null, 7, null from generate_series(1, {n} / 10) n;

insert into legacy.mega_generations (
  mg_id, mg_record_type, mg_pass_id, mg_session_id, mg_generation_id, mg_type, mg_prompt, mg_output_url, mg_status,
  mg_payload, mg_created_at
)
select 'gen_' || n, 'generation', 'pass_' || n, 'sess_' || md5('s' || n)::uuid, 'gen_' || n, 'image', 'a vase ' || n,
  'https://assets.example/' || n || '.png', 'succeeded', '{"brief": "a vase", "nothing": null}'::jsonb, now() - make_interval(days => n % 300)
from generate_series(1, {n}) n
union all
select 'sess_' || md5('s' || n)::uuid, 'session', 'pass_' || n, 'sess_' || md5('s' || n)::uuid, null, null, null, null, null, '{}', now()
from generate_series(1, {n}) n
union all
select md5('like' || n), 'feedback', 'pass_' || n, null, 'gen_' || n, 'image', 'a vase ' || n,
  'https://assets.example/' || n || '.png', 'succeeded', '[]', now()
from generate_series(1, {n}, 3) n;

insert into legacy.mega_generations (mg_id, mg_record_type, mg_pass_id, mg_delta, mg_reason, mg_ref_type, mg_ref_id)
select 'debit_gen_' || n, 'credit_transaction', 'pass_' || n, -1, 'image-generate', 'generation', 'gen_' || n
from generate_series(1, {n}) n
union all
select 'credit_transaction:' || n, 'credit_transaction', 'pass_' || n, 50, 'shopify-order', 'shopify_order', 'order-' || n
from generate_series(1, {n}, 2) n
union all
select 'refund-' || n, 'credit_transaction', 'pass_' || n, 5, 'mma_refund', 'mma_refund', 'pass_1'
from generate_series(1, {n}, 7) n;

insert into legacy.mega_generations (
  mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_step_no, mg_step_type, mg_mma_status, mg_status, mg_payload
) values
  ('mma_step:gen_1:0', 'mma_step', 'gen_1', 'generation:gen_1', 0, 'gpt_reader', 'error', 'failed',
    '{"error": {"error_code": "MMA_TIMEOUT"}, "timing": {"ended_at": "2025-12-01"}}'),
  ('step-without-number', 'mma_step', 'gen_1', null, null, 'gpt_reader', null, null, '{}'),
  ('note:1', 'legacy_note', null, null, null, null, null, null, '{}'),
  ('generation:h', 'generation', 'h', null, null, null, 'working', 'working', '{}');

insert into legacy.mega_admin (mg_id, mg_record_type, mg_actor_pass_id, mg_key, mg_value, mg_detail) values
  ('0c2f7bd5-8a3e-4e8a-a3a5-3a4d3f8f0b11', 'error', 'pass_1', null, null, '{"message": "old"}'),
  ('app_config:mma.ctx.gpt_reader.v9', 'app_config', null, 'mma.ctx.gpt_reader', '{"version": 9, "enabled": true}', null),
  ('login', 'visit', 'pass_2', null, null, null);

insert into legacy.profiles (id, username, display_name)
select md5('user' || n)::uuid, 'user' || n, 'User ' || n from generate_series(5, {n}, 5) n
union all
select md5('alone' || n)::uuid, 'alone' || n, null from generate_series(1, {n} / 5) n;

insert into legacy.projects (id, name, owner_id)
select md5('project' || n)::uuid, 'Project ' || n, md5('user' || n)::uuid from generate_series(5, {n}, 5) n;

insert into legacy.sessions (id, project_id, name, type)
select md5('session' || n)::uuid, md5('project' || n)::uuid, 'Session ' || n, 'image' from generate_series(5, {n}, 5) n;

insert into legacy.generations (id, session_id, user_id, model_id, prompt, parameters, status, cost)
select md5('made' || n)::uuid, md5('session' || n)::uuid, md5('user' || n)::uuid, 'flux', 'a jug ' || n,
  (case n % 3 when 0 then '{"size": "1K", "error": "rate limit", "errorContext":
    {"message": "rate limit", "type": "RateLimitError", "timestamp": "2025-12-01T00:00:00Z", "stack": "at provider.ts:1"}}'
    else '{"size": "1K"}' end)::json,
  case n % 3 when 0 then 'failed' when 1 then 'completed' else 'processing' end, 0.03
from generate_series(5, {n}, 5) n;

insert into legacy.outputs (id, generation_id, file_url, file_type, created_at)
select md5('output' || n || '-' || i)::uuid, md5('made' || n)::uuid, 'https://files.example/' || n || '-' || i || '.png', 'image',
  now() + make_interval(mins => i)
from generate_series(5, {n}, 5) n, generate_series(1, 2) i where n % 3 = 1;
