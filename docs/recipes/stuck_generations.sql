-- What is stuck: unfinished, and nobody will go on with it, or past its deadline? Workers look for these every few seconds.
select unfinished.liveness, g.id, g.status, g.created_at, g.pass_id, g.model_id
from unfinished_generations() unfinished
join generations g on g.id = unfinished.id
where unfinished.is_stuck
order by g.created_at
limit 200;
