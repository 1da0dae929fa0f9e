-- Which generations failed since yesterday, whose were they, and why? (Stacks are in the ops plane alone.)
select created_at, id, user_display_name, username, model_id, error_type, error_message
from failed_generations_view
where created_at >= now() - interval '24 hours'
order by created_at desc
limit 200;
