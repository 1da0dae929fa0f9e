-- name: insert_action!
-- The actor is named in the key column only where they are a customer too.
insert into mega_admin (
  mg_id, mg_record_type, mg_actor_pass_id, mg_user_id, mg_email, mg_ip, mg_user_agent, mg_action, mg_route, mg_method,
  mg_status, mg_detail, mg_source_system, mg_event_at
) values (
  :id, 'admin_audit', (select mg_pass_id from mega_customers where mg_pass_id = :pass_id), :user_id::uuid, :email,
  :ip, :user_agent, :action, :route, :method, 200, :detail, 'safelight', now()
);
