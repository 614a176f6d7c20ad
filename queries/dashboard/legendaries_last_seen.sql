-- @title: Legendaries, last seen
-- @chart: table
-- @order: 80  @width: 6
SELECT name, max(_timestamp) AS last_seen, count(*) AS seen
FROM pokemons
WHERE legendary
GROUP BY name
ORDER BY last_seen DESC, name
LIMIT 10
