-- An older backend's tables in the schema `legacy`: the shop's list of customers and the tables of
-- docs/contract/failures-in-sql.md. (The MEGA tables stand beside them, from base.sql and patch.sql.)
create table legacy.customers (
  shopify_customer_id text primary key,
  email text,
  credits integer not null default 0,
  last_active timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz,
  disabled boolean default false,
  favourite_colour text
);
create table legacy.profiles (
  id uuid primary key, username text, display_name text, avatar_url text, role text default 'user',
  paused_at timestamptz, deleted_at timestamptz, created_at timestamptz default now(), updated_at timestamptz
);
create table legacy.projects (
  id uuid primary key, name text, description text, owner_id uuid, is_shared boolean default true,
  created_at timestamptz default now()
);
create table legacy.sessions (
  id uuid primary key, project_id uuid, name text, type text, is_private boolean default true,
  created_at timestamptz default now(), updated_at timestamptz
);
create table legacy.generations (
  id uuid primary key, session_id uuid, user_id uuid, model_id text, prompt text, negative_prompt text,
  parameters json, status text, cost numeric(10, 6), created_at timestamptz default now()
);
create table legacy.outputs (
  id uuid primary key, generation_id uuid, file_url text, file_type text, width integer, height integer,
  is_starred boolean default false, created_at timestamptz default now()
);
