-- @title: Users online
-- @chart: number
-- @order: 10  @width: 3
-- `users` is a table, so a logoff deletes its row, whether it is a tombstone or a record with that action.
SELECT count(*) AS users_online
FROM users
