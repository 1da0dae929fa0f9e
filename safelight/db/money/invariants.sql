-- What must never be in a database. Each check reads one kind of row once and tells every problem it sees there, by its
-- name (problems.toml says each in plain words) and the row's id.
-- A generation is ours where it has a pipeline version; older rows have no steps, lines or jobs to be held to.

-- name: begin_pass!
-- One moment for all statements; nothing can be written.
set transaction isolation level repeatable read, read only;

-- name: bound_pass!
-- A row with a problem is rare, which the planner cannot know: it shall not count the cost of handing rows over.
select set_config('statement_timeout', :statement_timeout, true), set_config('work_mem', :work_mem, true),
  set_config('parallel_tuple_cost', '0', true);

-- name: first_of_each
-- The first :examples rows of each problem that a check finds, and how many there are: the check stands in place of `found`.
select problem, id, total
from (
  select problem, id, count(*) over (partition by problem) as total,
    row_number() over (partition by problem order by id) as place
  from found
) numbered
where place <= :examples;

-- name: check_customers
with ledger as (
  select mg_pass_id, sum(mg_delta) as total
  from mega_generations
  where mg_record_type = 'credit_transaction'
  group by mg_pass_id
), violations as (
  select coalesce(customer.mg_pass_id, ledger.mg_pass_id, '(nobody)') as id, array_remove(array[
    -- 1: the balance is the sum of the ledger
    case when coalesce(mg_credits, 0) <> coalesce(total, 0) then 'balance_is_not_the_sum' end,
    -- 1: and never negative
    case when mg_credits < 0 then 'balance_below_zero' end
  ], null) as problems
  from mega_customers customer
  full join ledger using (mg_pass_id)
)
select problem, id
from violations, unnest(problems) problem
where problems <> '{}';

-- name: check_generations
with line as (
  select 'generation:' || job_id as generation_key, count(*) as lines, min(seq) as first, max(seq) as last
  from image_generation_logs
  group by job_id
), made as (
  select mg_generation_id,
    bool_or(mg_step_type not in ('base_generation', 'variant_creation')) as has_result,
    count(distinct (slide->>'variant', slide->>'source')) filter (where slide is not null) as positions
  from mega_generations
  left join lateral jsonb_array_elements(
    case when mg_step_type in ('variant_creation', 'model_generate') then mg_payload #> '{output,slides}' end
  ) slide on true
  where mg_record_type = 'mma_step'
    and (strpos(mg_step_type, '_generate') > 0 or mg_step_type = 'variant_creation')
  group by mg_generation_id
), ledger as (
  -- By the reference, `mma:<id>` or `mma:<id>:…`, which the index of the ledger holds.
  select split_part(mg_ref_id, ':', 2) as mg_generation_id,
    sum(-mg_delta) filter (where mg_ref_type = 'mma_charge') as charged,
    coalesce(sum(mg_delta) filter (where mg_ref_type = 'mma_refund'), 0) as refunded
  from mega_generations
  where mg_record_type = 'credit_transaction' and mg_ref_type in ('mma_charge', 'mma_refund')
  group by 1
), generation as (
  select mg_generation_id as id, mg_mma_status as status, mg_output_key as output_key,
    (mg_meta->>'cost')::bigint as price, (mg_meta->>'price_each')::bigint as price_each,
    mg_mma_mode in ('image_job', 'model_run') as is_set, mg_log_seq as log_seq, mg_deleted_at is not null as deleted,
    coalesce(ledger.charged, 0) as charged, coalesce(ledger.refunded, 0) as refunded,
    coalesce(made.has_result, false) as made, coalesce(made.positions, 0) as positions,
    coalesce(line.lines, 0) as lines, coalesce(line.first, 1) as first_line, coalesce(line.last, 0) as last_line
  from mega_generations generation
  left join ledger using (mg_generation_id)
  left join line on line.generation_key = mg_id
  left join made using (mg_generation_id)
  where mg_record_type = 'generation' and mg_pipeline_version is not null
), violations as (
  select id, array_remove(array[
    -- 2: what was delivered was charged at its price (a suggestion alone has the price 0)
    case when not is_set and status in ('done', 'suggested') and charged <> coalesce(price, 0)
      then 'charge_is_not_the_price' end,
    -- 2: what was not delivered was given back
    case when not is_set and status in ('error', 'cancelled') and refunded < charged
        or is_set and status in ('done', 'error', 'cancelled', 'partial')
          and charged - refunded > positions * coalesce(price_each, 0)
      then 'refund_missing' end,
    -- 2: nothing was given back that was delivered, or was never taken
    case when refunded > charged or not is_set and refunded > 0 and status in ('done', 'suggested')
        or is_set and status in ('done', 'error', 'cancelled', 'partial')
          and charged - refunded < positions * coalesce(price_each, 0)
      then 'refund_too_high' end,
    -- 11: what is done was not given back as a whole
    case when status = 'done' and charged > 0 and refunded >= charged then 'refunded_result_delivered' end,
    -- 4: the lines of the job log are step_number 1, 2, 3, … up to the number the generation knows
    case when first_line <> 1 or last_line <> lines or last_line <> log_seq then 'line_number_missing' end,
    -- 7: what is done has a file, and a step that made it; what its customer deleted has none
    case when status = 'done' and not deleted
        and (is_set and positions = 0 or not is_set and (output_key is null or not made))
      then 'result_without_file' end
  ], null) as problems
  from generation
)
select problem, id
from violations, unnest(problems) problem
where problems <> '{}';

-- name: check_step_numbers
with step_number as (
  select mg_generation_id as id, count(*) as steps, count(distinct mg_step_no) as numbers,
    min(mg_step_no) as first, max(mg_step_no) as last
  from mega_generations
  where mg_record_type = 'mma_step'
  group by mg_generation_id
), violations as (
  select id, array_remove(array[
    -- 4: the steps of a generation are step_number 0, 1, 2, … (while some run side by side, one may not have begun yet)
    case when first <> 0 or last <> numbers - 1 then 'step_number_missing' end,
    -- 5: a step has one row
    case when steps <> numbers then 'step_row_twice' end
  ], null) as problems
  from step_number
)
select problem, id
from violations, unnest(problems) problem
where problems <> '{}'
  and exists (
    select from mega_generations
    where mg_id = 'generation:' || violations.id and mg_pipeline_version is not null
      and (problem <> 'step_number_missing' or mg_mma_status in ('done', 'error', 'suggested', 'cancelled', 'partial'))
  );

-- name: check_steps
-- The one reading of every payload. `|| '{}'` unpacks it once, `offset 0` keeps it for all that look into it.
with config as (
  select mg_id, safelight.content_hash(mg_value) as hash
  from mega_admin
  where mg_record_type = 'app_config' and mg_value is not null
), step as (
  select mg_id as id, mg_parent_id as generation_key, payload, coalesce(payload->'input', '{}') as input,
    mg_created_at >= (
      select (value #>> '{}')::timestamptz from safelight.settings where name = 'history_sealed_since'
    ) as has_hashes,
    payload #>> '{timing,ended_at}' is not null and payload->>'error' is null as succeeded,
    mg_step_type = any(:paid_types) as generates,
    split_part(mg_step_type, '_', 1) in ('scan', 'postscan', 'gpt', 'motion')
      or mg_step_type = 'like_history' and not coalesce(payload->'input', '{}') ? 'source' as asks
  from (
    select mg_id, mg_parent_id, mg_step_type, mg_created_at, mg_payload || '{}' as payload
    from mega_generations
    where mg_record_type = 'mma_step'
    offset 0
  ) unpacked
  offset 0
), violations as (
  select id, generation_key, array_remove(array[
    -- 3: a failed step is one of a generation that failed, or one of many side by side, or of an earlier round
    case when payload->>'error' is not null and not payload ? 'item' then 'failed_step_of_a_success' end,
    -- 5: after an attempt that succeeded there is no other
    case when payload #> '{attempts,1}' is not null and jsonb_path_exists(payload,
        '$.attempts[0 to last - 1] ? (@.ended_at != null && @.error == null)')
      then 'finished_step_tried_again' end,
    -- 6: where two starts of a step may both have been paid, the step says so
    case when payload #> '{starts,1}' is not null and payload->>'possible_double_spend' is null
        and jsonb_path_exists(payload,
          '$.starts[0 to last - 1] ? (@.outcome == "accepted" || @.outcome == "unknown")')
        and jsonb_array_length(jsonb_path_query_array(payload,
          '$.starts[*] ? (@.outcome == "accepted" || @.outcome == "unknown")')) > 1
      then 'double_payment_in_silence' end,
    -- 7: the hash of what was made is on record
    case when generates and succeeded and payload #>> '{output,sha256}' is null then 'result_without_hash' end,
    -- 10: a step that asked a model names the context (taste that has a source was not asked for)
    -- (nor was it where a stand-in is the output)
    case when asks and not payload ? 'degraded' and (succeeded or input <> '{}')
        and num_nulls(input->>'ctx_key', input->>'ctx_version', input->>'ctx_id',
          case when has_hashes then input->>'ctx_hash' else '' end) > 0
      then 'context_not_named' end,
    -- 10: a step that made something names the settings, and has them as they were sent
    case when generates and (succeeded or input <> '{}') and num_nulls(input->>'settings_key',
        input->>'settings_version', input->>'settings_id', input->>'settings_resolved',
        case when has_hashes then input->>'settings_hash' else '' end) > 0
      then 'settings_not_named' end,
    -- 10: what a step ran under is still there, with the content that it had
    case when input ? 'ctx_hash' and (input->>'ctx_id', input->>'ctx_hash') not in (select mg_id, hash from config)
        or input ? 'settings_hash'
          and (input->>'settings_id', input->>'settings_hash') not in (select mg_id, hash from config)
      then 'configuration_differs' end
  ], null) as problems
  from step
)
select problem, id
from violations, unnest(problems) problem, lateral (
  select mg_mma_status as status, mg_pipeline_version, mg_meta ? 'rounds' as had_rounds
  from mega_generations where mg_id = violations.generation_key offset 0
) generation
where problems <> '{}' and mg_pipeline_version is not null
  and (problem <> 'failed_step_of_a_success' or status not in ('error', 'cancelled', 'partial') and not had_rounds)
  and (problem <> 'result_without_hash' or status = 'done');

-- name: check_starts
with start as (
  select value->>'attempt_key' as id, value->>'outcome' as outcome
  from (
    select mg_payload from mega_generations
    where mg_record_type = 'mma_step' and strpos(mg_step_type, '_generate') > 0
    union all
    select mg_payload from mega_generations
    where mg_record_type = 'mma_step' and mg_step_type = 'base_generation'
  ) paid, jsonb_path_query(mg_payload, '$.starts[*]') value
), violations as (
  select id, array_remove(array[
    -- 6: a provider accepts one request for an attempt key
    case when count(*) filter (where outcome = 'accepted') > 1 then 'two_requests_accepted' end,
    -- 6: no two starts share a key
    case when count(*) filter (where outcome = 'accepted') <= 1 then 'attempt_key_twice' end
  ], null) as problems
  from start
  group by id
  having count(*) > 1
)
select problem, id
from violations, unnest(problems) problem;

-- name: check_failures
with failure as (
  select mg_generation_id as id, mg_mma_status as status, mg_mma_mode in ('image_job', 'model_run') as is_set,
    num_nonnulls(mg_output_url, mg_output_key) > 0 or jsonb_path_exists(mg_mma_vars, '$.outputs.* ? (@ != null)')
      as shows_result,
    exists (
      select from mega_generations step
      where step.mg_record_type = 'mma_step' and step.mg_generation_id = generation.mg_generation_id
        and step.mg_payload->>'error' is not null
    ) as has_failed_step,
    array(
      select mg_record_type from mega_admin
      where mg_record_type in ('error', 'warn') and mg_detail->>'generation_id' = generation.mg_generation_id
        and mg_action is distinct from 'frontend.error'
    ) as ops_rows
  from mega_generations generation
  where mg_record_type = 'generation' and mg_pipeline_version is not null
    and mg_mma_status in ('error', 'cancelled', 'partial')
), violations as (
  select id, array_remove(array[
    -- 3: the run plane shows which step failed
    case when status <> 'cancelled' and not has_failed_step then 'failure_without_step' end,
    -- 11: nothing leads to a result
    case when status <> 'partial' and not is_set and shows_result then 'refunded_result_named' end,
    -- 3: the ops plane shows it too; for a step that was stopped a warning will do
    case when status <> 'cancelled' and not 'error' = any (ops_rows)
        or status = 'cancelled' and has_failed_step and ops_rows = '{}'
      then 'failure_without_ops_row' end
  ], null) as problems
  from failure
)
select problem, id
from violations, unnest(problems) problem
where problems <> '{}';

-- name: check_unfinished
with unfinished as (
  select mg_generation_id as id, mg_deadline_at < now() - make_interval(secs => :overdue_seconds) as overdue,
    job.status is null as without_job,
    job.status = 'doing' and not exists (
      select from procrastinate_workers worker
      where worker.id = job.worker_id and worker.last_heartbeat > now() - make_interval(secs => :dead_after_seconds)
    ) as left_behind
  from mega_generations generation
  left join procrastinate_jobs job
    on job.queueing_lock = generation.mg_generation_id and job.status in ('todo', 'doing')
  where mg_record_type = 'generation' and mg_pipeline_version is not null
    and mg_mma_status in ('queued', 'scanning', 'prompting', 'generating', 'postscan')
    and mg_created_at < now() - make_interval(secs => :accepted_seconds)
), violations as (
  select id, array_remove(array[
    -- 8: somebody will come back for it
    case when without_job then 'generation_without_job' end,
    -- 8: and lives
    case when left_behind then 'worker_is_dead' end,
    -- 8: and in time
    case when overdue then 'deadline_passed' end
  ], null) as problems
  from unfinished
)
select problem, id
from violations, unnest(problems) problem
where problems <> '{}';

-- name: check_ops_rows
with violations as (
  select ops.mg_id as id, array_remove(array[
    -- 3: what ended well has no failed step in the ops plane
    case when ops.mg_record_type = 'error' and ops.mg_detail->>'step_type' is not null
        and generation.mg_mma_status = 'done' and not generation.mg_meta ? 'rounds'
      then 'error_of_a_success' end,
    -- 9: whoever reads the row need not guess
    case when (ops.mg_source_system = 'safelight' or generation.mg_id is not null)
        and not coalesce(ops.mg_detail, '{}') ?& :fields
      then 'ops_row_lacks_fields' end
  ], null) as problems
  from mega_admin ops
  left join mega_generations generation
    on generation.mg_id = 'generation:' || (ops.mg_detail->>'generation_id')
    and generation.mg_record_type = 'generation' and generation.mg_pipeline_version is not null
  where ops.mg_record_type in ('error', 'warn')
)
select problem, id
from violations, unnest(problems) problem
where problems <> '{}';

-- name: check_history
-- 12: what is history is as it was written; each row has the hash of what it said then. Rows from before there were hashes
-- have none.
with sealed as (
  select (value #>> '{}')::timestamptz as since from safelight.settings where name = 'history_sealed_since'
), kept as (
  select mg_id as id, mg_created_at as written_at, mg_row_hash as hash, safelight.row_hash(kept) as hash_now
  from mega_generations kept
  where mg_record_type in ('credit_transaction', 'mma_event', 'feedback')
    or mg_record_type = 'mma_step' and mg_payload #>> '{timing,ended_at}' is not null
  union all
  select mg_id, mg_created_at, mg_row_hash, safelight.row_hash(kept)
  from mega_admin kept
  where mg_record_type in ('app_config', 'admin_audit') and mg_id <> 'app_config:runtime'
  union all
  select 'image_generation_logs:' || job_id || ':' || seq, created_at, row_hash, safelight.row_hash(line)
  from image_generation_logs line
), violations as (
  select id, case when hash is null then 'history_unsealed' else 'history_changed' end as problem
  from kept
  where hash is distinct from hash_now and (hash is not null or written_at >= (select since from sealed))
)
select problem, id
from violations;
-- name: refunded_results
-- What ended without a result, or was deleted, and may have stored one, the newest first, with the keys that its rows
-- name.
select generation.mg_generation_id as generation_id, generation.mg_mma_mode as mode,
  generation.mg_deleted_at is not null as is_deleted,
  array(
    select distinct name.key from (
      select generation.mg_output_key as key
      union all
      select step.mg_payload #>> '{output,output_key}' from mega_generations step
      where step.mg_record_type = 'mma_step' and strpos(step.mg_step_type, '_generate') > 0
        and step.mg_generation_id = generation.mg_generation_id
      union all
      select more.output->>'key' from mega_generations step,
        jsonb_path_query(step.mg_payload, '$.output.more_outputs[*]') more (output)
      where step.mg_record_type = 'mma_step' and strpos(step.mg_step_type, '_generate') > 0
        and step.mg_generation_id = generation.mg_generation_id
    ) name where name.key is not null
  ) as keys
from mega_generations generation
where generation.mg_record_type = 'generation' and generation.mg_pipeline_version is not null
  and (
    generation.mg_deleted_at is not null
    or generation.mg_mma_status in ('error', 'cancelled') and not exists (
      select from mega_generations step
      where step.mg_record_type = 'mma_step' and step.mg_step_type in ('variant_creation', 'model_generate')
        and step.mg_generation_id = generation.mg_generation_id and step.mg_payload #> '{output,slides,0}' is not null
    )
  )
  and (
    num_nonnulls(generation.mg_output_url, generation.mg_output_key) > 0
    or jsonb_path_exists(generation.mg_mma_vars, '$.outputs.* ? (@ != null)')
    or (:withdrawn or not generation.mg_meta ? 'result_withdrawn_at') and exists (
      select from mega_generations step
      where step.mg_record_type = 'mma_step'
        and (strpos(step.mg_step_type, '_generate') > 0 or step.mg_step_type = 'base_generation')
        and step.mg_generation_id = generation.mg_generation_id
        and (step.mg_payload ? 'operation' or step.mg_payload #>> '{output,output_key}' is not null)
    )
  )
order by generation.mg_created_at desc
limit :limit;

-- name: newest_files
-- Those of sets are beside the others: so many of each.
(
select generation.mg_generation_id as generation_id, generation.mg_output_key as key,
  step.mg_payload #>> '{output,sha256}' as sha256
from mega_generations generation
join lateral (
  select mg_payload from mega_generations
  where mg_record_type = 'mma_step' and strpos(mg_step_type, '_generate') > 0
    and mg_generation_id = generation.mg_generation_id
  order by mg_step_no desc
  limit 1
) step on step.mg_payload #>> '{output,sha256}' is not null
where generation.mg_record_type = 'generation' and generation.mg_pipeline_version is not null
  and generation.mg_mma_status = 'done' and generation.mg_output_key is not null and generation.mg_deleted_at is null
order by generation.mg_created_at desc
limit :limit
)
union all
(
select step.mg_generation_id, slide->>'key', slide->>'sha256'
from mega_generations step
join mega_generations generation on generation.mg_id = step.mg_parent_id and generation.mg_deleted_at is null
cross join lateral jsonb_array_elements(step.mg_payload #> '{output,slides}') slide
where step.mg_record_type = 'mma_step' and step.mg_step_type = 'variant_creation'
order by step.mg_created_at desc
limit :limit
)
union all
(
select step.mg_generation_id, slide->>'key', slide->>'sha256'
from mega_generations step
join mega_generations generation on generation.mg_id = step.mg_parent_id and generation.mg_deleted_at is null
cross join lateral jsonb_array_elements(step.mg_payload #> '{output,slides}') slide
where step.mg_record_type = 'mma_step' and step.mg_step_type = 'model_generate'
order by step.mg_created_at desc
limit :limit
);

-- name: results_at_risk
-- Made, paid for, and nowhere but at their provider, who forgets them at `lost_at`.
select step.mg_generation_id as generation_id,
  (step.mg_payload #>> '{storage_away,until}')::timestamptz as lost_at
from mega_generations generation
join mega_generations step on step.mg_generation_id = generation.mg_generation_id
  and step.mg_record_type = 'mma_step' and step.mg_payload ? 'storage_away' and step.mg_payload ? 'operation'
  and step.mg_payload #>> '{timing,ended_at}' is null
where generation.mg_record_type = 'generation' and generation.mg_pipeline_version is not null
  and generation.mg_mma_status not in ('done', 'error', 'suggested', 'cancelled', 'partial')
order by lost_at;

-- name: schema_warnings
-- `public`, and our own schema, hold what migrations make: indexes, triggers and checks that hold.
with relation as (
  select * from pg_class where relnamespace = 'public'::regnamespace
), ours as (
  select oid, relname from relation
  where relname in ('mega_customers', 'mega_generations', 'mega_admin', 'image_generation_logs')
)
select 'the index ' || name || ' is missing; make it anew from supabase/migrations' as warning
from unnest(:indexes::text[]) name
where not exists (
  select from pg_class join pg_namespace on pg_namespace.oid = relnamespace
  where relkind = 'i' and relname = name and nspname in ('public', 'safelight')
) and not exists (select from safelight.online_work where strpos(statement, 'if not exists ' || name) > 0)
union all
select 'the index ' || relation.relname || ' is not valid; run: reindex index public.' || relation.relname
from pg_index join ours on ours.oid = indrelid join relation on relation.oid = indexrelid
where not indisvalid
union all
select 'the trigger ' || name || ' is missing; make it anew from supabase/migrations'
from unnest(:triggers::text[]) name
where not exists (select from pg_trigger where tgname = name)
union all
select 'the trigger ' || tgname || case tgenabled when 'D' then ' is disabled' else ' can be passed by as a replica' end
  || '; run: alter table public.' || relname || ' enable ' || case when tgname = any (:always) then 'always ' else '' end
  || 'trigger ' || tgname
from pg_trigger join ours on ours.oid = tgrelid
where (tgenabled = 'D' or tgenabled <> 'A' and tgname = any (:always)) and not tgisinternal
union all
select 'after a migration there is work left (' || reason || '); run: safelight migrate'
from safelight.online_work
union all
select 'old rows of ' || relname || ' do not meet ' || conname || '; mend them, then run: alter table public.' || relname
  || ' validate constraint ' || conname
from pg_constraint join ours on ours.oid = conrelid
where contype = 'c' and not convalidated;

-- name: migrations_are_recorded$
select to_regclass('supabase_migrations.schema_migrations') is not null;

-- name: applied_migrations
select version from supabase_migrations.schema_migrations;

-- name: lock_generation!
-- A statement of its own: what the next one reads is what the last to hold the lock has left.
select mg_id from mega_generations where mg_id = :generation_key for update;

-- name: failure^
select generation.mg_generation_id as generation_id, generation.mg_pass_id as pass_id,
  generation.mg_mma_status as status, generation.mg_error as message,
  coalesce(generation.mg_meta->'request', '{}') as request, step.mg_step_type as step_type,
  step.mg_provider as provider, step.mg_model as model, step.mg_payload as payload, clock_timestamp() as read_at,
  (
    select coalesce(max(mg_step_no), -1) + 1 from mega_generations
    where mg_record_type = 'mma_step' and mg_generation_id = generation.mg_generation_id
  ) as next_step_no,
  exists (
    select from mega_admin
    where mg_record_type in ('error', 'warn') and mg_detail->>'generation_id' = generation.mg_generation_id
      and mg_action is distinct from 'frontend.error'
      and (mg_record_type = 'error' or generation.mg_mma_status = 'cancelled')
  ) as has_ops_row,
  generation.mg_mma_mode in ('image_job', 'model_run') as is_set,
  coalesce(jsonb_array_length(generation.mg_meta->'rounds'), 0) as round_no,
  (
    select coalesce(-sum(mg_delta), 0)::bigint from mega_generations
    where mg_record_type = 'credit_transaction' and mg_ref_type in ('mma_charge', 'mma_refund')
      and mg_generation_id = generation.mg_generation_id
  ) - coalesce((generation.mg_meta->>'price_each')::bigint, 0) * (
    select count(distinct (slide->>'variant', slide->>'source'))
    from mega_generations made, jsonb_array_elements(made.mg_payload #> '{output,slides}') slide
    where made.mg_record_type = 'mma_step' and made.mg_generation_id = generation.mg_generation_id
  ) as overpaid
from mega_generations generation
left join lateral (
  select * from mega_generations failed
  where failed.mg_record_type = 'mma_step' and failed.mg_generation_id = generation.mg_generation_id
    and failed.mg_payload->>'error' is not null
  order by failed.mg_step_no desc
  limit 1
) step on true
where generation.mg_id = :generation_key and generation.mg_mma_status in ('error', 'cancelled', 'partial');

-- name: insert_failed_step!
insert into mega_generations (
  mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_pass_id, mg_session_id, mg_platform, mg_mma_mode,
  mg_mma_status, mg_step_no, mg_step_type, mg_payload, mg_status
)
select :step_key, 'mma_step', mg_generation_id, mg_id, mg_pass_id, mg_session_id, mg_platform, mg_mma_mode,
  mg_mma_status, :step_no, :step_type, :payload, 'failed'
from mega_generations where mg_id = :generation_key;
