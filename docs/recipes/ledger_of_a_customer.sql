-- Where did this customer's credits go? psql -v pass_id=… -f ledger_of_a_customer.sql
select
  mg_created_at as at,
  mg_delta as credits,
  sum(mg_delta) over (order by mg_created_at, mg_id) as balance_after,
  mg_reason as reason,
  mg_generation_id as generation_id
from mega_generations
where mg_record_type = 'credit_transaction' and mg_pass_id = :'pass_id'
order by mg_created_at, mg_id;
