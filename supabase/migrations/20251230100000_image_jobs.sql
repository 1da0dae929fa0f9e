-- Image jobs: the steps that pay for base images are found as those of stills and videos are.

set local lock_timeout = '10s';

create index if not exists mega_generations_base_steps on public.mega_generations (mg_generation_id, mg_step_no)
  where mg_record_type = 'mma_step' and mg_step_type = 'base_generation';
