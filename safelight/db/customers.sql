-- name: lock_customer^
-- Serialises everything that moves one customer's credits.
select mg_pass_id, mg_credits, mg_user_id, mg_mma_preferences
from mega_customers where mg_pass_id = :pass_id for update;

-- name: insert_customer!
insert into mega_customers (mg_pass_id, mg_shopify_customer_id, mg_source_system)
values (:pass_id, :shopify_customer_id, 'safelight')
on conflict do nothing;

-- name: customer_by_pass_id^
select mg_pass_id, mg_credits, mg_expires_at, mg_user_id, mg_mma_preferences
from mega_customers where mg_pass_id = :pass_id;

-- name: pass_id_of_shopify_customer$
select mg_pass_id from mega_customers where mg_shopify_customer_id = :shopify_customer_id;

-- name: save_preferences!
update mega_customers
set mg_mma_preferences = :preferences, mg_mma_preferences_updated_at = now()
where mg_pass_id = :pass_id;
