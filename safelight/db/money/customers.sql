-- name: lock_customer^
-- Serialises everything that moves one customer's credits.
select mg_pass_id as pass_id, mg_user_id as user_id, mg_credits as credits, mg_expires_at as expires_at,
  mg_mma_preferences as preferences, mg_credits > 0 and coalesce(mg_expires_at <= now(), false) as is_due
from mega_customers where mg_pass_id = :pass_id for update;

-- name: insert_customer!
insert into mega_customers (mg_pass_id, mg_shopify_customer_id, mg_source_system)
values (:pass_id, :shopify_customer_id, 'safelight')
on conflict do nothing;

-- name: customer_by_pass_id^
select mg_pass_id as pass_id, mg_user_id as user_id, mg_credits as credits, mg_expires_at as expires_at,
  mg_mma_preferences as preferences, mg_credits > 0 and coalesce(mg_expires_at <= now(), false) as is_due
from mega_customers where mg_pass_id = :pass_id;

-- name: pass_id_of_shopify_customer$
select mg_pass_id from mega_customers where mg_shopify_customer_id = :shopify_customer_id;

-- name: save_preferences!
update mega_customers
set mg_mma_preferences = :preferences, mg_mma_preferences_updated_at = now()
where mg_pass_id = :pass_id;

-- name: customer_of_user^
select mg_pass_id as pass_id, mg_admin_allowlist as is_admin from mega_customers
where mg_user_id = :user_id::uuid
order by mg_created_at, mg_pass_id
limit 1;

-- name: lock_user$
-- Two first requests of one user make one row.
select pg_advisory_xact_lock(hashtextextended('user ' || :user_id, 0));

-- name: link_user^
-- The oldest row with the e-mail that is no user's, else the stated one where it is nobody's.
with candidate as (
  select mg_pass_id, 1 as place, mg_created_at from mega_customers
  where lower(mg_email) = :email and mg_user_id is null and mg_deleted_at is null
  union all
  select mg_pass_id, 2, mg_created_at from mega_customers
  where mg_pass_id = :claim and mg_user_id is null and mg_deleted_at is null
    and (mg_email is null or lower(mg_email) = :email)
  order by place, mg_created_at, mg_pass_id
  limit 1
)
update mega_customers customer
set mg_user_id = :user_id::uuid, mg_email = coalesce(customer.mg_email, :email),
  mg_verified_email = customer.mg_verified_email or :email::text is not null, mg_last_active = now()
from candidate
where customer.mg_pass_id = candidate.mg_pass_id and customer.mg_user_id is null
returning customer.mg_pass_id as pass_id, customer.mg_admin_allowlist as is_admin;

-- name: link_own_name!
update mega_customers
set mg_user_id = :user_id::uuid, mg_email = coalesce(:email, mg_email),
  mg_verified_email = mg_verified_email or :email::text is not null, mg_last_active = now()
where mg_pass_id = :pass_id and mg_user_id is null;

-- name: record_visit!
update mega_customers
set mg_last_active = now(), mg_email = coalesce(:email, mg_email),
  mg_verified_email = mg_verified_email or :email::text is not null
where mg_pass_id = :pass_id;

-- name: lock_same_email
-- All of them in one order, with the user's own: two of these cannot wait for each other.
select mg_pass_id as pass_id from mega_customers
where mg_pass_id = :pass_id or (lower(mg_email) = :email and mg_user_id is null and mg_deleted_at is null)
order by mg_pass_id
limit :limit
for update;

-- name: note_merged!
update mega_customers set mg_meta = coalesce(mg_meta, '{}') || jsonb_build_object('merged_into', :target::text)
where mg_pass_id = :source;

-- name: pass_ids_of
-- The customer's own, and those of rows that were merged into it and have become no other user's.
with recursive own as (
  select :pass_id::text as pass_id
  union
  select customer.mg_pass_id
  from own
  join mega_customers customer on customer.mg_meta->>'merged_into' = own.pass_id and customer.mg_user_id is null
)
select pass_id from own limit :limit;

-- name: pass_id_of_verified_email$
select mg_pass_id from mega_customers
where lower(mg_email) = :email and mg_user_id is not null and mg_verified_email and mg_deleted_at is null
order by mg_created_at, mg_pass_id
limit 1;

-- name: note_email_of_buyer!
update mega_customers set mg_email = :email
where mg_pass_id = :pass_id and mg_email is null
  and (mg_shopify_customer_id = :shopify_customer_id or mg_pass_id = :pass_id_of_email);

-- name: auto_top_up^
select coalesce(mg_meta->'autoTopup', '{}') as settings from mega_customers where mg_pass_id = :pass_id;

-- name: save_auto_top_up!
update mega_customers set mg_meta = mg_meta || jsonb_build_object('autoTopup', :settings::jsonb)
where mg_pass_id = :pass_id;
