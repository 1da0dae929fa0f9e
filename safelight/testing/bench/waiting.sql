-- name: finished$
select count(*)
from mega_generations
where mg_record_type = 'generation' and mg_mma_status in ('done', 'error', 'cancelled');

-- name: done$
select count(*)
from mega_generations
where mg_record_type = 'generation' and mg_mma_status = 'done';
