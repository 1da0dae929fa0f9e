-- name: admit^
select reason, wait_seconds
from safelight.admit_start(
  :adapter, :starts_per_minute, :at_once, :failures_max, :probe_seconds, :usd, :daily_usd_max
);

-- name: succeeded!
-- What was asked before the last failure says nothing about how the provider is since.
update safelight.provider_state
set failures = 0, shut_until = null
where adapter = :adapter and (failures > 0 or shut_until is not null)
  and (last_failure_at is null or last_failure_at < now() - make_interval(secs => :seconds));

-- name: failed!
-- Enough failures in a row shut the circuit; each further one, such as that of a probe, keeps it shut anew.
update safelight.provider_state
set failures = failures + 1,
    last_failure = :text,
    last_failure_at = now(),
    shut_until = case when failures + 1 >= :failures_max then now() + make_interval(secs => :shut_seconds) end
where adapter = :adapter;

-- name: back_off!
-- The provider says itself when it will take more.
update safelight.provider_state
set next_start_at = greatest(next_start_at, now() + make_interval(secs => :seconds))
where adapter = :adapter;

-- name: release_budget$
-- What was counted for a start that the provider did not take.
select safelight.give_back_spend(:adapter, :usd);

-- name: health
select state.adapter, state.failures, state.last_failure, state.last_failure_at,
  case when state.shut_until > now() then 'open' when state.failures > 0 then 'failing' else 'closed' end as circuit,
  case when state.shut_until > now() then state.shut_until end as shut_until,
  case when state.spent_on = (now() at time zone 'utc')::date then state.spent_usd else 0 end as spent_today_usd,
  (
    select count(*) from mega_generations step
    where step.mg_record_type = 'mma_step' and step.mg_status = 'processing' and step.mg_payload ? 'starts'
      and step.mg_payload #>> '{input,adapter}' = state.adapter
  ) as under_way
from safelight.provider_state state
order by state.adapter;

-- name: circuit_is_open$
select exists (
  select from safelight.provider_state where adapter = :adapter and shut_until > now()
);
