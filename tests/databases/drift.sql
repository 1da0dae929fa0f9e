-- What a live database may look like after people worked on it by hand.
alter table public.mega_generations drop constraint mega_generations_mg_record_type_check;
alter table public.mega_generations add constraint record_types_v2
  check (mg_record_type in ('generation', 'session', 'feedback', 'credit_transaction', 'mma_step', 'legacy_note'));
alter table public.mega_generations drop column mg_title, drop column mg_browser;
alter table public.mega_generations alter column mg_payload drop not null, alter column mg_meta drop not null;
alter table public.mega_generations alter column mg_meta drop default;
alter table public.mega_generations drop constraint mega_generations_mg_pass_id_fkey;
alter table public.mega_generations add column mg_cost_data jsonb, add column mg_event_at timestamptz;
alter table public.mega_admin drop constraint mega_admin_mg_record_type_check;
alter table public.mega_admin add column mg_error_message text;
alter table public.mega_customers drop column mg_verified_any;
drop index if exists mega_customers_mg_user_id_idx;
insert into public.mega_customers (mg_pass_id, mg_user_id, mg_credits) values
  ('pass:user:twin-a', '6f1c0f2e-1f8f-4c7b-9f43-0c5a2b1d7e90', 1),
  ('pass:user:twin-b', '6f1c0f2e-1f8f-4c7b-9f43-0c5a2b1d7e90', 2);
insert into public.mega_generations (mg_id, mg_record_type, mg_pass_id, mg_meta, mg_payload) values
  ('note:1', 'legacy_note', 'pass_nobody_knows', null, null);
insert into public.mega_admin (mg_id, mg_record_type, mg_detail) values ('e1', 'error', '{"message": "old"}');
create table public.image_generation_logs (
  id uuid default gen_random_uuid() primary key,
  job_id uuid not null,
  user_id uuid not null references public.people (id) on delete cascade,
  level varchar(20) not null default 'info',
  step varchar(100) not null,
  message text not null,
  details jsonb,
  created_at timestamptz default now()
);
insert into public.people values ('6f1c0f2e-1f8f-4c7b-9f43-0c5a2b1d7e90');
insert into public.image_generation_logs (job_id, user_id, step, message, created_at) values
  ('0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11', '6f1c0f2e-1f8f-4c7b-9f43-0c5a2b1d7e90', 'upload', 'second', now()),
  ('0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11', '6f1c0f2e-1f8f-4c7b-9f43-0c5a2b1d7e90', 'upload', 'first', now() - interval '1 s');
