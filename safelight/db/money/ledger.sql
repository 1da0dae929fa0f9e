-- name: take_credits^
-- Never below zero: where the balance is too small, no row comes back and nothing changed.
update mega_customers set mg_credits = mg_credits - :credits
where mg_pass_id = :pass_id and mg_credits >= :credits
returning mg_credits as balance, mg_expires_at as expires_at;

-- name: give_credits!
update mega_customers
set mg_credits = mg_credits + :credits, mg_expires_at = greatest(mg_expires_at, :expires_at)
where mg_pass_id = :pass_id;

-- name: insert_entry!
insert into mega_generations (
  mg_id, mg_record_type, mg_pass_id, mg_generation_id, mg_delta, mg_reason, mg_source, mg_ref_type, mg_ref_id,
  mg_status, mg_meta, mg_event_at
) values (
  :id, 'credit_transaction', :pass_id, :generation_id, :delta, :reason, :source, :ref_type, :ref_id,
  'succeeded', :meta, now()
)
on conflict do nothing;

-- name: charge_of_generation^
select mg_pass_id as pass_id, -mg_delta as credits, (mg_meta->>'expires_at')::timestamptz as expires_at,
  coalesce((mg_meta->>'expires_at')::timestamptz <= now(), false) as has_expired
from mega_generations
where mg_record_type = 'credit_transaction' and mg_ref_type = 'mma_charge' and mg_ref_id = :ref_id;

-- name: balance_of$
select mg_credits from mega_customers where mg_pass_id = :pass_id;

-- name: entry_count$
select count(*) from mega_generations where mg_pass_id = :pass_id and mg_record_type = 'credit_transaction';

-- name: lock_balance$
select mg_credits from mega_customers where mg_pass_id = :pass_id for update;

-- name: set_balance!
update mega_customers
set mg_credits = :credits, mg_expires_at = greatest(mg_expires_at, :expires_at)
where mg_pass_id = :pass_id;

-- name: expire$
-- The row is locked first: what is taken is what is there. A time that is past says nothing of what comes later, also
-- where there was nothing to take.
with due as (
  select mg_pass_id, mg_credits, mg_expires_at from mega_customers
  where mg_pass_id = :pass_id and mg_expires_at <= now()
  for update
), emptied as (
  update mega_customers customer set mg_credits = 0, mg_expires_at = null
  from due where customer.mg_pass_id = due.mg_pass_id
)
insert into mega_generations (
  mg_id, mg_record_type, mg_pass_id, mg_delta, mg_reason, mg_source, mg_ref_type, mg_ref_id, mg_status, mg_meta,
  mg_event_at
)
select :id, 'credit_transaction', mg_pass_id, -mg_credits, 'expired', 'system', 'expiration',
  mg_pass_id || ':' || mg_expires_at, 'succeeded',
  jsonb_build_object('credits_before', mg_credits, 'credits_after', 0, 'expires_at', mg_expires_at), now()
from due
where mg_credits > 0
returning -mg_delta as credits;

-- name: lock_reference$
select pg_advisory_xact_lock(hashtextextended(:name, 0));

-- name: has_reference$
select exists (
  select from mega_generations
  where mg_record_type = 'credit_transaction' and mg_ref_type = :ref_type and mg_ref_id = :ref_id
);

-- name: entries
-- The balance after each is the sum of the ledger up to it. Entries of one transaction are told in the order of their ids.
select mg_created_at as at, mg_delta as delta,
  sum(mg_delta) over (order by mg_created_at, mg_id rows unbounded preceding)::bigint as balance,
  mg_reason as reason, mg_source as source, mg_ref_type as ref_type, mg_ref_id as ref_id,
  mg_generation_id as generation_id, mg_meta->>'expires_at' as expires_at
from mega_generations
where mg_record_type = 'credit_transaction' and mg_pass_id = :pass_id
order by mg_created_at desc, mg_id desc
limit :limit;

-- name: entries_page
-- `balance_after` is stored with each entry; entries of older versions have none.
select substr(mg_id, 20) as id, mg_id as key, mg_created_at as created_at, mg_delta as delta,
  (mg_meta->>'credits_after')::bigint as balance_after, mg_reason as reason, mg_ref_type as ref_type,
  mg_generation_id as generation_id
from mega_generations
where mg_record_type = 'credit_transaction' and mg_pass_id = :pass_id
  and (mg_created_at, mg_id) < (:before_at::timestamptz, :before_key::text)
order by mg_created_at desc, mg_id desc
limit :limit;

-- name: sums
select mg_ref_type as ref_type, count(*) as count, coalesce(sum(mg_delta) filter (where mg_delta > 0), 0)::bigint as given,
  coalesce(-sum(mg_delta) filter (where mg_delta < 0), 0)::bigint as taken
from mega_generations
where mg_record_type = 'credit_transaction' and mg_pass_id = :pass_id
group by mg_ref_type;
