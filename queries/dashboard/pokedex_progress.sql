-- @title: Pokédex progress by generation
-- @chart: bar  @x: generation  @y: percent
-- @order: 70  @width: 6
-- The inner DISTINCT keeps one row per species, not one per event; the join and the count above it are then small.
SELECT
  d.generation,
  count(s.number) AS seen,
  count(*) AS species,
  round(100.0 * count(s.number) / count(*), 1) AS percent
FROM pokedex d
LEFT JOIN (SELECT DISTINCT number FROM pokemons) s ON s.number = d.number
GROUP BY d.generation
ORDER BY d.generation
