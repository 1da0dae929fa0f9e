-- What exactly happened in this generation? psql -v generation_id=… -f timeline_of_a_generation.sql
select
  mg_step_no as no,
  mg_step_type as step,
  mg_payload #>> '{timing,started_at}' as started_at,
  mg_payload #>> '{timing,duration_ms}' as ms,
  jsonb_array_length(mg_payload->'attempts') as attempts,
  mg_payload->'input' as input,
  mg_payload->'output' as output,
  mg_payload->'error' as error
from mega_generations
where mg_record_type = 'mma_step' and mg_generation_id = :'generation_id'
order by mg_step_no;
