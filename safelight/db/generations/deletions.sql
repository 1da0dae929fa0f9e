-- name: lock_record^
-- A row of the customer's history, by its mg_id or, for a generation, by its own id. `is_needed`: something unfinished
-- is made from it.
select mg_id as id, mg_record_type as record_type, mg_generation_id as generation_id, mg_mma_mode as mode,
  mg_mma_status as status, mg_output_url as url, mg_output_key as key, mg_pipeline_version is not null as is_ours,
  mg_meta ? 'result_withdrawn_at' as is_withdrawn,
  exists (
    select from mega_generations made
    where made.mg_record_type = 'generation' and made.mg_pass_id = :pass_id and made.mg_parent_id = record.mg_id
      and made.mg_mma_status in ('queued', 'scanning', 'prompting', 'generating', 'postscan')
  ) as is_needed
from mega_generations record
where mg_id in (:id, 'generation:' || :id) and mg_pass_id = :pass_id
  and mg_record_type in ('generation', 'feedback', 'session')
limit 1
for update of record;

-- name: mark_deleted!
update mega_generations set mg_deleted_at = now() where mg_id = :id and mg_deleted_at is null;
