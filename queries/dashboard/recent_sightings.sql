-- @title: The last 200 sightings
-- @chart: map
-- @order: 30  @width: 12
-- Events of one millisecond have no order of their own; partition and offset give them one that never changes.
SELECT lat, lon, name, type_1, legendary
FROM pokemons
ORDER BY _timestamp DESC, _partition, _offset DESC
LIMIT 200
