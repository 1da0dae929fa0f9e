-- What all workers must agree on before they ask a provider for more: how fast, how much at once, whether it answers
-- at all, and what today has cost. Counters, no history: the steps are the history. They live in a schema of their own,
-- as the queue does.

set local lock_timeout = '10s';

create schema if not exists safelight;

create table if not exists safelight.provider_state (
  adapter text primary key,
  next_start_at timestamptz not null default '-infinity',
  failures integer not null default 0,
  shut_until timestamptz,
  last_failure text,
  last_failure_at timestamptz,
  spent_on date not null default '-infinity',
  spent_usd numeric(14, 6) not null default 0
);
alter table safelight.provider_state enable row level security;

-- Operations that were begun and have not ended, by the adapter they are at.
create index if not exists mega_generations_under_way_at
  on public.mega_generations ((mg_payload #>> '{input,adapter}'))
  where mg_record_type = 'mma_step' and mg_status = 'processing' and mg_payload ? 'starts';

-- Whether one more start may be made now, and if not, why and how long to wait. One that is admitted is counted.
-- `starts_per_minute` may come in a burst of a tenth of it; after `failures_max` failures in a row nothing is admitted
-- for a while, and then a single one at a time until one succeeds.
create or replace function safelight.admit_start(
  adapter text, starts_per_minute numeric, at_once integer, failures_max integer, probe_seconds numeric,
  usd numeric, daily_usd_max numeric
) returns table (reason text, wait_seconds double precision)
language plpgsql set search_path = '' as $$
declare
  state safelight.provider_state;
  moment constant timestamptz := clock_timestamp();
  today constant date := (clock_timestamp() at time zone 'utc')::date;
  gap constant interval := make_interval(secs => 60.0 / starts_per_minute);
  earliest timestamptz;
begin
  insert into safelight.provider_state (adapter) values (admit_start.adapter) on conflict do nothing;
  select * into state from safelight.provider_state s where s.adapter = admit_start.adapter for update;
  if state.shut_until > moment then
    return query select 'circuit_open', extract(epoch from state.shut_until - moment)::double precision;
    return;
  end if;
  if state.spent_on <> today then
    state.spent_usd := 0;
  end if;
  if state.spent_usd + usd > daily_usd_max then
    return query select 'daily_cap', extract(epoch from (today + 1)::timestamp at time zone 'utc' - moment)::double precision;
    return;
  end if;
  earliest := state.next_start_at - gap * greatest(starts_per_minute / 10, 1);
  if earliest >= moment then
    return query select 'rate', extract(epoch from earliest - moment)::double precision + 0.001;
    return;
  end if;
  if at_once <= (
    select count(*) from public.mega_generations step
    where step.mg_record_type = 'mma_step' and step.mg_status = 'processing' and step.mg_payload ? 'starts'
      and step.mg_payload #>> '{input,adapter}' = admit_start.adapter
  ) then
    return query select 'at_once', 1.0::double precision;
    return;
  end if;
  update safelight.provider_state s
  set next_start_at = greatest(s.next_start_at, moment) + gap,
      shut_until = case when s.failures >= failures_max then moment + make_interval(secs => probe_seconds) end,
      spent_on = today,
      spent_usd = state.spent_usd + usd
  where s.adapter = admit_start.adapter;
  return query select null::text, 0.0::double precision;
end $$;
