-- name: insert_template!
insert into mega_generations (
  mg_id, mg_record_type, mg_pass_id, mg_title, mg_status, mg_meta, mg_event_at
) values ('template:' || :template_id, 'template', :pass_id, :name, 'succeeded', :meta, now())
on conflict (mg_id) do nothing;

-- name: template^
select substr(mg_id, 10) as template_id, mg_title as name, mg_meta as meta, mg_created_at as created_at
from mega_generations
where mg_id = 'template:' || :template_id::text and mg_record_type = 'template' and mg_pass_id = :pass_id
  and mg_deleted_at is null;

-- name: templates
select substr(mg_id, 10) as template_id, mg_title as name, mg_meta as meta, mg_created_at as created_at
from mega_generations
where mg_record_type = 'template' and mg_deleted_at is null and mg_pass_id = :pass_id
  and (:favorite::boolean is null or (mg_meta->>'favorite')::boolean = :favorite)
  and (mg_created_at, mg_id) < (:before_at::timestamptz, :before_key::text)
order by mg_created_at desc, mg_id desc
limit :limit;

-- name: count_templates$
select count(*) from mega_generations
where mg_record_type = 'template' and mg_deleted_at is null and mg_pass_id = :pass_id;

-- name: set_template_favorite!
update mega_generations set mg_meta = mg_meta || jsonb_build_object('favorite', :favorite::boolean)
where mg_id = 'template:' || :template_id::text and mg_record_type = 'template' and mg_pass_id = :pass_id
  and mg_deleted_at is null;

-- name: count_template_use!
update mega_generations
set mg_meta = mg_meta || jsonb_build_object('usage_count', (mg_meta->>'usage_count')::integer + 1)
where mg_id = 'template:' || :template_id::text and mg_record_type = 'template' and mg_pass_id = :pass_id
  and mg_deleted_at is null;

-- name: delete_template!
update mega_generations set mg_deleted_at = now()
where mg_id = 'template:' || :template_id::text and mg_record_type = 'template' and mg_pass_id = :pass_id
  and mg_deleted_at is null;
