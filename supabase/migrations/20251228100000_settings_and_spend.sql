-- Configuration is refused when it is saved, with the field named, not when a generation needs it; and what is spent at a
-- provider only grows within a day, by amounts that have a bound.

set local lock_timeout = '10s';

-- ---------------------------------------------------------------------------------------------------------------
-- Spend
-- ---------------------------------------------------------------------------------------------------------------

update safelight.provider_state set spent_usd = 0 where spent_usd < 0 or spent_usd = 'NaN';
alter table safelight.provider_state drop constraint if exists provider_state_spend_not_negative;
alter table safelight.provider_state add constraint provider_state_spend_not_negative
  check (spent_usd >= 0 and spent_usd <> 'NaN');

-- What one start costs: the registry allows 100 for it and 10 for each second of a result, of which there are 10.
create or replace function safelight.start_cost(usd numeric) returns numeric
language plpgsql immutable set search_path = '' as $$
begin
  if usd is null or usd = 'NaN' or usd < 0 or usd > 200 then
    raise exception 'a start costs from 0 to 200 USD, not %', usd using errcode = 'check_violation';
  end if;
  return usd;
end $$;

-- As before, and the cost of the start is checked.
create or replace function safelight.admit_start(
  adapter text, starts_per_minute numeric, at_once integer, failures_max integer, probe_seconds numeric,
  usd numeric, daily_usd_max numeric
) returns table (reason text, wait_seconds double precision)
language plpgsql set search_path = '' as $$
declare
  state safelight.provider_state;
  cost constant numeric := safelight.start_cost(usd);
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
  if state.spent_usd + cost > daily_usd_max then
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
      spent_usd = state.spent_usd + cost
  where s.adapter = admit_start.adapter;
  return query select null::text, 0.0::double precision;
end $$;

-- Gives back what was counted for a start that the provider did not take, of today's spend.
create or replace function safelight.give_back_spend(adapter text, usd numeric) returns void
language sql set search_path = '' as $$
  update safelight.provider_state state
  set spent_usd = greatest(state.spent_usd - safelight.start_cost(give_back_spend.usd), 0)
  where state.adapter = give_back_spend.adapter and state.spent_on = (now() at time zone 'utc')::date;
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- What configuration may say. `safelight migrate` keeps both tables as the program has them.
-- ---------------------------------------------------------------------------------------------------------------

create table if not exists safelight.context_placeholders (
  key text primary key,
  names text[] not null
);

create table if not exists safelight.setting_rules (
  engine text not null,
  name text not null,
  type text not null check (type in ('text', 'word', 'integer', 'number', 'flag')),
  least numeric,
  most numeric,
  words text[] not null,
  pattern text,
  single_output jsonb,
  primary key (engine, name)
);

create or replace function safelight.setting_fits(rule safelight.setting_rules, stated jsonb) returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  if rule.single_output is not null and stated <> rule.single_output then
    return false;
  end if;
  case rule.type
    when 'flag' then return jsonb_typeof(stated) = 'boolean';
    when 'text' then return jsonb_typeof(stated) = 'string';
    when 'word' then
      return jsonb_typeof(stated) = 'string'
        and (stated #>> '{}' = any (rule.words) or coalesce(stated #>> '{}' ~ ('^(' || rule.pattern || ')$'), false));
    else
      return jsonb_typeof(stated) = 'number'
        and coalesce((stated #>> '{}')::numeric >= rule.least, true)
        and coalesce((stated #>> '{}')::numeric <= rule.most, true);
  end case;
end $$;

create or replace function safelight.check_context(context_key text, document jsonb) returns void
language plpgsql set search_path = '' as $$
declare
  unknown text;
  known text[];
begin
  select names into known from safelight.context_placeholders context where context.key = context_key;
  if known is null then
    return;
  end if;
  select placeholder[1] into unknown
  from regexp_matches(coalesce(document->>'user_template', ''), '\{\{(.*?)\}\}', 'g') placeholder
  where placeholder[1] <> all (known)
  limit 1;
  if unknown is not null then
    raise exception 'user_template of %: nothing fills the placeholder {{%}}; there are %',
      context_key, unknown, array_to_string(known, ', ') using errcode = 'check_violation';
  end if;
end $$;

create or replace function safelight.check_provider_defaults(engine_id text, document jsonb) returns void
language plpgsql set search_path = '' as $$
declare
  wrong record;
begin
  if jsonb_typeof(document->'defaults') is distinct from 'object' then
    raise exception 'defaults of %: they must be an object', engine_id using errcode = 'check_violation';
  end if;
  select stated.key, stated.value, rule.* into wrong
  from jsonb_each(document->'defaults') stated
  left join safelight.setting_rules rule on rule.engine = engine_id and rule.name = stated.key
  where jsonb_typeof(stated.value) in ('object', 'array')
    or (rule.name is not null and stated.value not in ('null', '""') and not safelight.setting_fits(rule, stated.value))
  limit 1;
  if found then
    raise exception 'defaults.% of %: % is not allowed; allowed is: % %', wrong.key, engine_id, wrong.value,
      coalesce(wrong.type, 'a text, number or flag'),
      concat_ws(' ', 'from ' || trim_scale(wrong.least), 'to ' || trim_scale(wrong.most), 'among ' || nullif(array_to_string(wrong.words, ', '), ''),
        'which must be ' || (wrong.single_output #>> '{}')) using errcode = 'check_violation';
  end if;
end $$;

create or replace function safelight.check_registry(document jsonb) returns void
language plpgsql set search_path = '' as $$
declare
  wrong record;
begin
  if jsonb_typeof(document->'providers') is distinct from 'array' then
    return;
  end if;
  select entry->>'id' as id, cost.name, entry->cost.name as stated, cost.most into wrong
  from jsonb_array_elements(document->'providers') entry
  cross join (values ('usd', 100), ('usd_per_second', 10)) cost (name, most)
  where jsonb_typeof(entry) = 'object' and entry ? cost.name and case
    when jsonb_typeof(entry->cost.name) = 'number' then (entry->>cost.name)::numeric not between 0 and cost.most
    else true
  end
  limit 1;
  if found then
    raise exception '% of %: % is not allowed; it is a number from 0 to %', wrong.name, wrong.id, wrong.stated, wrong.most
      using errcode = 'check_violation';
  end if;
end $$;

create or replace function safelight.check_app_config() returns trigger
language plpgsql set search_path = '' as $$
declare
  engine constant text := substring(new.mg_key from '^mma[.]provider[.](.+)[.]defaults$');
begin
  if new.mg_key = 'mma.provider.registry' then
    perform safelight.check_registry(new.mg_value);
  elsif engine is not null then
    perform safelight.check_provider_defaults(engine, new.mg_value);
  else
    perform safelight.check_context(new.mg_key, new.mg_value);
  end if;
  return new;
end $$;

create or replace trigger mega_admin_check_app_config before insert or update on public.mega_admin
  for each row
  when (new.mg_record_type = 'app_config' and starts_with(new.mg_key, 'mma.'))
  execute function safelight.check_app_config();

select safelight.guard_rows();
