-- name: active^
-- The active row of a key is the highest version among the enabled ones. Rows are never edited in place.
select mg_id, mg_key, mg_value, mg_content_hash
from mega_admin
where mg_record_type = 'app_config' and mg_key = :key and mg_deleted_at is null
  and coalesce((mg_value->>'enabled')::boolean, true)
order by coalesce(substring(mg_id from '[.]v([0-9]+)$')::integer, (mg_value->>'version')::integer, 0) desc
limit 1;

-- name: insert_version!
insert into mega_admin (mg_id, mg_record_type, mg_key, mg_value, mg_source_system, mg_event_at)
values (:id, 'app_config', :key, :value, 'safelight', now())
on conflict (mg_id) do nothing;
