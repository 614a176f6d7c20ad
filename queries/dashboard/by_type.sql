-- @title: Pokémon by type
-- @chart: bar  @x: type_1  @y: seen
-- @order: 40  @width: 6
-- The second sort key breaks ties: without it two runs may show equal counts in a different order.
SELECT
  type_1,
  count(*) AS seen,
  round(avg(total), 1) AS mean_total,
  max(total) AS max_total
FROM pokemons
GROUP BY type_1
ORDER BY seen DESC, type_1
