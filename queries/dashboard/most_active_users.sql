-- @title: Most active users
-- @chart: bar  @x: name  @y: logins
-- @order: 130  @width: 6
-- Names repeat, ids do not: so the id is in the GROUP BY and settles the ties.
SELECT name, count(*) AS logins, max(_timestamp) AS last_login
FROM user_events
WHERE action = 'login'
GROUP BY id, name
ORDER BY logins DESC, id, name
LIMIT 10
