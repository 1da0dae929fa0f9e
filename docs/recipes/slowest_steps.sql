-- Where does the time go? Steps of the last 24 hours, the slowest kinds first.
select
  mg_step_type as step,
  mg_provider as provider,
  count(*) as times,
  percentile_disc(0.5) within group (order by mg_latency_ms) as p50_ms,
  percentile_disc(0.99) within group (order by mg_latency_ms) as p99_ms
from mega_generations
where mg_record_type = 'mma_step' and mg_created_at >= now() - interval '24 hours' and mg_latency_ms is not null
group by 1, 2
order by p50_ms desc;
