-- block: 1. Get All Failed Generations (Last 24 Hours)
SELECT 
  g.id,
  g.user_id,
  g.model_id,
  g.prompt,
  g.status,
  g.created_at,
  g.parameters->>'error' as error_message,
  g.parameters->'errorContext' as error_context,
  p.display_name as user_display_name,
  p.username,
  s.name as session_name,
  pr.name as project_name
FROM generations g
LEFT JOIN profiles p ON g.user_id = p.id
LEFT JOIN sessions s ON g.session_id = s.id
LEFT JOIN projects pr ON s.project_id = pr.id
WHERE g.status = 'failed'
  AND g.created_at >= NOW() - INTERVAL '24 hours'
ORDER BY g.created_at DESC;

-- block: 2. Get Failed Generations by User
SELECT 
  g.id,
  g.user_id,
  g.model_id,
  g.prompt,
  g.parameters->>'error' as error_message,
  g.created_at,
  p.display_name as user_display_name,
  p.username
FROM generations g
LEFT JOIN profiles p ON g.user_id = p.id
WHERE g.status = 'failed'
  AND g.user_id = 'YOUR_USER_ID_HERE'  -- Replace with actual user ID
ORDER BY g.created_at DESC
LIMIT 50;

-- block: 3. Get Stuck Generations (Processing > 10 Minutes)
SELECT 
  g.id,
  g.user_id,
  g.model_id,
  g.prompt,
  g.status,
  g.created_at,
  EXTRACT(EPOCH FROM (NOW() - g.created_at))/60 as age_minutes,
  p.display_name as user_display_name,
  p.username
FROM generations g
LEFT JOIN profiles p ON g.user_id = p.id
WHERE g.status = 'processing'
  AND g.created_at < NOW() - INTERVAL '10 minutes'
ORDER BY g.created_at ASC;

-- block: 4. Count Failed Generations by Model
SELECT 
  model_id,
  COUNT(*) as failure_count,
  COUNT(DISTINCT user_id) as affected_users
FROM generations
WHERE status = 'failed'
  AND created_at >= NOW() - INTERVAL '7 days'
GROUP BY model_id
ORDER BY failure_count DESC;

-- block: 5. Get Failed Generations with Error Types
SELECT 
  g.id,
  g.user_id,
  g.model_id,
  g.parameters->'errorContext'->>'type' as error_type,
  g.parameters->>'error' as error_message,
  g.created_at,
  p.display_name as user_display_name
FROM generations g
LEFT JOIN profiles p ON g.user_id = p.id
WHERE g.status = 'failed'
  AND g.parameters->'errorContext'->>'type' IS NOT NULL
ORDER BY g.created_at DESC
LIMIT 100;

-- block: 6. Get Recent Failures with Full Error Context
SELECT 
  g.id,
  g.user_id,
  g.model_id,
  g.prompt,
  g.parameters->>'error' as error_message,
  g.parameters->'errorContext' as full_error_context,
  g.created_at,
  p.display_name as user_display_name,
  p.username
FROM generations g
LEFT JOIN profiles p ON g.user_id = p.id
WHERE g.status = 'failed'
  AND g.created_at >= NOW() - INTERVAL '1 hour'
ORDER BY g.created_at DESC;

-- block: 7. Get User Email from Supabase Auth (Requires Admin Access)
-- This requires direct access to auth.users table
-- Usually only available via Supabase Admin API
SELECT 
  g.id as generation_id,
  g.user_id,
  g.parameters->>'error' as error_message,
  g.created_at,
  au.email as user_email
FROM generations g
LEFT JOIN auth.users au ON g.user_id = au.id::text
WHERE g.status = 'failed'
  AND g.created_at >= NOW() - INTERVAL '24 hours'
ORDER BY g.created_at DESC;

-- block: 1. Create a View for Failed Generations
CREATE OR REPLACE VIEW failed_generations_view AS
SELECT 
  g.id,
  g.user_id,
  g.model_id,
  g.prompt,
  g.status,
  g.created_at,
  g.parameters->>'error' as error_message,
  g.parameters->'errorContext'->>'type' as error_type,
  p.display_name as user_display_name,
  p.username,
  s.name as session_name,
  pr.name as project_name
FROM generations g
LEFT JOIN profiles p ON g.user_id = p.id
LEFT JOIN sessions s ON g.session_id = s.id
LEFT JOIN projects pr ON s.project_id = pr.id
WHERE g.status = 'failed';

-- block: 2. Create a Function to Get Failure Stats
CREATE OR REPLACE FUNCTION get_failure_stats(hours_back INTEGER DEFAULT 24)
RETURNS TABLE (
  model_id TEXT,
  failure_count BIGINT,
  affected_users BIGINT,
  latest_failure TIMESTAMP
) AS $$
BEGIN
  RETURN QUERY
  SELECT 
    g.model_id,
    COUNT(*) as failure_count,
    COUNT(DISTINCT g.user_id) as affected_users,
    MAX(g.created_at) as latest_failure
  FROM generations g
  WHERE g.status = 'failed'
    AND g.created_at >= NOW() - (hours_back || ' hours')::INTERVAL
  GROUP BY g.model_id
  ORDER BY failure_count DESC;
END;
$$ LANGUAGE plpgsql;

-- Usage:
SELECT * FROM get_failure_stats(24);  -- Last 24 hours
SELECT * FROM get_failure_stats(168); -- Last 7 days

-- block: Example: Finding Rate Limit Errors
SELECT 
  g.id,
  g.user_id,
  g.model_id,
  g.parameters->>'error' as error_message,
  g.created_at,
  p.display_name as user_display_name
FROM generations g
LEFT JOIN profiles p ON g.user_id = p.id
WHERE g.status = 'failed'
  AND (
    g.parameters->>'error' ILIKE '%rate limit%'
    OR g.parameters->>'error' ILIKE '%429%'
    OR g.parameters->'errorContext'->>'type' = 'RateLimitError'
  )
ORDER BY g.created_at DESC;
