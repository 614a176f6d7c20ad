//! The form of a panel: its place, its radius, and the file's own parameters.

use maud::{Markup, html};

use super::cities::CITIES;
use super::ground::distance;
use super::link::{Area, Link, MAX_RADIUS_KM, own_params};
use tallgrass_view::SqlFile;

/// Radii that a click chooses, km.
const RADII_KM: [f64; 6] = [0.5, 1.0, 3.0, 10.0, 100.0, 1000.0];

/// The form of an open panel; `base` is where the panels of its file are, and there is no file while it is broken.
pub fn of_panel(base: &str, file: Option<&SqlFile>, link: &Link) -> Markup {
    let Area { lat, lon, radius_km } = link.area;
    html! {
        form #where action=(base) method="get" {
            label for="place" { "Place" }
            input #place name="place" value=(format!("{lat}, {lon}")) list="places" autocomplete="off" spellcheck="false"
                placeholder="40.4168, -3.7038, or a name" aria-describedby="place-error";
            label for="radius" { "Radius, km" }
            input #radius name="radius_km" value=(radius_km) inputmode="decimal" autocomplete="off";
            (values(file, Some(link)))
            button type="submit" { "Go" }
            @if link.own_group { input type="hidden" name="own_group" value="true"; }
            p #place-error role="alert" hidden {}
            input #slider type="range" min="-2" max=(MAX_RADIUS_KM.log10()) step="0.01" value=(radius_km.log10()) hidden
                aria-label="Radius";
            p.radii {
                @for km in RADII_KM {
                    @let mut other = link.clone();
                    @let () = other.area.radius_km = km;
                    a href=(href(base, &other)) data-radius=(km) aria-current=[(km.total_cmp(&radius_km).is_eq()).then_some("true")] {
                        (distance(km))
                    }
                }
            }
            (places())
        }
    }
}

/// The form below a refusal, from which another link can be made.
pub fn of_refusal(base: &str, file: Option<&SqlFile>) -> Markup {
    html! {
        form action=(base) method="get" {
            label for="place" { "Place" }
            input #place name="place" required placeholder="40.4168, -3.7038" list="places" autocomplete="off";
            label for="radius" { "Radius, km" }
            input #radius name="radius_km" inputmode="decimal";
            (values(file, None))
            button type="submit" { "Show" }
            (places())
        }
    }
}

/// The values of the file's own parameters, to change; of a broken file those of the link, to keep.
fn values(file: Option<&SqlFile>, link: Option<&Link>) -> Markup {
    let given = |name: &str| link.and_then(|link| link.values.get(name)).cloned();
    html! {
        @if let Some(file) = file.filter(|file| own_params(file).next().is_some()) {
            p.values {
                @for param in own_params(file) {
                    label {
                        (param.name) " "
                        input.value name=(param.name) autocomplete="off" spellcheck="false"
                            value=(given(&param.name).unwrap_or_else(|| param.text()))
                            inputmode=[param.data_type.is_numeric().then_some("decimal")];
                    }
                }
            }
        } @else {
            @for (name, value) in link.iter().flat_map(|link| &link.values) { input type="hidden" name=(name) value=(value); }
        }
    }
}

/// The address of a panel.
pub fn href(base: &str, link: &Link) -> String {
    format!("{base}?{}", link.query())
}

fn places() -> Markup {
    html! {
        datalist #places {
            @for (name, lat, lon) in CITIES { option value=(name) data-at=(format!("{lat},{lon}")) {} }
        }
    }
}
