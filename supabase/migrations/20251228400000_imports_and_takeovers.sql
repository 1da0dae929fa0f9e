-- How often the worker of a generation was lost in the step that is under way, and what one customer has in progress,
-- counted at every order.

set local lock_timeout = '10s';

alter table public.mega_generations
  -- Since its last step ended. A generation that keeps killing its worker must not kill for ever.
  add column if not exists mg_takeovers integer not null default 0;

create index if not exists mega_generations_unfinished_of_customer on public.mega_generations (mg_pass_id)
  where mg_record_type = 'generation' and mg_pipeline_version is not null
    and mg_mma_status in ('queued', 'scanning', 'prompting', 'generating', 'postscan');
