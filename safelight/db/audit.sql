-- name: insert_audit!
-- The key column names an actor who is a customer; the detail names every actor.
insert into mega_admin (mg_id, mg_record_type, mg_actor_pass_id, mg_action, mg_detail, mg_source_system, mg_event_at)
values (
  :id, 'admin_audit', (select mg_pass_id from mega_customers where mg_pass_id = :actor), :action, :detail, 'safelight',
  now()
);
