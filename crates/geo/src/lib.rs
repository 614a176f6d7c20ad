//! Distances on the Earth as SQL functions.
//!
//! | function | gives |
//! |---|---|
//! | `haversine_km(lat1, lon1, lat2, lon2)` | kilometres between two places, degrees in |
//! | `ST_Point(lon, lat)` | a point, the struct `{x: lon, y: lat}`: the argument order of `PostGIS` |
//! | `ST_DistanceSphere(point, point)` | metres between two points |
//! | `ST_DWithin(point, point, metres)` | whether they are at most that far apart, the limit included |
//!
//! # Contract
//! - The Earth is a sphere of [`EARTH_RADIUS_KM`]; the true (ellipsoidal) distance differs by up to 0.56 %.
//! - A null argument gives null, and so does an invalid position: a latitude outside −90 to 90, a NaN, an infinity. A live
//!   view must not stop at one bad record, and null is what SQL calls "unknown". `WHERE` drops such rows.
//! - Longitudes are periodic: −181 is 179.
//! - `ST_Point` itself checks nothing (a point is two numbers); the functions that measure do.
//! - The distance is the same to the bit in both directions, and whether an argument is a constant or a column.
//!   `ST_DWithin(a, b, m)` is `ST_DistanceSphere(a, b) <= m` to the bit: false for a negative `m`, null for NaN.
//!
//! ```
//! use tallgrass_geo::distance_km;
//!
//! let (madrid, buenos_aires) = ((40.4168, -3.7038), (-34.6037, -58.3816));
//! let distance = distance_km(madrid.0, madrid.1, buenos_aires.0, buenos_aires.1);
//! assert_eq!(distance.round(), 10_045.0);
//! ```

mod functions;
mod projection;
mod sphere;

pub use functions::functions;
pub use projection::Projection;
pub use sphere::{EARTH_RADIUS_KM, distance_km};

/// Registers the functions of this module.
pub fn register(context: &datafusion::prelude::SessionContext) {
    for function in functions() {
        context.register_udf(function);
    }
}

#[cfg(test)]
mod tests;
