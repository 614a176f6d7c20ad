//! The forms of a view's rows, and the one that a client wants.

use axum::http::{HeaderMap, header};

/// A form of a view's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// An object with the rows and their as-of.
    Json,
    /// RFC 4180 with a header line.
    Csv,
    /// An Arrow IPC file.
    Arrow,
    /// An Arrow IPC stream: the same for readers that cannot seek.
    ArrowStream,
    /// A picture.
    Svg,
}

impl Form {
    /// All forms; the first is for a client that accepts anything.
    const ALL: [Self; 5] = [Self::Json, Self::Csv, Self::Arrow, Self::ArrowStream, Self::Svg];

    /// Those that an address can end in.
    pub(super) const BY_SUFFIX: [Self; 4] = [Self::Json, Self::Csv, Self::Arrow, Self::Svg];

    /// The suffix of an address or a file.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Arrow | Self::ArrowStream => "arrow",
            Self::Svg => "svg",
        }
    }

    /// By the suffix of an address.
    pub(super) fn of_suffix(suffix: &str) -> Option<Self> {
        Self::BY_SUFFIX.into_iter().find(|form| form.suffix() == suffix)
    }

    /// The answer's `Content-Type`.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Arrow => "application/vnd.apache.arrow.file",
            Self::ArrowStream => "application/vnd.apache.arrow.stream",
            Self::Svg => "image/svg+xml",
        }
    }

    /// Without parameters.
    fn media_type(self) -> &'static str {
        self.content_type().split(';').next().unwrap_or_default()
    }

    /// The form that the `Accept` header prefers; `None` if it accepts none.
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<Range<'_>> = accept
            .flat_map(|value| value.split(','))
            .enumerate()
            .filter_map(|(place, range)| Range::parse(range, place))
            .collect();
        let liked = Self::ALL.into_iter().enumerate().filter_map(|(preference, form)| {
            // A range for the exact type overrides one for its kind, and that one overrides `*/*`.
            let range = ranges.iter().filter_map(|range| Some((range.precision(form.media_type())?, range)));
            let (precision, range) = range.max_by_key(|(precision, range)| (*precision, range.thousandths))?;
            // Among equals the more specific, then the one named first, then our order.
            let rank = (range.thousandths, precision, std::cmp::Reverse(range.place), std::cmp::Reverse(preference));
            (range.thousandths > 0).then_some((rank, form))
        });
        liked.max_by_key(|(rank, _)| *rank).map(|(_, form)| form)
    }

    /// The form for a request without a suffix: JSON without an `Accept` header.
    pub(super) fn wanted(headers: &HeaderMap) -> Option<Self> {
        let says_something =
            headers.get_all(header::ACCEPT).iter().any(|value| !value.as_bytes().trim_ascii().is_empty());
        if says_something { Self::accepted(headers) } else { Some(Self::Json) }
    }

    /// What there is, as a list.
    pub(super) fn all_listed() -> String {
        Self::ALL.map(Self::media_type).join(", ")
    }
}

/// One range of an `Accept` header.
#[derive(Debug)]
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// Its q value.
    thousandths: u16,
    place: usize,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str, place: usize) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut quality = 1.0;
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("q")
            {
                quality = value.trim().parse::<f64>().ok().filter(|quality| (0.0..=1.0).contains(quality))?;
            }
        }
        Some(Self { kind, subtype, thousandths: (quality * 1000.0).round() as u16, place })
    }

    /// 2 for the exact type, 1 for its kind, 0 for everything; `None` for another type.
    fn precision(&self, media_type: &str) -> Option<u8> {
        let (kind, subtype) = media_type.split_once('/')?;
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (wanted, "*") => wanted.eq_ignore_ascii_case(kind).then_some(1),
            (wanted, of) => (wanted.eq_ignore_ascii_case(kind) && of.eq_ignore_ascii_case(subtype)).then_some(2),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn wanted(accept: &str) -> Option<Form> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Form::wanted(&headers)
    }

    #[test]
    fn the_best_liked_form_wins() {
        for (accept, form) in [
            ("*/*", Some(Form::Json)),
            ("text/csv", Some(Form::Csv)),
            ("TEXT/CSV;header=present", Some(Form::Csv)),
            ("application/vnd.apache.arrow.stream", Some(Form::ArrowStream)),
            ("text/csv;q=0.5, application/json;q=0.4", Some(Form::Csv)),
            ("text/csv, application/json", Some(Form::Csv)),
            ("application/json;q=0, */*;q=0.1", Some(Form::Csv)),
            ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", Some(Form::Svg)),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(Form::Json)),
            ("application/*", Some(Form::Json)),
            ("text/*;q=0.2, image/*;q=0.3", Some(Form::Svg)),
            ("text/html", None),
            ("*/*;q=0", None),
            ("text/csv;q=x", None),
            ("nonsense", None),
            ("", Some(Form::Json)),
        ] {
            assert_eq!(wanted(accept), form, "{accept}");
        }
        assert_eq!(Form::wanted(&HeaderMap::new()), Some(Form::Json));
    }
}
