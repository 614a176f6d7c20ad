-- What one control panel shows: each Pokémon near its place, as it appears.
-- A row comes out the moment that its event comes in, so only filter and project here: no GROUP BY, no ORDER BY.
-- @title: Pokémon nearby
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
