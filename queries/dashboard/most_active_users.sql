-- @title: Most active users
-- @chart: table
-- @order: 130  @width: 6
-- Names repeat, ids do not: so the id is in the GROUP BY and breaks ties.
SELECT name, email, count(*) AS logins, max(_timestamp) AS last_login
FROM user_events
WHERE action = 'login'
GROUP BY id, name, email
ORDER BY logins DESC, id, name, email
LIMIT 10
