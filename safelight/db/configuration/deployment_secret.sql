-- name: offer!
-- The first node's secret becomes the deployment's.
insert into safelight.deployment_secret (secret) values (%(secret)s) on conflict do nothing;

-- name: read$
select secret from safelight.deployment_secret;
