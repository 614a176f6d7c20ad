-- The relations that every SQL file of this folder may read. Nothing about Pokémon is in the engine itself:
-- point this file at topics of your own (`tallgrass init TOPIC` writes a first draft) and the dashboard is yours.
--
-- A Kafka topic is declared in one of two ways:
--   without PRIMARY KEY   a stream: every record is a row, forever; a tombstone (null value) is a row of nulls
--   with PRIMARY KEY      a table: the newest record of each key is the row; a tombstone deletes it
--
-- A record is JSON, a column is the field of the same name. A field that is missing is null, a field that is not declared
-- is skipped. A record that does not fit its columns' types is counted and logged, and is not a row.
--
-- Each Kafka relation has four more columns: _key VARCHAR, _partition INT, _offset BIGINT, _timestamp TIMESTAMP.

-- Every wild Pokémon that has appeared, and where. The columns of the Pokédex, and two more.
CREATE EXTERNAL TABLE pokemons (
  number     BIGINT,
  name       VARCHAR,
  type_1     VARCHAR,
  type_2     VARCHAR,   -- null for the many that have one type
  total      BIGINT,    -- sum of the six that follow
  hp         BIGINT,
  attack     BIGINT,
  defense    BIGINT,
  sp_attack  BIGINT,
  sp_defense BIGINT,
  speed      BIGINT,
  generation BIGINT,
  legendary  BOOLEAN,
  lat        DOUBLE,    -- degrees north
  lon        DOUBLE     -- degrees east
) STORED AS KAFKA LOCATION 'pokemons';

-- Every login and logoff, as events. A logoff may be a tombstone: then all columns are null, and _key is the user's id.
CREATE EXTERNAL TABLE user_events (
  id     BIGINT,
  name   VARCHAR,
  email  VARCHAR,
  action VARCHAR        -- 'login' or 'logoff'
) STORED AS KAFKA LOCATION 'users';

-- The same topic as a table: the users who are online now. The value of the primary key is the record's key. A tombstone
-- deletes a user in any case; `deleted_when` names the other records that do.
CREATE EXTERNAL TABLE users (
  id     BIGINT,
  name   VARCHAR,
  email  VARCHAR,
  action VARCHAR,
  PRIMARY KEY (id)
) STORED AS KAFKA LOCATION 'users' OPTIONS ('deleted_when' 'action = ''logoff''');

-- All 1,025 species, seen or not. Any format other than KAFKA is a file that DataFusion reads itself.
CREATE EXTERNAL TABLE pokedex (
  number     BIGINT,
  name       VARCHAR,
  type_1     VARCHAR,
  type_2     VARCHAR,
  total      BIGINT,
  hp         BIGINT,
  attack     BIGINT,
  defense    BIGINT,
  sp_attack  BIGINT,
  sp_defense BIGINT,
  speed      BIGINT,
  generation BIGINT,
  legendary  BOOLEAN
) STORED AS CSV LOCATION 'data/pokemon.csv' OPTIONS ('has_header' 'true');
