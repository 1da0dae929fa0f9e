-- name: record!
insert into safelight.shop_refunds (refund_id, order_id, credits) values (:refund_id, :order_id, :credits)
on conflict (refund_id) do nothing;

-- name: credited^
select mg_pass_id as pass_id, mg_delta as credits from mega_generations
where mg_record_type = 'credit_transaction' and mg_ref_type = 'shopify_order' and mg_ref_id = :order_id
order by mg_created_at
limit 1;

-- name: open_refunds
-- Those that name their credits first: what is left goes to the one that takes all.
select refund_id, credits from safelight.shop_refunds
where order_id = :order_id and due is null
order by credits is null, received_at, refund_id
limit 500;

-- name: due_before$
select coalesce(sum(due), 0) from safelight.shop_refunds where order_id = :order_id;

-- name: close_refund!
update safelight.shop_refunds set due = :due, taken = :taken where refund_id = :refund_id;

-- name: holders
-- The two entries of a move of credits have one reference.
with recursive holder (pass_id, moves) as (
  values (:pass_id::text, 0)
  union
  select target.mg_pass_id, holder.moves + 1
  from holder
  join mega_generations source
    on source.mg_pass_id = holder.pass_id and source.mg_record_type = 'credit_transaction'
    and source.mg_ref_type = 'merge' and source.mg_delta < 0
  join mega_generations target
    on target.mg_record_type = 'credit_transaction' and target.mg_ref_type = 'merge'
    and target.mg_ref_id = source.mg_ref_id and target.mg_delta > 0
  where holder.moves < 5
)
select pass_id, min(moves) as moves from holder group by pass_id order by moves, pass_id limit 50;
