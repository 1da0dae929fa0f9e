-- Files that customers stored: the row names a private file. A file that is stored twice has one row.

-- name: insert_file!
insert into mega_generations (
  mg_id, mg_record_type, mg_pass_id, mg_title, mg_content_type, mg_output_key, mg_project_id, mg_status, mg_meta,
  mg_event_at
) values (
  'file:' || :file_id, 'file', :pass_id, :name, :media_type, :key, :project_id, 'succeeded', :meta, now()
)
on conflict do nothing;

-- name: file_of_key^
select substr(mg_id, 6) as file_id, mg_title as name, mg_content_type as media_type, mg_output_key as key,
  mg_project_id as project_id, mg_meta as meta, mg_created_at as created_at
from mega_generations
where mg_record_type = 'file' and mg_deleted_at is null and mg_output_key = :key and mg_pass_id = :pass_id;

-- name: files_of_ids
select substr(mg_id, 6) as file_id, mg_title as name, mg_content_type as media_type, mg_output_key as key,
  mg_project_id as project_id, mg_meta as meta, mg_created_at as created_at
from mega_generations
where mg_id = any(:keys) and mg_record_type = 'file' and mg_deleted_at is null and mg_pass_id = :pass_id
order by mg_created_at desc, mg_id desc;

-- name: files
select substr(mg_id, 6) as file_id, mg_title as name, mg_content_type as media_type, mg_output_key as key,
  mg_project_id as project_id, mg_meta as meta, mg_created_at as created_at
from mega_generations
where mg_record_type = 'file' and mg_deleted_at is null and mg_pass_id = :pass_id
  and (:project_id::text is null or mg_project_id = :project_id)
  and (mg_created_at, mg_id) < (:before_at::timestamptz, :before_key::text)
order by mg_created_at desc, mg_id desc
limit :limit;

-- name: count_files$
select count(*) from mega_generations
where mg_record_type = 'file' and mg_deleted_at is null and mg_pass_id = :pass_id;

-- name: sums_of_files
select mg_content_type as media_type, count(*) as count, coalesce(sum((mg_meta->>'bytes')::bigint), 0)::bigint as bytes
from mega_generations
where mg_record_type = 'file' and mg_deleted_at is null and mg_pass_id = :pass_id
group by mg_content_type
order by mg_content_type;

-- name: duplicates
select mg_meta->>'sha256' as sha256, count(*) as count, max((mg_meta->>'bytes')::bigint) as bytes,
  array_agg(substr(mg_id, 6) order by mg_created_at, mg_id) as file_ids
from mega_generations
where mg_record_type = 'file' and mg_deleted_at is null and mg_pass_id = :pass_id
group by mg_meta->>'sha256'
having count(*) > 1
order by mg_meta->>'sha256'
limit :limit;

-- name: mark_files_deleted
-- Those that were marked before too: what is left of their files is deleted again.
update mega_generations set mg_deleted_at = coalesce(mg_deleted_at, now())
where mg_id = any(:keys) and mg_record_type = 'file' and mg_pass_id = :pass_id
returning substr(mg_id, 6) as file_id, mg_output_key as key;

-- name: move_files
update mega_generations set mg_project_id = :project_id, mg_updated_at = now()
where mg_id = any(:keys) and mg_record_type = 'file' and mg_deleted_at is null and mg_pass_id = :pass_id
returning substr(mg_id, 6) as file_id;

-- name: keys_in_use
-- Of these keys those that another row of a file names: its content was stored again.
select mg_output_key as key from mega_generations
where mg_record_type = 'file' and mg_deleted_at is null and mg_output_key = any(:keys);
