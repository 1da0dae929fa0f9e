-- name: insert_line!
insert into image_generation_logs (job_id, user_id, level, step, message, details, seq)
values (:job_id, :user_id, :level, :step, :message, :details, :seq);

-- name: lines_after
select seq, level, step, message, details, created_at
from image_generation_logs
where job_id = :job_id and seq > :after
order by seq
limit :limit;

-- name: tail^
-- One statement, so one snapshot: where the status is final, every line of the generation is among the lines.
select generation.mg_mma_status as status, generation.mg_meta->'error' as error,
  generation.mg_log_seq as last_seq,
  (
    select coalesce(jsonb_agg(jsonb_build_object(
      'seq', line.seq, 'level', line.level, 'step', line.step, 'message', line.message, 'details', line.details,
      'created_at', line.created_at) order by line.seq), '[]')
    from (
      select seq, level, step, message, details, created_at from image_generation_logs
      where job_id = :job_id and seq > :after
      order by seq limit :limit
    ) line
  ) as lines
from mega_generations generation
where generation.mg_id = :generation_key;
