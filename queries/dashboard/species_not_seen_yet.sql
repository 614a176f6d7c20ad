-- @title: Strongest species not seen yet
-- @chart: table
-- @order: 110  @width: 6
SELECT d.number, d.name, d.total, d.type_1, d.legendary
FROM pokedex d
LEFT ANTI JOIN (SELECT DISTINCT number FROM pokemons) seen ON seen.number = d.number
ORDER BY d.total DESC, d.number
LIMIT 10
