-- @title: Most seen species
-- @chart: bar  @x: name  @y: seen
-- @order: 50  @width: 6
SELECT name, count(*) AS seen
FROM pokemons
GROUP BY name
ORDER BY seen DESC, name
LIMIT 10
