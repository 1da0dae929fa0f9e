-- name: take_credits$
-- Never below zero: where the balance is too small, no row comes back and nothing changed.
update mega_customers set mg_credits = mg_credits - :credits
where mg_pass_id = :pass_id and mg_credits >= :credits
returning mg_credits;

-- name: give_credits$
update mega_customers set mg_credits = mg_credits + :credits where mg_pass_id = :pass_id returning mg_credits;

-- name: insert_entry!
insert into mega_generations (
  mg_id, mg_record_type, mg_pass_id, mg_generation_id, mg_delta, mg_reason, mg_source, mg_ref_type, mg_ref_id,
  mg_status, mg_meta, mg_event_at
) values (
  :id, 'credit_transaction', :pass_id, :generation_id, :delta, :reason, :source, :ref_type, :ref_id,
  'succeeded', :meta, now()
)
on conflict (mg_ref_type, mg_ref_id)
  where mg_record_type = 'credit_transaction' and mg_ref_type in ('mma_charge', 'mma_refund')
  do nothing;

-- name: charge_of_generation^
select mg_pass_id, -mg_delta as credits, mg_reason from mega_generations
where mg_record_type = 'credit_transaction' and mg_ref_type = 'mma_charge' and mg_ref_id = :ref_id;

-- name: balance_of$
select mg_credits from mega_customers where mg_pass_id = :pass_id;

-- name: entry_count$
select count(*) from mega_generations where mg_pass_id = :pass_id and mg_record_type = 'credit_transaction';
