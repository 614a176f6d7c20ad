-- @title: Types near each spawn point
-- @chart: table
-- @order: 100  @width: 6
-- The place of an event is determined row by row; shares and ranks are computed from the counts, which are few.
WITH counts AS (
  SELECT
    CASE
      WHEN haversine_km(lat, lon, 40.4168, -3.7038) <= 25 THEN 'Madrid'
      WHEN haversine_km(lat, lon, -34.6037, -58.3816) <= 25 THEN 'Buenos Aires'
      ELSE 'elsewhere'
    END AS place,
    type_1,
    count(*) AS seen
  FROM pokemons
  GROUP BY place, type_1
)
SELECT
  place,
  type_1,
  seen,
  round(100.0 * seen / sum(seen) OVER (PARTITION BY place), 1) AS percent
FROM counts
QUALIFY row_number() OVER (PARTITION BY place ORDER BY seen DESC, type_1) <= 5
ORDER BY place, seen DESC, type_1
