-- name: database_time$
select clock_timestamp();
