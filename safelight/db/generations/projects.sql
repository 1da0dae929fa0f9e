-- name: insert_project!
insert into mega_generations (mg_id, mg_record_type, mg_pass_id, mg_title, mg_status, mg_meta, mg_event_at)
values ('project:' || :project_id, 'project', :pass_id, :name, 'succeeded', '{}', now())
on conflict (mg_id) do nothing;

-- name: project^
select substr(mg_id, 9) as project_id, mg_title as name, mg_created_at as created_at, mg_updated_at as updated_at
from mega_generations
where mg_id = 'project:' || :project_id::text and mg_record_type = 'project' and mg_pass_id = :pass_id
  and mg_deleted_at is null;

-- name: projects
select substr(mg_id, 9) as project_id, mg_title as name, mg_created_at as created_at, mg_updated_at as updated_at
from mega_generations
where mg_record_type = 'project' and mg_deleted_at is null and mg_pass_id = :pass_id
  and (mg_created_at, mg_id) < (:before_at::timestamptz, :before_key::text)
order by mg_created_at desc, mg_id desc
limit :limit;

-- name: count_projects$
select count(*) from mega_generations
where mg_record_type = 'project' and mg_deleted_at is null and mg_pass_id = :pass_id;

-- name: rename_project!
update mega_generations set mg_title = :name, mg_updated_at = now()
where mg_id = 'project:' || :project_id::text and mg_record_type = 'project' and mg_pass_id = :pass_id
  and mg_deleted_at is null;

-- name: delete_project!
update mega_generations set mg_deleted_at = now()
where mg_id = 'project:' || :project_id::text and mg_record_type = 'project' and mg_pass_id = :pass_id
  and mg_deleted_at is null;
