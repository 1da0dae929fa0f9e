-- name: store!
insert into safelight.settings as known (name, value) values (:name, :value)
on conflict (name) do update set value = excluded.value where known.value <> excluded.value;
