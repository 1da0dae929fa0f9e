-- One shop order is one top-up, whoever delivers its webhook how often.

set local lock_timeout = '10s';

-- A ledger from before may hold an order twice. That is found and mended by people; it must not stop the migration.
do $$
begin
  create unique index if not exists mega_generations_shop_order_key
    on public.mega_generations (mg_ref_id)
    where mg_record_type = 'credit_transaction' and mg_ref_type = 'shopify_order';
exception when unique_violation then
  raise warning 'the ledger holds a shop order twice; its unique index was not made';
end $$;
