-- name: entries
-- All moves of credits of one generation, in the order in which they happened.
select mg_created_at as at, mg_delta as credits, mg_ref_type as ref_type, mg_ref_id as reference
from mega_generations
where mg_record_type = 'credit_transaction' and mg_generation_id = :generation_id
order by mg_created_at, mg_id;

-- name: steps
-- A start that was accepted is paid; one whose answer was lost may be.
select mg_step_no as number, mg_step_type as type, mg_status as status,
  jsonb_array_length(coalesce(mg_payload->'attempts', '[]')) as attempts,
  mg_latency_ms / 1000.0::float8 as seconds,
  mg_payload #>> '{error,error_code}' as error_code,
  coalesce(jsonb_array_length(mg_payload #> '{output,slides}'), 0) as positions,
  mg_provider as provider, mg_model as model,
  coalesce(paid.usd, 0) as usd, coalesce(paid.possible_usd, 0) as possible_usd
from mega_generations
left join lateral (
  select sum((start->>'usd')::numeric) filter (where start->>'outcome' = 'accepted') as usd,
    sum((start->>'usd')::numeric) filter (where start->>'outcome' in ('asked', 'unknown')) as possible_usd
  from jsonb_array_elements(mg_payload->'starts') start
) paid on true
where mg_record_type = 'mma_step' and mg_generation_id = :generation_id
order by mg_step_no
limit :limit;
