-- Rows of the old tables, as ours. A batch is mapped into a table of the session (`taken…`), then kept: what is new is
-- inserted, what has changed in the old table is taken again, what is the same is left alone. Each keeps its old row
-- under `legacy`, by the old table's name: whole, but for secrets. Where it had some, the hash of the row with them is
-- beside it, under `legacy_hash`: so both sides can be compared, and a change of what is not kept is seen.

-- name: tables_of_schema
select relname as name from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where nspname = :schema and relkind in ('r', 'p');

-- name: prepare#
-- The name spares old failures the demand that both planes tell of them: the old backend wrote only one.
select set_config('application_name', 'safelight backfill', false);
create temp table if not exists given (content jsonb, hash text, kept jsonb) on commit delete rows;
create temp table if not exists taken_customers (like public.mega_customers including defaults) on commit delete rows;
create temp table if not exists taken (like public.mega_generations including defaults) on commit delete rows;
create temp table if not exists taken_admin (like public.mega_admin including defaults) on commit delete rows;

-- name: begin_alone$
select pg_try_advisory_lock(:lock);

-- name: position_of^
select mg_value->>'table' as table, mg_value->>'after' as after from mega_admin where mg_id = :id;

-- name: save_position!
insert into mega_admin (mg_id, mg_record_type, mg_key, mg_value)
values (:id, 'runtime_config', 'backfill', jsonb_build_object('table', :table::text, 'after', :after::text))
on conflict (mg_id) do update set mg_value = excluded.mg_value;

-- name: forget_position!
delete from mega_admin where mg_id = :id;

-- name: load_batch!
-- `kept` is what each row leaves in ours. The rows come as bytes, which nothing changes on their way.
insert into given (content, hash, kept)
select row.content, row.hash,
  jsonb_build_object('legacy', jsonb_build_object(:table::text, row.content))
  || case when row.hash is null then '{}'
    else jsonb_build_object('legacy_hash', jsonb_build_object(:table::text, row.hash)) end
from (
  select convert_from(old.content, 'UTF8')::jsonb as content, old.hash
  from unnest(:contents::bytea[], :hashes::text[]) old (content, hash)
) row;

-- ---------------------------------------------------------------------------------------------------------------
-- Customers
-- ---------------------------------------------------------------------------------------------------------------

-- name: map_mega_customers!
-- An identity that another customer has stays with that one; the old row still says it.
insert into taken_customers (
  mg_pass_id, mg_shopify_customer_id, mg_user_id, mg_email, mg_first_name, mg_last_name, mg_display_name, mg_locale,
  mg_timezone, mg_marketing_opt_in, mg_product_updates_opt_in, mg_expires_at, mg_last_active, mg_disabled,
  mg_verified_email, mg_verified_google, mg_verified_apple, mg_verification_method, mg_verification_at,
  mg_topup_default_packs, mg_auto_topup_enabled, mg_auto_topup_monthly_limit_packs, mg_last_topup_at, mg_topup_source,
  mg_meta, mg_created_at, mg_admin_allowlist, mg_mma_preferences
)
select legacy.mg_pass_id,
  case when row_number() over (partition by legacy.mg_shopify_customer_id order by legacy.mg_pass_id) = 1
    and not exists (
      select from mega_customers other
      where other.mg_shopify_customer_id = legacy.mg_shopify_customer_id and other.mg_pass_id <> legacy.mg_pass_id
    ) then legacy.mg_shopify_customer_id end,
  case when row_number() over (partition by legacy.mg_user_id order by legacy.mg_pass_id) = 1
    and not exists (
      select from mega_customers other
      where other.mg_user_id = legacy.mg_user_id and other.mg_pass_id <> legacy.mg_pass_id
    ) then legacy.mg_user_id end,
  legacy.mg_email, legacy.mg_first_name, legacy.mg_last_name, legacy.mg_display_name, legacy.mg_locale,
  legacy.mg_timezone, legacy.mg_marketing_opt_in, legacy.mg_product_updates_opt_in, legacy.mg_expires_at,
  legacy.mg_last_active, coalesce(legacy.mg_disabled, false), legacy.mg_verified_email, legacy.mg_verified_google,
  legacy.mg_verified_apple, legacy.mg_verification_method, legacy.mg_verification_at,
  greatest(coalesce(legacy.mg_topup_default_packs, 3), 0), legacy.mg_auto_topup_enabled,
  greatest(legacy.mg_auto_topup_monthly_limit_packs, 0), legacy.mg_last_topup_at, legacy.mg_topup_source,
  case jsonb_typeof(legacy.mg_meta) when 'object' then legacy.mg_meta else '{}' end - 'legacy_hash' || given.kept,
  coalesce(legacy.mg_created_at, now()), coalesce(legacy.mg_admin_allowlist, false),
  coalesce(legacy.mg_mma_preferences, '{}')
from given, jsonb_populate_record(null::public.mega_customers, given.content) legacy;

-- name: map_customers!
-- The table behind the old list of customers: a shop's customers, known by its id for them.
insert into taken_customers (
  mg_pass_id, mg_shopify_customer_id, mg_email, mg_disabled, mg_last_active, mg_created_at, mg_meta
)
select coalesce(known.mg_pass_id, 'pass:shopify:' || old.shopify_id), old.shopify_id, content->>'email',
  coalesce((content->>'disabled')::boolean, false), (content->>'last_active')::timestamptz,
  coalesce((content->>'created_at')::timestamptz, now()),
  given.kept
from given
cross join lateral (select content->>'shopify_customer_id' as shopify_id) old
left join mega_customers known on known.mg_shopify_customer_id = old.shopify_id;

-- name: map_profiles!
insert into taken_customers (mg_pass_id, mg_user_id, mg_display_name, mg_created_at, mg_deleted_at, mg_meta)
select coalesce(known.mg_pass_id, 'pass:user:' || old.user_id), old.user_id,
  coalesce(content->>'display_name', content->>'username'), coalesce((content->>'created_at')::timestamptz, now()),
  (content->>'deleted_at')::timestamptz, given.kept
from given
cross join lateral (select (content->>'id')::uuid as user_id) old
left join mega_customers known on known.mg_user_id = old.user_id;

-- name: lock_customers!
select from mega_customers
where mg_pass_id in (select mg_pass_id from taken_customers union select mg_pass_id from taken)
order by mg_pass_id for update;

-- name: insert_customers!
insert into mega_customers (mg_pass_id, mg_source_system, mg_created_at)
select mg_pass_id, 'legacy', mg_created_at from taken_customers
on conflict do nothing;

-- name: keep_customers!
-- What is known already goes before what the old row says. The old balance counts once: by how much it has changed.
-- Where two old tables tell a balance, that of mega_customers is the newer one.
update mega_customers customer set
  mg_shopify_customer_id = coalesce(customer.mg_shopify_customer_id, taken.mg_shopify_customer_id),
  mg_user_id = coalesce(customer.mg_user_id, taken.mg_user_id),
  mg_email = coalesce(customer.mg_email, taken.mg_email),
  mg_first_name = coalesce(customer.mg_first_name, taken.mg_first_name),
  mg_last_name = coalesce(customer.mg_last_name, taken.mg_last_name),
  mg_display_name = coalesce(customer.mg_display_name, taken.mg_display_name),
  mg_locale = coalesce(customer.mg_locale, taken.mg_locale),
  mg_timezone = coalesce(customer.mg_timezone, taken.mg_timezone),
  mg_marketing_opt_in = customer.mg_marketing_opt_in or taken.mg_marketing_opt_in,
  mg_product_updates_opt_in = customer.mg_product_updates_opt_in or taken.mg_product_updates_opt_in,
  mg_expires_at = greatest(customer.mg_expires_at, taken.mg_expires_at),
  mg_last_active = greatest(customer.mg_last_active, taken.mg_last_active),
  mg_disabled = customer.mg_disabled or taken.mg_disabled,
  mg_verified_email = customer.mg_verified_email or taken.mg_verified_email,
  mg_verified_google = customer.mg_verified_google or taken.mg_verified_google,
  mg_verified_apple = customer.mg_verified_apple or taken.mg_verified_apple,
  mg_verification_method = coalesce(customer.mg_verification_method, taken.mg_verification_method),
  mg_verification_at = coalesce(customer.mg_verification_at, taken.mg_verification_at),
  mg_topup_default_packs = case
    when taken.mg_meta->'legacy' ? 'mega_customers' then taken.mg_topup_default_packs
    else customer.mg_topup_default_packs end,
  mg_auto_topup_enabled = customer.mg_auto_topup_enabled or taken.mg_auto_topup_enabled,
  mg_auto_topup_monthly_limit_packs =
    coalesce(customer.mg_auto_topup_monthly_limit_packs, taken.mg_auto_topup_monthly_limit_packs),
  mg_last_topup_at = greatest(customer.mg_last_topup_at, taken.mg_last_topup_at),
  mg_topup_source = coalesce(customer.mg_topup_source, taken.mg_topup_source),
  mg_deleted_at = coalesce(customer.mg_deleted_at, taken.mg_deleted_at),
  mg_created_at = least(customer.mg_created_at, taken.mg_created_at),
  mg_admin_allowlist = customer.mg_admin_allowlist or taken.mg_admin_allowlist,
  mg_mma_preferences = taken.mg_mma_preferences || customer.mg_mma_preferences,
  mg_meta = (taken.mg_meta || customer.mg_meta) - 'legacy_hash' || jsonb_build_object('legacy', known.after)
    || case known.hashes_after when '{}' then '{}' else jsonb_build_object('legacy_hash', known.hashes_after) end,
  mg_credits = greatest(customer.mg_credits
    + greatest(coalesce(known.after #>> '{mega_customers,mg_credits}', known.after #>> '{customers,credits}', '0')::integer, 0)
    - greatest(coalesce(known.before #>> '{mega_customers,mg_credits}', known.before #>> '{customers,credits}', '0')::integer, 0),
    0)
from taken_customers taken
join (
  select old.mg_pass_id, coalesce(old.mg_meta->'legacy', '{}') as before,
    coalesce(old.mg_meta->'legacy', '{}') || (taken.mg_meta->'legacy') as after,
    coalesce(old.mg_meta->'legacy_hash', '{}') as hashes_before,
    coalesce(old.mg_meta->'legacy_hash', '{}') - array(select jsonb_object_keys(taken.mg_meta->'legacy'))
      || coalesce(taken.mg_meta->'legacy_hash', '{}') as hashes_after
  from mega_customers old
  join taken_customers taken using (mg_pass_id)
) known using (mg_pass_id)
where customer.mg_pass_id = taken.mg_pass_id
  and (known.after, known.hashes_after) <> (known.before, known.hashes_before);

-- name: amend_openings!
-- An opening entry that must follow what came over after it is history: it is changed by its one way, on record.
select safelight.amend_history('the backfill settles opening entries', 'backfill')
where exists (
  select from mega_customers customer
  join mega_generations opening on opening.mg_id = 'credit_transaction:opening:' || customer.mg_pass_id
  where customer.mg_pass_id in (
    select mg_pass_id from taken_customers
    union select mg_pass_id from taken where mg_record_type = 'credit_transaction'
  ) and customer.mg_credits <> (
    select sum(mg_delta) from mega_generations
    where mg_record_type = 'credit_transaction' and mg_pass_id = customer.mg_pass_id
  )
);

-- name: add_opening_balances!
-- What a customer's ledger does not explain of their balance is its opening entry, so that the balance is the sum.
insert into mega_generations (
  mg_id, mg_record_type, mg_pass_id, mg_delta, mg_reason, mg_source, mg_ref_type, mg_ref_id, mg_status, mg_source_system
)
select entry.id, 'credit_transaction', customer.mg_pass_id, customer.mg_credits - ledger.total, 'opening-balance',
  'backfill', 'backfill', customer.mg_pass_id, 'succeeded', 'safelight'
from mega_customers customer
cross join lateral (select 'credit_transaction:opening:' || customer.mg_pass_id as id) entry
cross join lateral (
  select coalesce(sum(mg_delta), 0) as total, coalesce(sum(mg_delta) filter (where mg_id = entry.id), 0) as opening
  from mega_generations
  where mg_record_type = 'credit_transaction' and mg_pass_id = customer.mg_pass_id
) every_entry
cross join lateral (select every_entry.total - every_entry.opening as total) ledger
where customer.mg_credits <> every_entry.total and customer.mg_pass_id in (
  select mg_pass_id from taken_customers
  union select mg_pass_id from taken where mg_record_type = 'credit_transaction'
)
on conflict (mg_id) do update set mg_delta = excluded.mg_delta;

-- ---------------------------------------------------------------------------------------------------------------
-- The run plane
-- ---------------------------------------------------------------------------------------------------------------

-- name: map_mega_generations!
-- What our tables have no type for is kept as an event. Charges and refunds of the old pipelines get types of their own:
-- ours are held to be unique, and to be of one generation. What only our engine writes is not taken over.
insert into taken
select made.*
from given
cross join lateral (
  select jsonb_object_agg(key, value) - array[
    'mg_lease_no', 'mg_log_seq', 'mg_pipeline_version', 'mg_idempotency_key', 'mg_request_hash', 'mg_deadline_at',
    'mg_cancel_requested_at', 'mg_cancel_requested_by', 'mg_takeovers'] as content
  from jsonb_each(given.content) where value <> 'null'
) said
cross join lateral (select said.content->>'mg_id' as id, said.content->>'mg_record_type' as type) old
cross join lateral (
  select case
    when old.type in ('generation', 'session', 'feedback', 'credit_transaction', 'mma_event') then old.type
    when old.type = 'mma_step' and said.content ?& array['mg_step_no', 'mg_step_type', 'mg_generation_id']
      and starts_with(said.content->>'mg_parent_id', 'generation:') then old.type
    else 'mma_event'
  end as now
) type
cross join lateral jsonb_populate_record(
  jsonb_populate_record(null::public.mega_generations, jsonb_build_object(
    'mg_meta', '{}'::jsonb, 'mg_mma_vars', '{}'::jsonb, 'mg_created_at', now(), 'mg_updated_at', now(),
    'mg_lease_no', 0, 'mg_log_seq', 0, 'mg_takeovers', 0)),
  said.content || jsonb_build_object(
    'mg_id', case
      when starts_with(old.id, type.now || ':') then old.id
      when type.now = 'session' then 'session:' || regexp_replace(old.id, '^sess_', '')
      else type.now || ':' || old.id
    end,
    'mg_record_type', type.now,
    'mg_generation_id', coalesce(
      nullif(said.content->>'mg_generation_id', ''), case type.now when 'generation' then regexp_replace(old.id, '^generation:', '') end),
    'mg_session_id', regexp_replace(said.content->>'mg_session_id', '^sess_', ''),
    'mg_ref_type', case
      when said.content->>'mg_ref_type' in ('mma_charge', 'mma_refund') then 'legacy_' || (said.content->>'mg_ref_type')
      else said.content->>'mg_ref_type' end,
    'mg_mma_status', case
      when said.content->>'mg_mma_status' in ('queued', 'scanning', 'prompting', 'generating', 'postscan', 'done', 'error',
        'suggested', 'cancelled', 'partial') then said.content->>'mg_mma_status' end,
    'mg_meta', case jsonb_typeof(said.content->'mg_meta') when 'object' then said.content->'mg_meta' else '{}' end
      || case when type.now = old.type then '{}' else jsonb_build_object('event_type', 'legacy.' || old.type) end,
    'mg_payload', case jsonb_typeof(said.content->'mg_payload') when 'object' then said.content->'mg_payload' else '{}' end
      - 'legacy_hash' || given.kept,
    'mg_source_system', 'legacy.mega_generations'
  )
) made;

-- name: map_projects!
insert into taken (mg_id, mg_record_type, mg_pass_id, mg_title, mg_meta, mg_payload, mg_source_system, mg_created_at)
select 'mma_event:project:' || (content->>'id'), 'mma_event',
  coalesce(customer.mg_pass_id, 'pass:user:' || (content->>'owner_id')), content->>'name',
  '{"event_type": "legacy.project"}', given.kept,
  'legacy.projects', coalesce((content->>'created_at')::timestamptz, now())
from given
left join mega_customers customer on customer.mg_user_id = (content->>'owner_id')::uuid;

-- name: map_sessions!
-- A session is its project's owner's.
insert into taken (
  mg_id, mg_record_type, mg_session_id, mg_pass_id, mg_title, mg_meta, mg_payload, mg_source_system, mg_created_at
)
select 'session:' || (content->>'id'), 'session', content->>'id',
  coalesce(project.mg_pass_id, 'pass:user:' || (content->>'user_id')), content->>'name',
  jsonb_build_object('project_id', content->'project_id', 'type', content->'type'),
  given.kept, 'legacy.sessions',
  coalesce((content->>'created_at')::timestamptz, now())
from given
left join mega_generations project on project.mg_id = 'mma_event:project:' || (content->>'project_id');

-- name: map_generations!
-- What was hidden from lists (`dismissed`) is deleted. A stack is for operators: it stays in the old row.
insert into taken (
  mg_id, mg_record_type, mg_generation_id, mg_session_id, mg_pass_id, mg_model, mg_prompt, mg_status, mg_error, mg_meta,
  mg_payload, mg_source_system, mg_created_at, mg_updated_at, mg_deleted_at
)
select 'generation:' || (content->>'id'), 'generation', content->>'id', content->>'session_id',
  coalesce(customer.mg_pass_id, 'pass:user:' || (content->>'user_id')), content->>'model_id', content->>'prompt',
  case content->>'status'
    when 'completed' then 'succeeded' when 'dismissed' then 'failed' when 'queued' then 'pending'
    else content->>'status' end,
  content #>> '{parameters,error}',
  case when jsonb_typeof(content #> '{parameters,errorContext}') = 'object'
    then jsonb_build_object('error', (content #> '{parameters,errorContext}') - 'stack') else '{}' end,
  jsonb_build_object(
    'order', case jsonb_typeof(content->'parameters')
      when 'object' then (content->'parameters') - array['error', 'errorContext'] else '{}' end) || given.kept,
  'legacy.generations', coalesce(made.at, now()), coalesce(made.at, now()),
  case content->>'status' when 'dismissed' then made.at end
from given
cross join lateral (select (content->>'created_at')::timestamptz as at) made
left join mega_customers customer on customer.mg_user_id = (content->>'user_id')::uuid;

-- name: map_outputs!
insert into taken (
  mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_pass_id, mg_output_url, mg_content_type, mg_meta, mg_payload,
  mg_source_system, mg_created_at
)
select 'mma_event:output:' || (content->>'id'), 'mma_event', content->>'generation_id',
  'generation:' || (content->>'generation_id'), generation.mg_pass_id, content->>'file_url', content->>'file_type',
  '{"event_type": "legacy.output"}', given.kept,
  'legacy.outputs', coalesce((content->>'created_at')::timestamptz, now())
from given
left join mega_generations generation on generation.mg_id = 'generation:' || (content->>'generation_id');

-- name: insert_owners!
-- A row may name a customer whom no table knows.
insert into mega_customers (mg_pass_id, mg_source_system)
select distinct mg_pass_id, 'legacy' from taken where mg_pass_id is not null
on conflict do nothing;

-- name: amend_changed!
-- Rows of history that have changed in the old tables are taken again by its one way, on record.
select safelight.amend_history('the backfill takes changed rows again', 'backfill')
where exists (
  select from mega_generations kept join taken using (mg_id)
  where kept.mg_source_system = taken.mg_source_system
    and (kept.mg_payload->'legacy', kept.mg_payload->'legacy_hash')
      is distinct from (taken.mg_payload->'legacy', taken.mg_payload->'legacy_hash')
) or exists (
  select from mega_admin kept join taken_admin taken using (mg_id)
  where kept.mg_source_system = taken.mg_source_system
    and (kept.mg_payload->'legacy', kept.mg_payload->'legacy_hash')
      is distinct from (taken.mg_payload->'legacy', taken.mg_payload->'legacy_hash')
);

-- name: drop_changed!
delete from mega_generations kept using taken
where kept.mg_id = taken.mg_id and kept.mg_source_system = taken.mg_source_system
  and (kept.mg_payload->'legacy', kept.mg_payload->'legacy_hash')
    is distinct from (taken.mg_payload->'legacy', taken.mg_payload->'legacy_hash');

-- name: keep_generations!
insert into mega_generations select distinct on (mg_id) * from taken order by mg_id
on conflict do nothing;

-- name: show_outputs!
-- A generation's result is its first output.
update mega_generations generation set mg_output_url = first.url, mg_content_type = first.content_type
from (
  select distinct on (output.mg_generation_id) 'generation:' || output.mg_generation_id as generation_key,
    output.mg_output_url as url, output.mg_content_type as content_type
  from mega_generations output
  where output.mg_source_system = 'legacy.outputs' and output.mg_record_type = 'mma_event'
    and output.mg_generation_id in (select mg_generation_id from taken where mg_source_system = 'legacy.outputs')
  order by output.mg_generation_id, output.mg_created_at, output.mg_id
) first
where generation.mg_id = first.generation_key and generation.mg_source_system = 'legacy.generations'
  and (generation.mg_output_url, generation.mg_content_type) is distinct from (first.url, first.content_type);

-- ---------------------------------------------------------------------------------------------------------------
-- Operators' rows
-- ---------------------------------------------------------------------------------------------------------------

-- name: map_mega_admin!
-- Old prompts and provider defaults are kept for reading: put among ours, the highest version would be in force.
insert into taken_admin
select made.*
from given
cross join lateral (
  select jsonb_object_agg(key, value) as content from jsonb_each(given.content) where value <> 'null'
) said
cross join lateral (select said.content->>'mg_id' as id, said.content->>'mg_record_type' as type) old
cross join lateral (
  select case
    when old.type = 'app_config' and starts_with(said.content->>'mg_key', 'mma') then 'admin_audit'
    when old.type in ('admin_session', 'admin_audit', 'profile', 'runtime_config', 'app_config', 'error', 'warn') then old.type
    else 'admin_audit'
  end as now
) type
cross join lateral jsonb_populate_record(
  jsonb_populate_record(null::public.mega_admin, jsonb_build_object(
    'mg_meta', '{}'::jsonb, 'mg_created_at', now(), 'mg_updated_at', now())),
  said.content || jsonb_build_object(
    'mg_id', case when starts_with(old.id, type.now || ':') then old.id else type.now || ':' || old.id end,
    'mg_record_type', type.now,
    'mg_action', case when type.now = old.type then said.content->>'mg_action' else 'legacy.' || old.type end,
    'mg_actor_pass_id', (
      select customer.mg_pass_id from mega_customers customer where customer.mg_pass_id = said.content->>'mg_actor_pass_id'),
    'mg_payload', case jsonb_typeof(said.content->'mg_payload') when 'object' then said.content->'mg_payload' else '{}' end
      - 'legacy_hash' || given.kept,
    'mg_source_system', 'legacy.mega_admin'
  )
) made;

-- name: drop_changed_admin!
delete from mega_admin kept using taken_admin taken
where kept.mg_id = taken.mg_id and kept.mg_source_system = taken.mg_source_system
  and (kept.mg_payload->'legacy', kept.mg_payload->'legacy_hash')
    is distinct from (taken.mg_payload->'legacy', taken.mg_payload->'legacy_hash');

-- name: keep_admin!
insert into mega_admin select distinct on (mg_id) * from taken_admin order by mg_id
on conflict do nothing;

-- ---------------------------------------------------------------------------------------------------------------
-- Parity
-- ---------------------------------------------------------------------------------------------------------------

-- name: kept_rows
-- Of each old table: rows, credits as our columns have them, and a hash of the old rows that does not depend on order.
with kept as (
  select legacy.key as table, legacy.value as content, mg_meta->'legacy_hash'->>legacy.key as hash,
    greatest(coalesce(legacy.value->>'mg_credits', legacy.value->>'credits', '0')::numeric, 0) as credits
  from mega_customers, jsonb_each(mg_meta->'legacy') legacy
  union all
  select old.table, mg_payload->'legacy'->old.table, mg_payload->'legacy_hash'->>old.table, mg_delta
  from mega_generations, split_part(mg_source_system, '.', 2) old ("table")
  where starts_with(mg_source_system, 'legacy.')
  union all
  select 'mega_admin', mg_payload #> '{legacy,mega_admin}', mg_payload #>> '{legacy_hash,mega_admin}', 0
  from mega_admin where mg_source_system = 'legacy.mega_admin'
)
select kept.table, count(*) as rows, coalesce(sum(credits), 0)::bigint as credits,
  sum(('x' || left(coalesce(kept.hash, md5(content::text)), 15))::bit(60)::bigint)::text as hash
from kept
group by kept.table;

-- name: balances^
-- What came over, as the ledger has it, against what the old balances say; and balances that are not their ledger's sum.
with customer as (
  select mg_pass_id, mg_credits, mg_meta ? 'legacy' as is_old, greatest(coalesce(
    mg_meta #>> '{legacy,mega_customers,mg_credits}', mg_meta #>> '{legacy,customers,credits}', '0')::integer, 0) as legacy
  from mega_customers
), ledger as (
  select mg_pass_id, sum(mg_delta) as total, sum(mg_delta) filter (
    where mg_source_system = 'legacy.mega_generations' or mg_id = 'credit_transaction:opening:' || mg_pass_id) as came_over
  from mega_generations where mg_record_type = 'credit_transaction' group by mg_pass_id
)
select coalesce(sum(customer.legacy), 0)::bigint as legacy,
  coalesce(sum(ledger.came_over) filter (where is_old), 0)::bigint as safelight,
  count(*) filter (where is_old and customer.legacy <> coalesce(ledger.came_over, 0)) as customers_that_differ,
  count(*) filter (where customer.mg_credits <> coalesce(ledger.total, 0)) as balances_without_ledger
from customer left join ledger using (mg_pass_id);
