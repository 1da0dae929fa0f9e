-- History is immutable. Ledger rows, finished steps, events, feedback, configuration versions, the actions of operators and
-- the lines of the job log refuse UPDATE, DELETE and TRUNCATE, whoever asks; each is written with a hash of what it says, so
-- that a change which got around the triggers is found. Retention, erasure and repair have one way: amend_history().

set local lock_timeout = '10s';

create schema if not exists safelight;

-- What a database knows of itself. `history_sealed_since`: rows of history have their hash from then on; nodes of the
-- version before may still write steps for an hour after an upgrade.
create table if not exists safelight.settings (
  name text primary key,
  value jsonb not null
);
alter table safelight.settings enable row level security;

insert into safelight.settings (name, value)
select 'history_sealed_since', to_jsonb(case
  when exists (select from public.mega_generations) then now() + interval '1 hour'
  else '-infinity'
end)
on conflict (name) do nothing;

alter table public.mega_generations add column if not exists mg_row_hash bytea;
alter table public.mega_admin
  add column if not exists mg_row_hash bytea,
  -- Of an app_config row: the SHA-256 of its mg_value as jsonb writes it, which is one way: keys in order, no spaces.
  add column if not exists mg_content_hash text;
alter table public.image_generation_logs add column if not exists row_hash bytea;

-- ---------------------------------------------------------------------------------------------------------------
-- The hash of a row: of every column that says something. Feedback may be withdrawn, which changes mg_deleted_at alone.
-- These functions have no settings of their own, so that the planner sees through them.
-- ---------------------------------------------------------------------------------------------------------------

create or replace function safelight.row_hash(r public.mega_generations) returns bytea
language sql stable parallel safe as $$
  select sha256(convert_to(row(
    r.mg_id, r.mg_record_type, r.mg_pass_id, r.mg_session_id, r.mg_generation_id, r.mg_parent_id, r.mg_platform,
    r.mg_title, r.mg_type, r.mg_prompt, r.mg_output_url, r.mg_output_key, r.mg_provider, r.mg_model, r.mg_latency_ms,
    r.mg_input_chars, r.mg_output_chars, r.mg_input_tokens, r.mg_output_tokens, r.mg_content_type, r.mg_status,
    r.mg_error, r.mg_result_type, r.mg_comment, r.mg_image_url, r.mg_video_url, r.mg_delta, r.mg_reason, r.mg_source,
    r.mg_ref_type, r.mg_ref_id, r.mg_client_version, r.mg_os, r.mg_browser, r.mg_device, r.mg_meta, r.mg_payload,
    r.mg_source_system, r.mg_step_no, r.mg_step_type, r.mg_mma_mode, r.mg_mma_status, r.mg_mma_vars,
    extract(epoch from r.mg_created_at), extract(epoch from r.mg_event_at),
    case when r.mg_record_type <> 'feedback' then extract(epoch from r.mg_deleted_at) end
  )::text, 'UTF8'))
$$;

create or replace function safelight.row_hash(r public.mega_admin) returns bytea
language sql stable parallel safe as $$
  select sha256(convert_to(row(
    r.mg_id, r.mg_record_type, r.mg_actor_pass_id, r.mg_session_hash, r.mg_user_id, r.mg_email, r.mg_ip, r.mg_user_agent,
    extract(epoch from r.mg_first_seen_at), extract(epoch from r.mg_last_seen_at), r.mg_profile_id,
    r.mg_shopify_customer_id, r.mg_action, r.mg_route, r.mg_method, r.mg_status, r.mg_detail, r.mg_runtime_id,
    r.mg_runtime_flat, r.mg_key, r.mg_value, r.mg_content_hash, r.mg_meta, r.mg_payload, r.mg_source_system,
    r.mg_error_code, r.mg_error_message, r.mg_error_stack,
    extract(epoch from r.mg_deleted_at), extract(epoch from r.mg_created_at), extract(epoch from r.mg_event_at)
  )::text, 'UTF8'))
$$;

create or replace function safelight.row_hash(r public.image_generation_logs) returns bytea
language sql stable parallel safe as $$
  select sha256(convert_to(row(
    r.id, r.job_id, r.user_id, r.level, r.step, r.message, r.details, r.seq, extract(epoch from r.created_at)
  )::text, 'UTF8'))
$$;

create or replace function safelight.content_hash(value jsonb) returns text
language sql immutable parallel safe as $$
  select encode(sha256(convert_to(value::text, 'UTF8')), 'hex')
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- The one way around, on record: whoever changes or deletes history says why in the same transaction.
--   begin; select safelight.amend_history('erasure asked for by the customer', 'support@example.com');
--   delete …; commit;
-- The row of the audit that says so is the permission itself: there is none without it, and that row never goes.
-- ---------------------------------------------------------------------------------------------------------------

create index if not exists mega_admin_amendments
  on public.mega_admin ((mg_detail->>'transaction'))
  where mg_record_type = 'admin_audit' and mg_action = 'history.amend';

create or replace function safelight.amends_history() returns boolean
language sql stable set search_path = '' as $$
  select exists (
    select from public.mega_admin
    where mg_record_type = 'admin_audit' and mg_action = 'history.amend'
      and mg_detail->>'transaction' = pg_current_xact_id_if_assigned()::text and mg_event_at = now()
  )
$$;

create or replace function safelight.amend_history(reason text, actor text default session_user) returns void
language plpgsql set search_path = '' as $$
begin
  if coalesce(btrim(reason), '') = '' or coalesce(btrim(actor), '') = '' then
    raise exception 'amend_history(reason, actor): say why history is changed, and who changes it'
      using errcode = 'invalid_parameter_value';
  end if;
  if not safelight.amends_history() then
    insert into public.mega_admin (
      mg_id, mg_record_type, mg_action, mg_route, mg_method, mg_status, mg_detail, mg_source_system, mg_event_at
    ) values (
      'admin_audit:' || gen_random_uuid(), 'admin_audit', 'history.amend', 'safelight.amend_history', 'SQL', 200,
      jsonb_build_object('actor', actor, 'role', session_user, 'reason', reason, 'target', null, 'before', '{}'::jsonb,
        'after', '{}'::jsonb, 'transaction', pg_current_xact_id()::text),
      'safelight', now()
    );
  end if;
end $$;

-- ---------------------------------------------------------------------------------------------------------------
-- Refusing, and sealing
-- ---------------------------------------------------------------------------------------------------------------

create or replace function safelight.refuse_change(id text) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception '% is history: it is neither changed nor deleted', id
    using errcode = 'restrict_violation', hint = 'For retention, erasure and repair: safelight.amend_history(reason, actor)';
end $$;

create or replace function safelight.keep_history() returns trigger
language plpgsql set search_path = '' as $$
begin
  if tg_op = 'UPDATE' and old.mg_record_type = 'feedback' and new.mg_deleted_at is not null
    and safelight.row_hash(new) = safelight.row_hash(old) then
    new.mg_row_hash := old.mg_row_hash;
    return new;
  end if;
  if not safelight.amends_history() then
    perform safelight.refuse_change(old.mg_id);
  end if;
  if tg_op = 'DELETE' then
    return old;
  end if;
  new.mg_row_hash := safelight.row_hash(new);
  return new;
end $$;

create or replace function safelight.keep_operators_history() returns trigger
language plpgsql set search_path = '' as $$
begin
  if old.mg_action = 'history.amend' or not safelight.amends_history() then
    perform safelight.refuse_change(old.mg_id);
  end if;
  if tg_op = 'DELETE' then
    return old;
  end if;
  new.mg_content_hash := case when new.mg_record_type = 'app_config' then safelight.content_hash(new.mg_value) end;
  new.mg_row_hash := safelight.row_hash(new);
  return new;
end $$;

create or replace function safelight.keep_line() returns trigger
language plpgsql set search_path = '' as $$
begin
  if not safelight.amends_history() then
    perform safelight.refuse_change(format('the line %s of the job log of %s', old.seq, old.job_id));
  end if;
  if tg_op = 'DELETE' then
    return old;
  end if;
  new.row_hash := safelight.row_hash(new);
  return new;
end $$;

create or replace function safelight.refuse_truncate() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception '% holds history: it is not truncated', tg_table_name using errcode = 'restrict_violation';
end $$;

-- Every name in these is qualified or of pg_catalog; they run for each row that is written.
create or replace function safelight.seal_row() returns trigger
language plpgsql as $$
begin
  new.mg_row_hash := safelight.row_hash(new);
  return new;
end $$;

create or replace function safelight.seal_operators_row() returns trigger
language plpgsql as $$
begin
  new.mg_content_hash := case when new.mg_record_type = 'app_config' then safelight.content_hash(new.mg_value) end;
  new.mg_row_hash := safelight.row_hash(new);
  return new;
end $$;

create or replace function safelight.seal_line() returns trigger
language plpgsql as $$
begin
  new.row_hash := safelight.row_hash(new);
  return new;
end $$;

-- What is there already: few rows of operators and of configuration. Steps, lines and ledger rows of before have no hash.
update public.mega_admin kept set mg_content_hash = safelight.content_hash(mg_value)
where mg_record_type = 'app_config' and mg_id <> 'app_config:runtime' and mg_content_hash is null;
update public.mega_admin kept set mg_row_hash = safelight.row_hash(kept)
where mg_record_type in ('app_config', 'admin_audit') and mg_id <> 'app_config:runtime' and mg_row_hash is null;

-- It had let columns beside the payload be changed, and kept nobody who is a replica.
drop trigger if exists mega_generations_refuse_rewriting_step on public.mega_generations;
drop function if exists public.mega_refuse_rewriting_step();
delete from safelight.guarded where kind = 'function' and name = 'mega_refuse_rewriting_step';

create or replace trigger mega_generations_keep_history before update or delete on public.mega_generations
  for each row
  when (
    old.mg_record_type in ('credit_transaction', 'mma_event', 'feedback')
    or old.mg_record_type = 'mma_step' and old.mg_payload #>> '{timing,ended_at}' is not null
  )
  execute function safelight.keep_history();
create or replace trigger mega_generations_seal before insert on public.mega_generations
  for each row
  when (
    new.mg_record_type in ('credit_transaction', 'mma_event', 'feedback')
    or new.mg_record_type = 'mma_step' and new.mg_payload #>> '{timing,ended_at}' is not null
  )
  execute function safelight.seal_row();
create or replace trigger mega_generations_seal_ended before update on public.mega_generations
  for each row
  when (
    (
      new.mg_record_type in ('credit_transaction', 'mma_event', 'feedback')
      or new.mg_record_type = 'mma_step' and new.mg_payload #>> '{timing,ended_at}' is not null
    )
    and (
      old.mg_record_type not in ('credit_transaction', 'mma_event', 'feedback', 'mma_step')
      or old.mg_record_type = 'mma_step' and old.mg_payload #>> '{timing,ended_at}' is null
    )
  )
  execute function safelight.seal_row();
create or replace trigger mega_generations_refuse_truncate before truncate on public.mega_generations
  for each statement execute function safelight.refuse_truncate();

-- `app_config:runtime` is no version: it holds what operators have set for the moment, and their audit rows hold its past.
create or replace trigger mega_admin_keep_history before update or delete on public.mega_admin
  for each row when (old.mg_record_type in ('app_config', 'admin_audit') and old.mg_id <> 'app_config:runtime')
  execute function safelight.keep_operators_history();
create or replace trigger mega_admin_seal before insert on public.mega_admin
  for each row when (new.mg_record_type in ('app_config', 'admin_audit') and new.mg_id <> 'app_config:runtime')
  execute function safelight.seal_operators_row();
create or replace trigger mega_admin_seal_changed before update on public.mega_admin
  for each row
  when (
    new.mg_record_type in ('app_config', 'admin_audit') and new.mg_id <> 'app_config:runtime'
    and (old.mg_record_type not in ('app_config', 'admin_audit') or old.mg_id = 'app_config:runtime')
  )
  execute function safelight.seal_operators_row();
create or replace trigger mega_admin_refuse_truncate before truncate on public.mega_admin
  for each statement execute function safelight.refuse_truncate();

create or replace trigger image_generation_logs_keep_line before update or delete on public.image_generation_logs
  for each row execute function safelight.keep_line();
create or replace trigger image_generation_logs_seal before insert on public.image_generation_logs
  for each row execute function safelight.seal_line();
create or replace trigger image_generation_logs_refuse_truncate before truncate on public.image_generation_logs
  for each statement execute function safelight.refuse_truncate();

-- Also for whoever is, or says to be, a replica.
alter table public.mega_generations
  enable always trigger mega_generations_keep_history,
  enable always trigger mega_generations_seal,
  enable always trigger mega_generations_seal_ended,
  enable always trigger mega_generations_refuse_truncate;
alter table public.mega_admin
  enable always trigger mega_admin_keep_history,
  enable always trigger mega_admin_seal,
  enable always trigger mega_admin_seal_changed,
  enable always trigger mega_admin_refuse_truncate;
alter table public.image_generation_logs
  enable always trigger image_generation_logs_keep_line,
  enable always trigger image_generation_logs_seal,
  enable always trigger image_generation_logs_refuse_truncate;

select safelight.guard_rows();
