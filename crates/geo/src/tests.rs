#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::float_cmp)] // what is compared is exact

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int32Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use datafusion::prelude::SessionContext;
use geographiclib_rs::{Geodesic, InverseGeodesic};
use rand::{RngExt, SeedableRng};

use super::*;

fn relative(a: f64, b: f64) -> f64 {
    if a == b { 0.0 } else { (a - b).abs() / a.abs().max(b.abs()) }
}

/// Random places, with every special one among them.
fn places(count: usize) -> Vec<(f64, f64)> {
    let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut places: Vec<_> = [90.0, -90.0, 0.0, 89.999_999, -89.999_999, 45.0]
        .iter()
        .flat_map(|lat| [0.0, 180.0, -180.0, 179.999_999, -179.999_999, 90.0, -90.0].map(|lon| (*lat, lon)))
        .collect();
    places
        .resize_with(places.len().max(count), || (dice.random_range(-90.0..=90.0), dice.random_range(-180.0..=180.0)));
    places
}

#[test]
fn known_distances_between_cities() {
    let [madrid, buenos_aires] = [(40.4168, -3.7038), (-34.6037, -58.3816)];
    let [paris, london, tokyo] = [(48.8566, 2.3522), (51.5074, -0.1278), (35.6762, 139.6503)];
    let [sydney, san_francisco, auckland] = [(-33.8688, 151.2093), (37.7749, -122.4194), (-36.8485, 174.7633)];
    for (a, b, km) in [
        (madrid, buenos_aires, 10_045.0),
        (paris, london, 343.6),
        (tokyo, sydney, 7_823.0),
        (san_francisco, auckland, 10_496.0),
        (tokyo, san_francisco, 8_270.0),
    ] {
        let distance = distance_km(a.0, a.1, b.0, b.1);
        assert!(relative(distance, km) < 2e-3, "{distance} instead of {km}");
    }
    // A quarter and a half of a great circle.
    assert!(relative(distance_km(0.0, 0.0, 0.0, 90.0), EARTH_RADIUS_KM * std::f64::consts::FRAC_PI_2) < 1e-15);
    assert!(relative(distance_km(90.0, 5.0, -90.0, 99.0), EARTH_RADIUS_KM * std::f64::consts::PI) < 1e-15);
}

#[test]
fn agrees_with_geographiclib_on_a_sphere() {
    let sphere = Geodesic::new(EARTH_RADIUS_KM * 1000.0, 0.0);
    let places = places(1500);
    for (index, a) in places.iter().enumerate() {
        let far = places[(index * 7 + 3) % places.len()];
        let near = ((a.0 + 1e-5).min(90.0), a.1 - 2e-5);
        let antipode = (1e-7 - a.0, a.1 + 180.0);
        for b in [*a, far, near, antipode] {
            let expected: f64 = sphere.inverse(a.0, a.1, b.0.clamp(-90.0, 90.0), b.1);
            let metres = 1000.0 * distance_km(a.0, a.1, b.0.clamp(-90.0, 90.0), b.1);
            // Near places: degrees themselves are only known to 1e-14, some nanometres.
            assert!(
                relative(metres, expected) < 1e-12 || (metres - expected).abs() < 2e-8,
                "{metres} {expected} {a:?} {b:?}"
            );
        }
    }
}

#[test]
fn the_same_in_both_directions_and_around_the_world() {
    for pair in places(2000).windows(2) {
        let ((lat1, lon1), (lat2, lon2)) = (pair[0], pair[1]);
        let distance = distance_km(lat1, lon1, lat2, lon2);
        assert_eq!(distance.to_bits(), distance_km(lat2, lon2, lat1, lon1).to_bits());
        let around = distance_km(lat1, lon1 + 720.0, lat2, lon2 - 360.0);
        assert!((around - distance).abs() < 1e-8, "{around} {distance}");
        assert_eq!(distance_km(lat1, lon1, lat1, lon1), 0.0);
    }
    assert_eq!(distance_km(90.0, 17.0, 90.0, -120.0), 0.0, "there is one pole");
    assert_eq!(distance_km(10.0, 180.0, 10.0, -180.0), 0.0, "there is one date line");
    assert!(distance_km(0.0, 1e300, 0.0, -1e300).is_finite());
}

fn call(name: &str, args: Vec<ColumnarValue>, rows: usize) -> ColumnarValue {
    let function = functions().into_iter().find(|function| function.name() == name).unwrap();
    let types: Vec<DataType> = args.iter().map(ColumnarValue::data_type).collect();
    let return_field = Arc::new(Field::new(name, function.return_type(&types).unwrap(), true));
    let arg_fields = types.into_iter().map(|data_type| Arc::new(Field::new("a", data_type, true))).collect();
    let config_options = Arc::new(ConfigOptions::default());
    function
        .invoke_with_args(ScalarFunctionArgs { args, arg_fields, number_rows: rows, return_field, config_options })
        .unwrap()
}

#[test]
fn constants_and_columns_give_the_same_bits() {
    let places = places(300);
    let rows = places.len();
    let column = |values: Vec<f64>| ColumnarValue::Array(Arc::new(Float64Array::from(values)) as ArrayRef);
    let constant = |value: f64| ColumnarValue::Scalar(ScalarValue::Float64(Some(value)));
    let lat: Vec<f64> = places.iter().map(|place| place.0).collect();
    let lon: Vec<f64> = places.iter().map(|place| place.1).collect();
    let (lat0, lon0) = (40.4168, -3.7038);
    for which in 0..16 {
        // Each of the four arguments once as a constant and once as a column of that constant.
        let argument =
            |bit: usize, value: f64| if which >> bit & 1 == 1 { constant(value) } else { column(vec![value; rows]) };
        let mixed = call(
            "haversine_km",
            vec![argument(0, lat0), argument(1, lon0), column(lat.clone()), column(lon.clone())],
            rows,
        );
        let mixed = mixed.into_array(rows).unwrap();
        for (row, distance) in mixed.as_primitive::<Float64Type>().values().iter().enumerate() {
            assert_eq!(distance.to_bits(), distance_km(lat0, lon0, lat[row], lon[row]).to_bits());
        }
        let fixed = vec![argument(0, lat0), argument(1, lon0), argument(2, lat[50]), argument(3, lon[50])];
        let fixed = call("haversine_km", fixed, rows);
        assert_eq!(matches!(fixed, ColumnarValue::Scalar(_)), which == 15, "constants stay a constant");
        let fixed = fixed.into_array(rows).unwrap();
        assert_eq!(
            fixed.as_primitive::<Float64Type>().value(rows - 1).to_bits(),
            distance_km(lat0, lon0, lat[50], lon[50]).to_bits()
        );
    }
}

#[test]
fn a_slice_of_a_column_keeps_its_nulls_in_place() {
    let lat: Float64Array = (0..100).map(|row| (row % 3 != 0).then_some(f64::from(row) - 50.0)).collect();
    let lon = Float64Array::from_iter_values((0..100).map(f64::from));
    let points = call("st_point", vec![ColumnarValue::Array(Arc::new(lon)), ColumnarValue::Array(Arc::new(lat))], 100);
    let points = points.into_array(100).unwrap().slice(10, 50);
    let home = call("st_point", [3.0, 4.0].map(|x| ColumnarValue::Scalar(ScalarValue::Float64(Some(x)))).to_vec(), 50);
    let metres = call("st_distancesphere", vec![ColumnarValue::Array(points), home], 50).into_array(50).unwrap();
    let metres = metres.as_primitive::<Float64Type>();
    for row in 0..50 {
        let place = row + 10;
        assert_eq!(metres.is_null(row), place % 3 == 0);
        if metres.is_valid(row) {
            let expected = 1000.0 * distance_km(4.0, 3.0, place as f64 - 50.0, place as f64);
            assert!(relative(metres.value(row), expected) < 1e-14);
        }
    }
}

/// One line of text per row; NULL as `NULL`.
async fn sql(query: &str) -> Result<String, String> {
    let context = SessionContext::new();
    register(&context);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("lat", Arc::new(Float64Array::from(vec![Some(40.0), None, Some(91.0), Some(f64::NAN), Some(-90.0)]))),
        ("lon", Arc::new(Float64Array::from(vec![Some(-3.0), Some(1.0), Some(1.0), Some(1.0), Some(f64::INFINITY)]))),
        ("n", Arc::new(Int32Array::from(vec![1, 2, 3, 4, 5]))),
    ];
    context
        .register_batch(
            "t",
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap(),
        )
        .unwrap();
    let batches = match tallgrass_planner::sql(&context, query).await {
        Ok(frame) => frame.collect().await,
        Err(error) => Err(error),
    };
    let batches = batches.map_err(|error| error.strip_backtrace())?;
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells =
                batch.columns().iter().map(|column| ScalarValue::try_from_array(column, row).unwrap().to_string());
            rows.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    Ok(rows.join("\n"))
}

#[tokio::test]
async fn sql_knows_them_in_any_case_and_takes_integers_and_decimals() {
    assert_eq!(
        sql("SELECT round(haversine_km(0, 0, 0, 90)), round(HAVERSINE_KM(0.0, 0::DECIMAL(5,2), 0::SMALLINT, 180))")
            .await
            .unwrap(),
        "10008 20015"
    );
    assert_eq!(
        sql("SELECT round(ST_DistanceSphere(ST_Point(2.3522, 48.8566), ST_Point(-0.1278, 51.5074)) / 1000, 1)")
            .await
            .unwrap(),
        "343.6"
    );
    assert_eq!(sql("SELECT st_point(lon, 7)['x'], ST_Point(lon, n)['y'] FROM t LIMIT 2").await.unwrap(), "-3 1\n1 2");
    assert_eq!(
        sql("SELECT ST_DistanceSphere(named_struct('y', n, 'x', 0), {x: 0.0, y: 1.0}) < 1 FROM t LIMIT 2")
            .await
            .unwrap(),
        "true\nfalse",
        "a point may also come from the data"
    );
}

#[tokio::test]
async fn null_in_null_out_and_an_invalid_place_is_null() {
    let rows = sql(
        "SELECT haversine_km(lat, lon, 40, -3), ST_DWithin(ST_Point(lon, lat), ST_Point(-3, 40), 0), ST_Point(lon, lat) IS NULL FROM t",
    );
    assert_eq!(rows.await.unwrap(), "0 true false\nNULL NULL true\nNULL NULL false\nNULL NULL false\nNULL NULL false");
    for query in [
        "SELECT haversine_km(NULL, 1, 2, 3)",
        "SELECT haversine_km(1, 2, 3, CAST(NULL AS DOUBLE))",
        "SELECT haversine_km(90.1, 0, 0, 0)",
        "SELECT ST_Point(NULL, 1)['x']",
        "SELECT ST_DistanceSphere(ST_Point(1, 1), NULL)",
        "SELECT ST_DistanceSphere(ST_Point(1, NULL), ST_Point(1, 1))",
        "SELECT ST_DWithin(ST_Point(1, 1), ST_Point(1, 1), NULL)",
        "SELECT ST_DWithin(ST_Point(1, 1), ST_Point(1, 1), 'NaN'::DOUBLE)",
        "SELECT haversine_km(NULL, n, n, n) FROM t LIMIT 1",
        "SELECT ST_DistanceSphere(ST_Point(NULL, n), ST_Point(n, n)) FROM t LIMIT 1",
    ] {
        assert_eq!(sql(query).await.unwrap(), "NULL", "{query}");
    }
}

#[tokio::test]
async fn within_includes_the_limit_and_nothing_is_within_less_than_nothing() {
    let limit = "ST_DistanceSphere(ST_Point(lon, lat), ST_Point(0, n))";
    let query = format!(
        "SELECT ST_DWithin(ST_Point(lon, lat), ST_Point(0, n), {limit}), ST_DWithin(ST_Point(lon, lat), ST_Point(0, n), {limit} - 0.001), ST_DWithin(ST_Point(1, 1), ST_Point(1, 1), -1) FROM t LIMIT 1"
    );
    assert_eq!(sql(&query).await.unwrap(), "true false false");
}

#[tokio::test]
async fn wrong_arguments_are_errors_that_name_the_right_ones() {
    let error = sql("SELECT ST_DWithin(ST_Point(1, 1), 3, 4)").await.unwrap_err();
    assert!(
        error.contains("ST_DWithin takes two points, as made by ST_Point(lon, lat), and a number of metres"),
        "{error}"
    );
    let error = sql("SELECT ST_DistanceSphere(ST_Point(1, 1))").await.unwrap_err();
    assert!(error.contains("ST_DistanceSphere takes two points"), "{error}");
    assert!(sql("SELECT haversine_km(1, 2, 3)").await.is_err());
    assert!(sql("SELECT haversine_km(true, 2, 3, 4)").await.is_err());
}
