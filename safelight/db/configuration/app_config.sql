-- name: active^
-- The active row of a key is the highest version among the enabled ones. Rows are never edited in place.
select mg_id as id, mg_key as key, mg_value as value, mg_content_hash as content_hash
from mega_admin
where mg_record_type = 'app_config' and mg_key = :key and mg_deleted_at is null
  and coalesce((mg_value->>'enabled')::boolean, true)
order by coalesce(substring(mg_id from '[.]v([0-9]+)$')::integer, (mg_value->>'version')::integer, 0) desc
limit 1;

-- name: insert_version!
insert into mega_admin (mg_id, mg_record_type, mg_key, mg_value, mg_source_system, mg_event_at)
values (:id, 'app_config', :key, :value, 'safelight', now())
on conflict (mg_id) do nothing;

-- name: set_context_placeholders!
insert into safelight.context_placeholders (key, names)
select key, names from jsonb_to_recordset(:contexts) as context (key text, names text[])
on conflict (key) do update set names = excluded.names;

-- name: set_setting_rules!
insert into safelight.setting_rules (engine, name, type, least, most, words, pattern, single_output)
select engine, name, type, least, most, words, pattern, single_output
from jsonb_to_recordset(:rules) as rule (
  engine text, name text, type text, least numeric, most numeric, words text[], pattern text, single_output jsonb
)
on conflict (engine, name) do update
set type = excluded.type, least = excluded.least, most = excluded.most, words = excluded.words,
    pattern = excluded.pattern, single_output = excluded.single_output;

-- name: store_setting!
insert into safelight.settings as known (name, value) values (:name, :value)
on conflict (name) do update set value = excluded.value where known.value <> excluded.value;
