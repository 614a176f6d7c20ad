-- @title: Logins and logoffs
-- @chart: bar  @x: event  @y: events
-- @order: 60  @width: 3
-- A tombstone is a logoff too: a row of `user_events` whose columns are null. Only _key identifies the user.
SELECT
  coalesce(action, 'logoff') AS event,
  count(*) AS events,
  count(DISTINCT _key) AS users
FROM user_events
GROUP BY event
ORDER BY event
