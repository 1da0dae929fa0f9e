-- What is broken right now? The newest rows of the ops plane.
select
  mg_created_at as at,
  mg_detail->>'emoji' as emoji,
  mg_detail->>'error_code' as error_code,
  mg_detail->>'message' as message,
  mg_detail->>'step_type' as step,
  mg_detail->>'generation_id' as generation_id,
  mg_detail->>'request_id' as request_id
from mega_admin
where mg_record_type = 'error'
order by mg_created_at desc
limit 100;
