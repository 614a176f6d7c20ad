-- @title: Spawns per minute
-- @chart: line  @x: minute  @y: spawns
-- @order: 25  @width: 6
-- The last hour that has events, not the last hour of the clock: so a replay tomorrow shows the same.
SELECT minute, spawns
FROM (
  SELECT date_bin(INTERVAL '1 minute', _timestamp) AS minute, count(*) AS spawns
  FROM pokemons
  GROUP BY minute
  ORDER BY minute DESC
  LIMIT 60
)
ORDER BY minute
