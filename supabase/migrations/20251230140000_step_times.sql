-- Estimates of the remaining time read the newest durations of each type of step.

set local lock_timeout = '10s';

insert into safelight.online_work (statement, reason) values (
  'create index concurrently if not exists mega_generations_step_times on public.mega_generations'
  ' (mg_step_type, mg_created_at desc) include (mg_model, mg_latency_ms)'
  ' where mg_record_type = ''mma_step'' and mg_status = ''succeeded''',
  'estimates read the durations of recent steps'
) on conflict (statement) do nothing;
