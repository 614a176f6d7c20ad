import java.sql.*;
import java.util.TreeSet;

/** Reads views and relations as a Java program does: metadata, parameters, fetch size, cancellation. */
public class Client {
    public static void main(String[] args) throws Exception {
        String url = args[0];
        long events = Long.parseLong(args[1]);
        try (Connection connection = DriverManager.getConnection(url)) {
            metadata(connection.getMetaData());
            parameters(connection, events);
            fetchSize(connection, events);
            types(connection);
            readOnly(connection);
            cancel(connection);
            timeout(connection);
        }
        System.out.println("all is well");
    }

    static void check(boolean good, String what) {
        if (!good) throw new AssertionError(what);
    }

    static void metadata(DatabaseMetaData metadata) throws SQLException {
        check(metadata.getDatabaseMajorVersion() == 16, "version " + metadata.getDatabaseProductVersion());
        TreeSet<String> tables = new TreeSet<>();
        try (ResultSet rows = metadata.getTables(null, "public", "%", new String[] {"TABLE"})) {
            while (rows.next()) tables.add(rows.getString("TABLE_NAME"));
        }
        check(tables.contains("by_type") && tables.contains("pokemons"), "tables " + tables);
        TreeSet<String> columns = new TreeSet<>();
        try (ResultSet rows = metadata.getColumns(null, "public", "by_type", "%")) {
            while (rows.next()) columns.add(rows.getString("COLUMN_NAME") + " " + rows.getString("TYPE_NAME"));
        }
        check(columns.toString().equals("[max_total int8, mean_total float8, seen int8, type_1 text]"), "columns " + columns);
    }

    static void parameters(Connection connection, long events) throws SQLException {
        // Ten times: from the fifth on the driver names the statement and asks for binary results.
        String sql = "SELECT count(*) AS n, max(lat) AS lat, min(name) AS name FROM pokemons WHERE total >= ? AND name <> ?";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int round = 0; round < 10; round++) {
                statement.setInt(1, 0);
                statement.setString(2, "no 'such' name; --");
                try (ResultSet rows = statement.executeQuery()) {
                    check(rows.next(), "a row");
                    check(rows.getLong("n") == events, "n " + rows.getLong("n"));
                    check(rows.getDouble("lat") > 40, "lat " + rows.getDouble("lat"));
                    check(!rows.getString("name").isEmpty(), "name");
                }
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT ? * seen, 1 + ? FROM by_type LIMIT 1")) {
            statement.setBigDecimal(1, new java.math.BigDecimal("0.001"));
            statement.setDouble(2, 1.5);
            try (ResultSet rows = statement.executeQuery()) {
                check(rows.next() && rows.getDouble(1) > 0 && rows.getDouble(1) < events, "decimal " + rows.getString(1));
                check(rows.getDouble(2) == 2.5, "double " + rows.getDouble(2));
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT name FROM pokedex ORDER BY number LIMIT ?")) {
            statement.setLong(1, 3);
            try (ResultSet rows = statement.executeQuery()) {
                int count = 0;
                while (rows.next()) count++;
                check(count == 3, "LIMIT ? gave " + count);
            }
        }
    }

    static void fetchSize(Connection connection, long events) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(100);
            try (ResultSet rows = statement.executeQuery("SELECT number, name, lat FROM pokemons")) {
                long count = 0;
                while (rows.next()) count++;
                check(count == events, "by hundreds " + count);
            }
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void types(Connection connection) throws SQLException {
        String sql = "SELECT 1::smallint, 2::int, 3::bigint, 1.5::real, 2.5::double precision, 12.34::decimal(10,2), 'é', true, "
            + "DATE '2026-01-31', TIMESTAMP '2026-01-31 09:00:00.123', make_array(1, 2), NULL::text";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int round = 0; round < 7; round++) {
                try (ResultSet row = statement.executeQuery()) {
                    check(row.next(), "a row");
                    check(row.getShort(1) == 1 && row.getInt(2) == 2 && row.getLong(3) == 3, "integers");
                    check(row.getFloat(4) == 1.5f && row.getDouble(5) == 2.5, "floats");
                    check(row.getBigDecimal(6).toPlainString().equals("12.34"), "decimal " + row.getBigDecimal(6));
                    check(row.getString(7).equals("é") && row.getBoolean(8), "text, boolean");
                    check(row.getDate(9).toString().equals("2026-01-31"), "date " + row.getDate(9));
                    check(row.getTimestamp(10).toString().equals("2026-01-31 09:00:00.123"), "timestamp " + row.getTimestamp(10));
                    check(((Object[]) row.getArray(11).getArray()).length == 2, "array");
                    check(row.getString(12) == null && row.wasNull(), "null");
                }
            }
        }
    }

    static void readOnly(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE t (a INT)");
            check(false, "a table was made");
        } catch (SQLException refused) {
            check(refused.getSQLState().equals("25006"), refused.getSQLState());
        }
    }

    static final String ENDLESS =
        "SELECT count(*) FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b";

    static void cancel(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            Thread canceller = new Thread(() -> {
                try {
                    Thread.sleep(1000);
                    statement.cancel();
                } catch (Exception failed) {
                    failed.printStackTrace();
                }
            });
            canceller.start();
            try {
                statement.executeQuery(ENDLESS);
                check(false, "it ended");
            } catch (SQLException cancelled) {
                check(cancelled.getSQLState().equals("57014"), cancelled.getSQLState());
            }
            canceller.join();
        }
    }

    static void timeout(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            statement.executeQuery(ENDLESS);
            check(false, "it ended");
        } catch (SQLException late) {
            check(late.getSQLState().equals("57014"), late.getSQLState());
        }
    }
}
