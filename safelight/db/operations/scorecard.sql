-- What a rehearsal is judged by. Each statement reads the tables alone, without trusting the code that wrote them.

-- name: name_registrations!
-- A worker's registration also says which process it is of: each has a role of its own.
alter table procrastinate_workers add column if not exists name text default session_user;

-- name: generations_now
select mg_generation_id as generation_id, mg_mma_status as status, mg_mma_mode as mode, mg_pass_id as pass_id,
  mg_lease_no as lease_no
from mega_generations
where mg_record_type = 'generation' and mg_pipeline_version is not null;

-- name: held_by
-- The unfinished generations whose jobs a worker process has.
select generation.mg_generation_id as generation_id, generation.mg_lease_no as lease_no
from procrastinate_workers worker
join procrastinate_jobs job on job.worker_id = worker.id and job.status = 'doing'
join mega_generations generation on generation.mg_id = 'generation:' || job.queueing_lock
where worker.name = :name
  and generation.mg_mma_status not in ('done', 'error', 'suggested', 'cancelled', 'partial');

-- name: ledger_errors
-- A balance is the sum of the ledger; a generation is charged its price, once, and gets exactly that back when it
-- ended without a result.
with moved as (
  select mg_generation_id as generation_id,
    coalesce(sum(-mg_delta) filter (where mg_ref_type = 'mma_charge'), 0) as charged,
    coalesce(sum(mg_delta) filter (where mg_ref_type = 'mma_refund'), 0) as refunded
  from mega_generations
  where mg_record_type = 'credit_transaction' and mg_generation_id is not null
  group by mg_generation_id
), owed as (
  select mg_generation_id as generation_id, mg_mma_status as status, (mg_meta->>'cost')::integer as price,
    case when mg_mma_status in ('error', 'cancelled') then (mg_meta->>'cost')::integer else 0 end as refund
  from mega_generations
  where mg_record_type = 'generation' and mg_pipeline_version is not null
)
select concat(generation_id, ' (', coalesce(status, 'unknown'), '): charged ', coalesce(charged, 0), ' of ',
  coalesce(price, 0), ', given back ', coalesce(refunded, 0), ' of ', coalesce(refund, 0)) as problem
from owed full join moved using (generation_id)
where (coalesce(charged, 0), coalesce(refunded, 0)) is distinct from (coalesce(price, 0), coalesce(refund, 0))
union all
select concat(customer.mg_pass_id, ': the balance is ', customer.mg_credits, ', the ledger says ', ledger.credits)
from mega_customers customer
cross join lateral (
  select coalesce(sum(entry.mg_delta), 0) as credits
  from mega_generations entry
  where entry.mg_record_type = 'credit_transaction' and entry.mg_pass_id = customer.mg_pass_id
) ledger
where customer.mg_credits <> ledger.credits;

-- name: errors
select coalesce(mg_meta #>> '{error,code}', 'none') as code, count(*) as times
from mega_generations
where mg_record_type = 'generation' and mg_mma_status = 'error'
group by code
order by times desc, code;

-- name: results_beside_refunds
-- Refunded, and their result was stored whole, or a row leads to it.
select generation.mg_generation_id as generation_id
from mega_generations generation
where generation.mg_record_type = 'generation' and generation.mg_pipeline_version is not null
  and (generation.mg_mma_status in ('error', 'cancelled') or exists (
    select from mega_generations refund
    where refund.mg_record_type = 'credit_transaction' and refund.mg_ref_type = 'mma_refund'
      and refund.mg_ref_id = 'mma:' || generation.mg_generation_id
  ))
  and (
    num_nonnulls(generation.mg_output_url, generation.mg_output_key) > 0
    or jsonb_path_exists(generation.mg_mma_vars, '$.outputs.* ? (@ != null)')
    or exists (
      select from mega_generations step
      where step.mg_record_type = 'mma_step' and step.mg_generation_id = generation.mg_generation_id
        and strpos(step.mg_step_type, '_generate') > 0 and step.mg_status = 'succeeded'
    )
  )
order by generation_id;

-- name: recorded_double_starts
-- Steps that say themselves that they may have been paid twice, by number and by type, and those of which an ops row
-- says it, by what their attempt key calls them.
select mg_generation_id as generation_id, called.step
from mega_generations
cross join lateral (values (mg_step_no::text), (mg_step_type)) called (step)
where mg_record_type = 'mma_step' and mg_payload ? 'possible_double_spend'
union
select mg_detail->>'generation_id', split_part(mg_detail #>> '{possible_double_spend,attempt_key}', ':', 2)
from mega_admin
where mg_record_type in ('error', 'warn') and mg_detail ? 'possible_double_spend';

-- name: outputs
-- The file of each generation that is done, and the hash it had when it was stored.
select generation.mg_generation_id as generation_id, generation.mg_output_key as key,
  step.mg_payload #>> '{output,sha256}' as sha256
from mega_generations generation
left join mega_generations step
  on step.mg_record_type = 'mma_step' and step.mg_generation_id = generation.mg_generation_id
  and step.mg_payload #>> '{output,output_key}' = generation.mg_output_key
where generation.mg_record_type = 'generation' and generation.mg_mma_status = 'done';
