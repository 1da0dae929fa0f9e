-- Why did this generation fail? psql -v generation_id=… -f errors_of_a_generation.sql
select mg_created_at as at, mg_record_type as level, mg_detail
from mega_admin
where mg_record_type in ('error', 'warn')
  and mg_detail->>'generation_id' = :'generation_id'
order by mg_created_at;
