-- What is done once, however often it is asked for: writes under an idempotency key, and a shop's refunds.

set local lock_timeout = '10s';

-- The answer of a write, kept in the transaction that did it. `key_hash` is of who acts, the route and the key; a row
-- without an answer is one that is being done, until `busy_until`.
create table if not exists safelight.idempotent_requests (
  key_hash text primary key,
  request_hash text not null,
  answer jsonb check (octet_length(answer::text) <= 262144),
  busy_until timestamptz,
  created_at timestamptz not null default now()
);
create index if not exists idempotent_requests_created_at on safelight.idempotent_requests (created_at);

-- What a shop has given back to a buyer. `credits` is null where it was all that was left of the order; the rest is
-- filled when the order is known to have been credited.
create table if not exists safelight.shop_refunds (
  refund_id text primary key,
  order_id text not null,
  credits integer check (credits >= 0),
  due integer,
  taken integer,
  received_at timestamptz not null default now(),
  check (taken between 0 and due)
);
create index if not exists shop_refunds_order_id on safelight.shop_refunds (order_id);

-- Where credits went that were gathered from rows of one e-mail: a refund follows them.
create index if not exists mega_generations_merge on public.mega_generations (mg_ref_id)
  where mg_record_type = 'credit_transaction' and mg_ref_type = 'merge';

select safelight.guard_rows();
