-- name: read^
select mg_value as override, mg_updated_at as updated_at, mg_meta->>'updated_by' as updated_by
from mega_admin where mg_id = 'app_config:runtime';

-- name: lock$
select pg_advisory_xact_lock(hashtext('app_config:runtime')) is null;

-- name: write!
insert into mega_admin (mg_id, mg_record_type, mg_key, mg_value, mg_meta, mg_source_system, mg_event_at)
values ('app_config:runtime', 'app_config', 'runtime', :override, :meta, 'safelight', now())
on conflict (mg_id) do update
set mg_value = excluded.mg_value, mg_meta = mega_admin.mg_meta || excluded.mg_meta, mg_event_at = now();
