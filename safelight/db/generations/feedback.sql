-- name: insert_feedback!
insert into mega_generations (
  mg_id, mg_record_type, mg_pass_id, mg_session_id, mg_generation_id, mg_parent_id, mg_platform, mg_type,
  mg_result_type, mg_prompt, mg_comment, mg_output_url, mg_image_url, mg_video_url, mg_status, mg_meta, mg_event_at
) values (
  'feedback:' || :feedback_id, 'feedback', :pass_id, :session_id, :generation_id,
  'generation:' || :generation_id::text, :platform, :result_type, :result_type, :prompt, :comment,
  coalesce(:image_url::text, :video_url::text), :image_url, :video_url, 'succeeded', :meta, now()
)
on conflict (mg_id) do nothing;

-- name: count_feedback$
select count(*) from (
  select from mega_generations
  where mg_record_type = 'feedback' and mg_pass_id = :pass_id and mg_deleted_at is null
  limit :limit
) counted;
