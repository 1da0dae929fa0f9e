-- How many errors of which kind in the last 24 hours?
select
  mg_detail->>'emoji' as emoji,
  mg_detail->>'category' as category,
  mg_detail->>'error_code' as error_code,
  count(*) as times,
  max(mg_created_at) as latest
from mega_admin
where mg_record_type = 'error' and mg_created_at >= now() - interval '24 hours'
group by 1, 2, 3
order by times desc;
