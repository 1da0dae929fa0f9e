-- Which models failed in the last 7 days, for how many users?
select * from get_failure_stats(168);
