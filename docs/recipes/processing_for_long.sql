-- What has been under way for more than ten minutes? Not all of it is stuck: a long video may still be rendering.
select g.id, g.mma_status, g.created_at, round(extract(epoch from now() - g.created_at) / 60) as age_minutes,
  g.model_id, g.pass_id
from generations g
where g.status = 'processing' and g.created_at < now() - interval '10 minutes'
order by g.created_at
limit 200;
