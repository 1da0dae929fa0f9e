-- No customer gets both a result and their credits back: a signed-in user does not read where a result is before its
-- generation is done. And what was merged stays one customer's.

set local lock_timeout = '10s';

-- ---------------------------------------------------------------------------------------------------------------
-- Steps that make or look at a result name its file. A user reads them once the result is delivered.
-- ---------------------------------------------------------------------------------------------------------------

-- With the rights of its owner: the policy below asks about a row of the table that it guards.
create or replace function public.mega_result_is_delivered(generation_key text) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from public.mega_generations
    where mg_id = generation_key and mg_record_type = 'generation' and mg_mma_status in ('done', 'partial')
  )
$$;

insert into safelight.guarded (kind, name, for_users, own_rows) values
  ('function', 'mega_result_is_delivered', true, null)
on conflict (kind, name) do nothing;

update safelight.guarded
set own_rows = '(' || own_rows || $own$) and (
  mg_record_type <> 'mma_step'
  or not (strpos(mg_step_type, '_generate') > 0 or starts_with(mg_step_type, 'postscan'))
  or public.mega_result_is_delivered(mg_parent_id))$own$
where kind = 'relation' and name = 'mega_generations' and strpos(own_rows, 'mega_result_is_delivered') = 0;

-- They are made anew from the list.
drop policy if exists safelight_permissive on public.mega_generations;
drop policy if exists safelight_restrictive on public.mega_generations;

select safelight.guard_rows();

-- ---------------------------------------------------------------------------------------------------------------
-- Rows whose credits went to a user's row: the user keeps their private files
-- ---------------------------------------------------------------------------------------------------------------

create index if not exists mega_customers_merged_into on public.mega_customers ((mg_meta->>'merged_into'))
  where mg_meta->>'merged_into' is not null;

-- Merges before this migration left a pair of ledger rows.
update public.mega_customers customer
set mg_meta = coalesce(customer.mg_meta, '{}') || jsonb_build_object('merged_into', taken.mg_pass_id)
from public.mega_generations given
join public.mega_generations taken
  on taken.mg_record_type = 'credit_transaction' and taken.mg_ref_type = given.mg_ref_type
  and taken.mg_ref_id = given.mg_ref_id and taken.mg_delta > 0
where given.mg_record_type = 'credit_transaction' and given.mg_ref_type = 'merge' and given.mg_delta < 0
  and given.mg_reason = 'same_email' and customer.mg_pass_id = given.mg_pass_id
  and customer.mg_user_id is null and customer.mg_meta->>'merged_into' is null;
