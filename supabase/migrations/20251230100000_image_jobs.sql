-- Image jobs: the steps that pay for base images are found as those of stills and videos are.

set local lock_timeout = '10s';

insert into safelight.online_work (statement, reason) values
  ($$create index concurrently if not exists mega_generations_base_steps on public.mega_generations (mg_generation_id, mg_step_no)
  where mg_record_type = 'mma_step' and mg_step_type = 'base_generation'$$,
    'the paid steps of image jobs are found by an index')
on conflict (statement) do nothing;
