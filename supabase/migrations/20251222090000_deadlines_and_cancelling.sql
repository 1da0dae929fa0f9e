-- Until when a generation must have moved on, and whether somebody asked for it to be stopped.

set local lock_timeout = '10s';

alter table public.mega_generations
  -- When what the generation waits for must have happened: being started, a step's end, or its provider's result.
  add column if not exists mg_deadline_at timestamptz,
  add column if not exists mg_cancel_requested_at timestamptz,
  -- Who asked: the customer's pass id, or `operator`.
  add column if not exists mg_cancel_requested_by text;
