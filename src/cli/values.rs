//! Parsed values of the command line, and the messages about wrong ones.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use tallgrass_kafka::BadAsOf;
use tallgrass_relation::Until;

/// Events per second, or as fast as the broker accepts them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// This many events a second
    PerSecond(f64),
    /// No pause between events
    Max,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let (number, seconds) = match text.split_once('/') {
            None => (text, 1.0),
            Some((number, "s")) => (number, 1.0),
            Some((number, "m" | "min")) => (number, 60.0),
            Some((number, "h")) => (number, 3600.0),
            Some((_, unit)) => return Err(format!("unknown unit '/{unit}': use /s, /min or /h")),
        };
        let events: f64 =
            number.trim().parse().map_err(|_| format!("'{text}' is not a rate: try 50/s, 90/min or max"))?;
        if events.is_finite() && events > 0.0 {
            Ok(Self::PerSecond(events / seconds))
        } else {
            Err(format!("'{text}' is not a rate: it must be above zero"))
        }
    }
}

/// A place on the sphere, degrees: latitude north, longitude east.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Degrees north, -90 to 90
    pub lat: f64,
    /// Degrees east, -180 to 180
    pub lon: f64,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (lat, lon) = text
            .split_once(',')
            .ok_or_else(|| format!("'{text}' is not a place: use LAT,LON as in 40.4168,-3.7038"))?;
        Ok(Self { lat: parse_latitude(lat)?, lon: parse_longitude(lon)? })
    }
}

/// Where a read of history starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum From {
    /// The oldest record that the broker still has
    #[default]
    Earliest,
    /// The first record of each partition at or after this time, in milliseconds since 1970 UTC
    TimestampMs(i64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "earliest" {
            return Ok(Self::Earliest);
        }
        let time = text
            .strip_prefix('@')
            .ok_or_else(|| format!("'{text}': use earliest, or @TIME as in @2026-01-31T09:00:00Z"))?;
        parse_time(time).map(Self::TimestampMs)
    }
}

/// A moment, in milliseconds since 1970 UTC.
fn parse_time(time: &str) -> Result<i64, String> {
    if let Ok(timestamp) = time.parse::<jiff::Timestamp>() {
        return Ok(timestamp.as_millisecond());
    }
    time.parse::<i64>().map_err(|_| {
        format!("'{time}' is not a time: use 2026-01-31T09:00:00Z (with Z or an offset such as +01:00) or milliseconds since 1970")
    })
}

pub(super) fn parse_until(text: &str) -> Result<Until, String> {
    if let Some(time) = text.strip_prefix('@') {
        return parse_time(time).map(Until::TimestampMs);
    }
    if text.trim().is_empty() {
        return Err("use offsets as in 'pokemons 0:120 1:98, users 0:7', or @TIME".to_owned());
    }
    text.parse().map(Until::Offsets).map_err(|error: BadAsOf| error.to_string())
}

pub(super) fn parse_interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(interval) if interval.is_zero() => Err("use at least 1ms".to_owned()),
        Ok(interval) => Ok(interval),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn parse_property(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("'{text}': use KEY=VALUE"))
}

/// `HOST:PORT[,HOST:PORT…]`; without a port it is 9092.
pub(super) fn parse_brokers(text: &str) -> Result<String, String> {
    for broker in text.split(',').map(str::trim) {
        let address = broker.split_once("://").map_or(broker, |(_, address)| address);
        let (host, port) = match address.rsplit_once(':') {
            // An IPv6 address without a port.
            Some((host, _)) if host.contains(':') && !host.ends_with(']') => (address, None),
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        };
        if host.is_empty() {
            return Err(format!("'{broker}' is not a broker: use HOST:PORT as in 127.0.0.1:9092"));
        }
        if let Some(port) = port
            && port.parse::<u16>().ok().is_none_or(|port| port == 0)
        {
            return Err(format!("'{port}' is not a port: use 1 to 65535"));
        }
    }
    Ok(text.to_owned())
}

pub(super) fn parse_group(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err("a consumer group needs a name".to_owned());
    }
    Ok(text.to_owned())
}

/// A name that becomes part of a consumer group's name.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(allowed) {
        return Err(format!("'{}' is not a name: use letters, digits, '.', '_' and '-'", text.escape_debug()));
    }
    Ok(text.to_owned())
}

/// Characters of a name at most; Kafka itself takes groups of up to 32,767.
const MAX_NAME: usize = 200;

fn parse_bounded(text: &str, what: &str, limit: f64) -> Result<f64, String> {
    let degrees: f64 = text.trim().parse().map_err(|_| format!("'{text}' is not a {what}"))?;
    if (-limit..=limit).contains(&degrees) {
        Ok(degrees)
    } else {
        Err(format!("{what} {text} is not within -{limit} to {limit}"))
    }
}

pub(super) fn parse_latitude(text: &str) -> Result<f64, String> {
    parse_bounded(text, "latitude", 90.0)
}

pub(super) fn parse_longitude(text: &str) -> Result<f64, String> {
    parse_bounded(text, "longitude", 180.0)
}

pub(super) fn parse_positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err(format!("'{text}' must be a number above zero")),
    }
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// `off`.
    Off,
    /// An address.
    At(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let port = text.parse().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        match (port, local, text.parse()) {
            (Ok(at), ..) | (.., Ok(at)) => Ok(Self::At(at)),
            (_, Some(port), _) => Ok(Self::At(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))),
            _ => Err("use ADDRESS:PORT as in 127.0.0.1:8080 or [::1]:8080, a port alone, or off".to_owned()),
        }
    }
}
