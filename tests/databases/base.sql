-- The published base tables: no MMA columns, and record-type lists that know neither steps nor errors.
create table public.mega_customers (
  mg_pass_id text primary key,
  mg_shopify_customer_id text,
  mg_user_id uuid,
  mg_email text,
  mg_first_name text, mg_last_name text, mg_display_name text, mg_locale text, mg_timezone text,
  mg_marketing_opt_in boolean default false,
  mg_product_updates_opt_in boolean default false,
  mg_credits integer not null default 0,
  mg_expires_at timestamptz,
  mg_last_active timestamptz,
  mg_disabled boolean not null default false,
  mg_verified_email boolean default false,
  mg_verified_google boolean default false,
  mg_verified_apple boolean default false,
  mg_verified_any boolean generated always as (
    coalesce(mg_verified_email, false) or coalesce(mg_verified_google, false) or coalesce(mg_verified_apple, false)
  ) stored,
  mg_verification_method text,
  mg_verification_at timestamptz,
  mg_verification_keynumber text,
  mg_topup_default_packs integer not null default 3 check (mg_topup_default_packs >= 0),
  mg_auto_topup_enabled boolean default false,
  mg_auto_topup_monthly_limit_packs integer
    check (mg_auto_topup_monthly_limit_packs is null or mg_auto_topup_monthly_limit_packs >= 0),
  mg_last_topup_at timestamptz,
  mg_topup_source text,
  mg_meta jsonb not null default '{}',
  mg_source_system text,
  mg_deleted_at timestamptz,
  mg_created_at timestamptz not null default timezone('utc', now()),
  mg_updated_at timestamptz not null default timezone('utc', now()),
  mg_admin_allowlist boolean not null default false
);
create unique index on public.mega_customers (mg_shopify_customer_id) where mg_shopify_customer_id is not null;
create unique index on public.mega_customers (mg_user_id) where mg_user_id is not null;

create table public.mega_generations (
  mg_id text primary key,
  mg_record_type text not null
    check (mg_record_type in ('generation', 'session', 'feedback', 'credit_transaction')),
  mg_pass_id text references public.mega_customers (mg_pass_id) on update cascade,
  mg_session_id text, mg_generation_id text, mg_platform text, mg_title text, mg_type text, mg_prompt text,
  mg_output_url text, mg_output_key text, mg_provider text, mg_model text,
  mg_latency_ms integer, mg_input_chars integer, mg_output_chars integer,
  mg_input_tokens integer, mg_output_tokens integer,
  mg_content_type text, mg_status text, mg_error text, mg_result_type text, mg_comment text,
  mg_image_url text, mg_video_url text,
  mg_delta integer,
  mg_reason text, mg_source text, mg_ref_type text, mg_ref_id text,
  mg_client_version text, mg_os text, mg_browser text, mg_device text,
  mg_meta jsonb not null default '{}',
  mg_payload jsonb not null default '{}',
  mg_source_system text,
  mg_deleted_at timestamptz,
  mg_created_at timestamptz not null default timezone('utc', now()),
  mg_updated_at timestamptz not null default timezone('utc', now())
);
create index mega_generations_pass_idx on public.mega_generations (mg_pass_id);
create index mega_generations_record_type_idx on public.mega_generations (mg_record_type);

create table public.mega_admin (
  mg_id text primary key,
  mg_record_type text not null
    check (mg_record_type in ('admin_session', 'admin_audit', 'profile', 'runtime_config', 'app_config')),
  mg_actor_pass_id text references public.mega_customers (mg_pass_id) on update cascade,
  mg_session_hash text, mg_user_id uuid, mg_email text, mg_ip text, mg_user_agent text,
  mg_first_seen_at timestamptz, mg_last_seen_at timestamptz,
  mg_profile_id uuid,
  mg_shopify_customer_id text, mg_action text, mg_route text, mg_method text,
  mg_status integer,
  mg_detail jsonb,
  mg_runtime_id integer,
  mg_runtime_flat jsonb,
  mg_key text,
  mg_value jsonb,
  mg_meta jsonb not null default '{}',
  mg_payload jsonb not null default '{}',
  mg_source_system text,
  mg_deleted_at timestamptz,
  mg_created_at timestamptz not null default timezone('utc', now()),
  mg_updated_at timestamptz not null default timezone('utc', now())
);

insert into public.mega_customers (mg_pass_id, mg_email, mg_credits) values ('pass_old', 'Old@Example.com', 7);
insert into public.mega_generations (mg_id, mg_record_type, mg_pass_id, mg_generation_id, mg_prompt, mg_output_url)
values ('gen_old', 'generation', 'pass_old', 'gen_old', 'a vase', 'https://assets.example/old.png');
insert into public.mega_admin (mg_id, mg_record_type, mg_key, mg_value)
values ('app_config:runtime', 'app_config', 'runtime', '{"credits": {"imageCost": 2}}');
