-- Lists of a customer's generations, by each filter of `/api/v1`, newest first: every page is read from an index.

set local lock_timeout = '10s';

insert into safelight.online_work (statement, reason) values
  ($$create index concurrently if not exists mega_generations_listed
  on public.mega_generations (mg_pass_id, mg_created_at desc, mg_id desc)
  where mg_record_type = 'generation' and mg_deleted_at is null$$,
    'each page of a list is read from an index'),
  ($$create index concurrently if not exists mega_generations_listed_by_status
  on public.mega_generations (
    mg_pass_id, public.generation_status(mg_mma_status, mg_status), mg_created_at desc, mg_id desc
  )
  where mg_record_type = 'generation' and mg_deleted_at is null$$,
    'each page of a list is read from an index'),
  ($$create index concurrently if not exists mega_generations_listed_by_kind
  on public.mega_generations (
    mg_pass_id, coalesce(mg_mma_mode, case when mg_content_type = 'video' then 'video' else 'still' end),
    mg_created_at desc, mg_id desc
  )
  where mg_record_type = 'generation' and mg_deleted_at is null$$,
    'each page of a list is read from an index')
on conflict (statement) do nothing;

-- All of a customer's generations are counted without their rows.
insert into safelight.online_work (statement, reason) values
  ($$create index concurrently if not exists mega_generations_counted
  on public.mega_generations (mg_pass_id)
  include (mg_mma_status, mg_status, mg_mma_mode, mg_content_type, mg_model)
  where mg_record_type = 'generation' and mg_deleted_at is null$$,
    'each page of a list is read from an index')
on conflict (statement) do nothing;

-- How long results took, the newest first.
insert into safelight.online_work (statement, reason) values
  ($$create index concurrently if not exists mega_generations_durations
  on public.mega_generations (mg_mma_mode, mg_created_at desc) include (mg_latency_ms)
  where mg_record_type = 'generation' and mg_mma_status = 'done' and mg_pipeline_version is not null$$,
    'each page of a list is read from an index')
on conflict (statement) do nothing;

-- Projects, templates and files of a customer, and each file by its content and by its key.
insert into safelight.online_work (statement, reason) values
  ($$create index concurrently if not exists mega_generations_kept
  on public.mega_generations (mg_pass_id, mg_record_type, mg_created_at desc, mg_id desc)
  where mg_record_type in ('project', 'template', 'file') and mg_deleted_at is null$$,
    'each page of a list is read from an index'),
  ($$create index concurrently if not exists mega_generations_file_contents
  on public.mega_generations (mg_pass_id, (mg_meta->>'sha256'))
  where mg_record_type = 'file' and mg_deleted_at is null$$,
    'each page of a list is read from an index'),
  ($$create unique index concurrently if not exists mega_generations_file_keys
  on public.mega_generations (mg_output_key)
  where mg_record_type = 'file' and mg_deleted_at is null$$,
    'each page of a list is read from an index')
on conflict (statement) do nothing;
