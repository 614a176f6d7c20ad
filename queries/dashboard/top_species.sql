-- @title: Most seen species
-- @chart: bar  @x: name  @y: seen
-- @order: 50  @width: 6
-- @param min_total BIGINT = 0
SELECT name, count(*) AS seen
FROM pokemons
WHERE total >= $min_total
GROUP BY name
ORDER BY seen DESC, name
LIMIT 10
