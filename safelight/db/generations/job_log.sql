-- name: insert_line!
insert into image_generation_logs (job_id, user_id, level, step, message, details, seq)
values (:job_id, :user_id, :level, :step, :message, :details, :seq);

-- name: append_line!
insert into image_generation_logs (job_id, user_id, level, step, message, details)
select mg_generation_id::uuid, mg_user_id, :level, :step, :message, :details
from mega_generations
where mg_id = :generation_key;

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

-- name: oldest_lines
select seq, level, step, message, details, created_at
from image_generation_logs
where job_id = :job_id and seq > :cursor
  and (:levels::text[] is null or level = any(:levels::text[]))
  and (:steps::text[] is null or step = any(:steps::text[]) or step <> all(:named_steps::text[]))
  and (:text::text is null or strpos(lower(message), lower(:text::text)) > 0)
order by seq
limit :limit;

-- name: newest_lines
select seq, level, step, message, details, created_at
from image_generation_logs
where job_id = :job_id and seq < :cursor
  and (:levels::text[] is null or level = any(:levels::text[]))
  and (:steps::text[] is null or step = any(:steps::text[]) or step <> all(:named_steps::text[]))
  and (:text::text is null or strpos(lower(message), lower(:text::text)) > 0)
order by seq desc
limit :limit;

-- name: add_line$
-- Without a number: a trigger gives the next one, under the lock of the generation's row.
insert into image_generation_logs (job_id, user_id, level, step, message, details)
values (:job_id, :user_id, :level, :step, :message, :details)
returning seq;
