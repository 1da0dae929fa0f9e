-- Which version of which prompt did each step run under? psql -v generation_id=… -f prompt_version_of_each_step.sql
select
  mg_step_no as no,
  mg_step_type as step,
  mg_payload #>> '{input,ctx_key}' as ctx_key,
  mg_payload #>> '{input,ctx_version}' as ctx_version,
  mg_payload #>> '{input,ctx_id}' as ctx_id
from mega_generations
where mg_record_type = 'mma_step' and mg_generation_id = :'generation_id'
  and mg_payload #>> '{input,ctx_key}' is not null
order by mg_step_no;
