-- Which settings did the provider get? psql -v generation_id=… -f settings_of_a_generation.sql
select
  mg_step_type as step,
  mg_payload #>> '{input,adapter}' as adapter,
  mg_payload #>> '{input,model}' as model,
  mg_payload #>> '{input,settings_id}' as settings_id,
  mg_payload #> '{input,settings_resolved}' as settings_resolved
from mega_generations
where mg_record_type = 'mma_step' and mg_generation_id = :'generation_id'
  and mg_payload #>> '{input,settings_key}' is not null
order by mg_step_no;
