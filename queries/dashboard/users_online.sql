-- @title: Users online
-- @chart: number
-- @order: 10  @width: 3
-- `users` is a table, so a logoff takes its row away, be it a tombstone or a record that says so.
SELECT count(*) AS users_online
FROM users
