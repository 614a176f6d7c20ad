-- The rows of a control panel: each Pokémon near its place, as it appears.
-- A row is passed on as soon as its event is read, so only filter and project here: no GROUP BY, no ORDER BY.
-- A panel needs the parameters lat, lon and radius_km; the columns lat and lon put its rows on the map.
-- @title: Pokémon nearby
-- @order: 1
-- @param lat DOUBLE
-- @param lon DOUBLE
-- @param radius_km DOUBLE = 3
SELECT
  name,
  type_1,
  type_2,
  legendary,
  haversine_km(lat, lon, $lat, $lon) AS distance_km,
  lat,
  lon,
  _timestamp
FROM pokemons
WHERE haversine_km(lat, lon, $lat, $lon) <= $radius_km
