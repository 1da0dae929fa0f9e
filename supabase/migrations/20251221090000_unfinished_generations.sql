-- What is still under way, found without reading what is finished: the reaper looks at this every few seconds.

set local lock_timeout = '10s';

create index if not exists mega_generations_unfinished on public.mega_generations (mg_created_at)
  where mg_record_type = 'generation' and mg_pipeline_version is not null
    and mg_mma_status in ('queued', 'scanning', 'prompting', 'generating', 'postscan');
