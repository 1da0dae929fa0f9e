-- name: fill!
-- Copies the one generation of the benchmark's customer so many times, each with the job that acceptance gives it.
with first as (
  select generation, job.priority, job.queue_name, job.task_name
  from mega_generations generation
  join procrastinate_jobs job on job.queueing_lock = generation.mg_generation_id
  where generation.mg_record_type = 'generation' and job.status = 'todo'
), copied as (
  select number, gen_random_uuid()::text as id, first.* from first, generate_series(1, :orders) number
), inserted as (
  insert into mega_generations
  select (jsonb_populate_record(
    copied.generation, jsonb_build_object('mg_id', 'generation:' || copied.id, 'mg_generation_id', copied.id)
  )).*
  from copied
)
insert into procrastinate_jobs (queue_name, task_name, queueing_lock, args, priority)
select queue_name, task_name, id, jsonb_build_object('generation_id', id), priority - least(number, 10000)
from copied order by number;

-- name: hold!
-- As if they had been accepted while the customer had all places taken.
update procrastinate_jobs job
set args = job.args || jsonb_build_object('customer', generation.mg_pass_id),
  lock = case when due.place > waiting.jobs - :held then 'held:' || generation.mg_pass_id end,
  scheduled_at = case when due.place > waiting.jobs - :held then timestamptz '9000-01-01 00:00:00Z' end
from mega_generations generation,
  (select id, row_number() over (order by priority desc, id) as place from procrastinate_jobs where status = 'todo') due,
  (select count(*) as jobs from procrastinate_jobs where status = 'todo') waiting
where generation.mg_id = 'generation:' || job.queueing_lock and due.id = job.id;

-- name: waited^
select generation.mg_mma_status as status, generation.mg_latency_ms / 1000.0 as done,
  extract(epoch from (step.mg_payload #>> '{timing,started_at}')::timestamptz - generation.mg_created_at) as begun
from mega_generations generation
left join mega_generations step on step.mg_id = :first_step
where generation.mg_id = 'generation:' || :generation_id;
