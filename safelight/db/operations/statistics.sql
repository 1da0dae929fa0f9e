-- name: customer_count$
select count(*) from mega_customers where mg_deleted_at is null;

-- name: summary^
select count(*) as customers, coalesce(sum(mg_credits), 0)::bigint as credits,
  count(*) filter (where mg_meta #>> '{autoTopup,enabled}' = 'true') as auto_top_ups
from mega_customers
where mg_deleted_at is null;

-- name: customers
select mg_shopify_customer_id as shopify_customer_id, mg_email as email, mg_credits as credits,
  mg_last_active as last_active, mg_created_at as created_at, mg_updated_at as updated_at, mg_disabled as disabled
from mega_customers
where mg_deleted_at is null
order by mg_shopify_customer_id, mg_pass_id
limit :limit;

-- name: rows_of_tables^
select (select count(*) from mega_customers) as mega_customers,
  (select count(*) from mega_generations) as mega_generations;
