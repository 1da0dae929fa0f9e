-- What `safelight doctor` reads whole at every pass, in narrow indexes: it need not go through the wide rows for them.
-- None is on a column that changes while a generation runs, but for the last, which only failures enter.

set local lock_timeout = '10s';

-- Every balance, and what each generation was charged and given back.
create index if not exists mega_generations_ledger
  on public.mega_generations (mg_pass_id, mg_ref_type, mg_ref_id) include (mg_delta)
  where mg_record_type = 'credit_transaction';

-- The steps that are paid and leave a file: one or a few a generation.
create index if not exists mega_generations_generate_steps
  on public.mega_generations (mg_generation_id, mg_step_no)
  where mg_record_type = 'mma_step' and strpos(mg_step_type, '_generate') > 0;

-- What did not end well.
create index if not exists mega_generations_failed on public.mega_generations (mg_generation_id)
  where mg_record_type = 'generation' and mg_pipeline_version is not null
    and mg_mma_status in ('error', 'cancelled', 'partial');
