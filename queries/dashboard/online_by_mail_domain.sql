-- @title: Online by mail domain
-- @chart: bar  @x: domain  @y: online
-- @order: 65  @width: 3
SELECT split_part(email, '@', 2) AS domain, count(*) AS online
FROM users
GROUP BY domain
ORDER BY online DESC, domain
LIMIT 15
