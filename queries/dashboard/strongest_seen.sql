-- @title: Strongest seen
-- @chart: table
-- @order: 90  @width: 6
SELECT name, total, type_1, type_2, count(*) AS seen
FROM pokemons
GROUP BY name, total, type_1, type_2
ORDER BY total DESC, name, type_1, type_2
LIMIT 10
