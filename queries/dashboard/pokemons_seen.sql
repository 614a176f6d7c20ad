-- @title: Pokémon seen
-- @chart: number
-- @order: 20  @width: 3
SELECT count(*) AS pokemons_seen
FROM pokemons
