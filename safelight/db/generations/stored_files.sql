-- name: unnamed_keys
-- A result is stored before the row that names it: while its generation runs, it is nobody's orphan. What a generation
-- has left that ended without a result, or was deleted, is one, whoever names it; a set that was stopped keeps what its
-- steps name.
select stored.key
from unnest(:keys::text[], :generation_ids::text[]) as stored (key, generation_id)
where not exists (
  select from mega_generations named
  where named.mg_generation_id = stored.generation_id
    and (
      named.mg_output_key = stored.key
      or named.mg_record_type = 'mma_step' and named.mg_payload #>> '{output,output_key}' = stored.key
      or named.mg_record_type = 'mma_step'
        and (
          named.mg_payload #> '{output,more_outputs}' @> jsonb_build_array(jsonb_build_object('key', stored.key))
          or named.mg_payload #> '{output,slides}' @> jsonb_build_array(jsonb_build_object('key', stored.key))
        )
      or named.mg_record_type = 'generation'
        and named.mg_mma_status not in ('done', 'error', 'suggested', 'cancelled', 'partial')
    )
)
or exists (
  select from mega_generations ended
  where ended.mg_id = 'generation:' || stored.generation_id and ended.mg_pipeline_version is not null
    and (
      ended.mg_mma_status in ('error', 'cancelled') and ended.mg_mma_mode is distinct from 'image_job'
      or ended.mg_deleted_at is not null
    )
);
