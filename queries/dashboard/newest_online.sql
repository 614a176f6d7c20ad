-- @title: Newest online
-- @chart: table
-- @order: 68  @width: 6
SELECT name, email, _timestamp AS since
FROM users
ORDER BY _timestamp DESC, id
LIMIT 10
