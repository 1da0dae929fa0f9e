-- name: insert_row!
-- The customer is named in the key column only where we know them: an error about a stranger must not fail to be written.
insert into mega_admin (
  mg_id, mg_record_type, mg_actor_pass_id, mg_action, mg_route, mg_method, mg_status, mg_detail,
  mg_error_code, mg_error_message, mg_error_stack, mg_ip, mg_user_agent, mg_user_id, mg_email, mg_source_system,
  mg_event_at
) values (
  :id, :record_type, (select mg_pass_id from mega_customers where mg_pass_id = :pass_id), :action, :route, :method,
  :status, :detail, :error_code, :error_message, :error_stack, :ip, :user_agent, :user_id, :email, :source,
  :at
)
on conflict (mg_id) do nothing;
