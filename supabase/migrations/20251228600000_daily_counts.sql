-- What is free is counted by day, for all processes together: welcomes by address, suggestions by customer and address.
-- A key is a pass id, or the keyed hash of an address; what is older than yesterday is deleted by the next count.

set local lock_timeout = '10s';

create table if not exists safelight.daily_count (
  day date not null,
  purpose text not null,
  key text not null check (length(key) <= 200),
  uses integer not null check (uses > 0),
  primary key (day, purpose, key)
);

select safelight.guard_rows();
