//! Users who log in and off.
//!
//! ```json
//! {"id":7,"name":"Zoé Lefèvre","email":"zoe.lefevre@example.org","action":"login"}
//! ```
//!
//! The record's key is the id as decimal text. A logoff is the same object with `"action":"logoff"`, or a tombstone: a
//! record without a value.
//!
//! # Contract
//! - [`people`] never changes: user 7 is the same person whatever the event seed and however many users there are.
//! - In one stream a user's events alternate, login first: everyone is offline when it starts. Each event picks a user
//!   evenly and turns them over, so about half of all users end up online.
//! - Streams are independent. With two of them a user may log in twice in a row, like a person with two phones; a table
//!   keyed by the user holds the newest record. A stream that is restarted on an old topic likewise logs in people who are
//!   still online in the topic.

use std::collections::HashMap;
use std::num::NonZeroU32;

use fake::Fake;
use fake::faker::name::raw::{FirstName, LastName};
use fake::locales::{DE_DE, Data, EN, FR_FR, IT_IT, NL_NL, PT_BR};
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::{Dice, Purpose, dice};

/// One of the people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct User {
    /// Counted from 1.
    pub id: u32,
    /// First and last name, with their accents.
    pub name: String,
    /// ASCII, derived from the name; no two users share one.
    pub email: String,
}

/// The people's own seed. Another number means other people, so it never changes.
const PEOPLE_SEED: u64 = 0x7461_6c6c;

/// Reserved for documentation (RFC 2606): these emails can never be received.
const DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];

/// The people, from user 1 on: always the same ones in the same order.
pub(crate) fn people() -> impl Iterator<Item = User> {
    let mut dice = dice(PEOPLE_SEED, Purpose::People);
    let mut namesakes: HashMap<String, u32> = HashMap::new();
    (1..=u32::MAX).map(move |id| {
        let (first, last) = match dice.random_range(0..10) {
            0..4 => name(EN, &mut dice),
            4 | 5 => name(FR_FR, &mut dice),
            6 => name(DE_DE, &mut dice),
            7 => name(IT_IT, &mut dice),
            8 => name(NL_NL, &mut dice),
            _ => name(PT_BR, &mut dice),
        };
        let domain = DOMAINS.choose(&mut dice).unwrap_or(&DOMAINS[0]);
        let mailbox = format!("{}.{}", ascii(first), ascii(last));
        // A mailbox has no digits by itself, so a number after it cannot make it equal to another one.
        let seen = namesakes.entry(mailbox.clone()).or_default();
        *seen += 1;
        let email = if *seen == 1 { format!("{mailbox}@{domain}") } else { format!("{mailbox}{seen}@{domain}") };
        User { id, name: format!("{first} {last}"), email }
    })
}

fn name<L: Data + Copy>(locale: L, dice: &mut Dice) -> (&'static str, &'static str) {
    let (first, last): (&str, &str) = (FirstName(locale).fake_with_rng(dice), LastName(locale).fake_with_rng(dice));
    // One of the Dutch first names has a comma after it, an Italian last name a tab.
    let stray = |letter: char| letter == ',' || letter.is_whitespace();
    (first.trim_matches(stray), last.trim_matches(stray))
}

/// Lower-case ASCII letters and hyphens: accents go, ligatures are spelled out, all else is left out.
fn ascii(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for letter in name.chars().flat_map(char::to_lowercase) {
        plain.push_str(match letter {
            'a'..='z' | '-' => {
                plain.push(letter);
                continue;
            }
            'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
            'æ' => "ae",
            'ç' | 'ć' | 'č' => "c",
            'ď' | 'đ' | 'ð' => "d",
            'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
            'ğ' => "g",
            'ì'..='ï' | 'ī' | 'ı' => "i",
            'ł' => "l",
            'ñ' | 'ń' | 'ň' => "n",
            'ò'..='ö' | 'ø' | 'ō' | 'ő' => "o",
            'œ' => "oe",
            'ř' => "r",
            'ś' | 'š' | 'ş' | 'ș' => "s",
            'ß' => "ss",
            'ť' | 'ţ' | 'ț' => "t",
            'þ' => "th",
            'ù'..='ü' | 'ū' | 'ů' | 'ű' => "u",
            'ý' | 'ÿ' => "y",
            'ź' | 'ż' | 'ž' => "z",
            _ => continue,
        });
    }
    plain
}

/// The form of a logoff record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logoff {
    /// No value.
    Tombstone,
    /// The whole user with `"action":"logoff"`.
    Action,
}

/// What a user does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Was offline, is online.
    Login,
    /// Was online, is offline.
    Logoff,
}

/// One record, valid until the next one is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserEvent<'a> {
    /// The user's id as decimal text.
    pub key: &'a [u8],
    /// JSON; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The action, for callers that do not read the value.
    pub action: Action,
}

/// A seeded, endless stream of logins and logoffs.
#[derive(Debug, Clone)]
pub struct UserEvents {
    /// The users' JSON up to and including `"action":"`, one after the other.
    rendered: Vec<u8>,
    /// Where each user's JSON ends in `rendered`.
    ends: Vec<usize>,
    online: Vec<bool>,
    logoff: Logoff,
    dice: Dice,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl UserEvents {
    /// Events of the first `users` people; same seed, same events, and the choice of `logoff` does not change who does
    /// what when.
    pub fn new(users: NonZeroU32, logoff: Logoff, seed: u64) -> Self {
        let (mut rendered, mut ends) = (Vec::new(), Vec::new());
        for user in people().take(users.get() as usize) {
            // A struct of an integer and two strings always has a JSON form, and a `Vec` takes any bytes.
            let written = serde_json::to_writer(&mut rendered, &user);
            debug_assert!(written.is_ok());
            rendered.pop(); // the closing brace
            rendered.extend_from_slice(b",\"action\":\"");
            ends.push(rendered.len());
        }
        let online = vec![false; ends.len()];
        let dice = dice(seed, Purpose::UserEvents);
        Self { rendered, ends, online, logoff, dice, key: Vec::new(), value: Vec::new() }
    }

    /// Makes the next event happen.
    pub fn next_event(&mut self) -> UserEvent<'_> {
        let user = self.dice.random_range(0..self.ends.len());
        self.online[user] = !self.online[user];
        let action = if self.online[user] { Action::Login } else { Action::Logoff };
        self.key.clear();
        self.key.extend_from_slice((user + 1).to_string().as_bytes());
        self.value.clear();
        let start = if user == 0 { 0 } else { self.ends[user - 1] };
        self.value.extend_from_slice(&self.rendered[start..self.ends[user]]);
        self.value.extend_from_slice(match action {
            Action::Login => b"login\"}",
            Action::Logoff => b"logoff\"}",
        });
        let tombstone = action == Action::Logoff && self.logoff == Logoff::Tombstone;
        UserEvent { key: &self.key, value: (!tombstone).then_some(&self.value), action }
    }

    /// How many users are online in this stream.
    pub fn online(&self) -> usize {
        self.online.iter().filter(|online| **online).count()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn events(users: u32, logoff: Logoff, seed: u64, count: usize) -> Vec<(String, Option<String>, Action)> {
        let mut events = UserEvents::new(NonZeroU32::new(users).unwrap(), logoff, seed);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (0..count)
            .map(|_| {
                let event = events.next_event();
                (text(event.key), event.value.map(text), event.action)
            })
            .collect()
    }

    #[test]
    fn the_first_people_are_who_they_always_were() {
        let people: Vec<_> =
            people().take(9).map(|user| format!("{} {} <{}>", user.id, user.name, user.email)).collect();
        insta::assert_snapshot!(people.join("\n"), @r"
        1 Koen Peeters <koen.peeters@example.net>
        2 Destiney Macejkovic <destiney.macejkovic@example.com>
        3 Werner Lange <werner.lange@example.com>
        4 Herbert Pohl <herbert.pohl@example.net>
        5 Evan Koelpin <evan.koelpin@example.com>
        6 Heloise Neves <heloise.neves@example.net>
        7 Maria Sauer <maria.sauer@example.net>
        8 Germaine Lind <germaine.lind@example.net>
        9 Júlia Romero <julia.romero@example.org>
        ");
    }

    #[test]
    fn emails_are_ascii_derived_and_unique() {
        let mut emails = HashSet::new();
        for user in people().take(50_000) {
            let (mailbox, domain) = user.email.split_once('@').unwrap();
            assert!(DOMAINS.contains(&domain));
            let (first, last) = mailbox.split_once('.').unwrap();
            for part in [first, last.trim_end_matches(|digit: char| digit.is_ascii_digit())] {
                assert!(
                    part.len() > 1 && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
                    "{user:?}"
                );
            }
            let stray = user.name.trim() != user.name || user.name.contains(['\t', ',']) || user.name.contains("  ");
            assert!(!stray, "{user:?}");
            let letters = user.name.chars().filter(|letter| letter.is_alphabetic()).count();
            let kept = mailbox.chars().filter(|letter| letter.is_alphabetic()).count();
            assert!(kept >= letters, "a letter was lost: {user:?}");
            assert!(emails.insert(user.email), "an email given twice");
        }
        assert_eq!(ascii("Jean-Noël d'Œuvre Łukasz Strauß"), "jean-noeldoeuvrelukaszstrauss");
    }

    #[test]
    fn same_seed_same_events_and_the_first_ones_are_known() {
        assert_eq!(events(1000, Logoff::Tombstone, 7, 500), events(1000, Logoff::Tombstone, 7, 500));
        assert_ne!(events(1000, Logoff::Tombstone, 7, 500), events(1000, Logoff::Tombstone, 8, 500));
        let first: Vec<_> = events(2, Logoff::Action, 1, 3)
            .into_iter()
            .map(|(key, value, _)| format!("{key} {}", value.unwrap()))
            .collect();
        insta::assert_snapshot!(first.join("\n"), @r#"
        2 {"id":2,"name":"Destiney Macejkovic","email":"destiney.macejkovic@example.com","action":"login"}
        2 {"id":2,"name":"Destiney Macejkovic","email":"destiney.macejkovic@example.com","action":"logoff"}
        2 {"id":2,"name":"Destiney Macejkovic","email":"destiney.macejkovic@example.com","action":"login"}
        "#);
    }

    #[test]
    fn a_user_logs_in_when_off_and_off_when_in_under_either_encoding() {
        let tombstones = events(20, Logoff::Tombstone, 3, 2000);
        let actions = events(20, Logoff::Action, 3, 2000);
        let mut online: HashMap<String, bool> = HashMap::new();
        for ((key, value, action), (same_key, whole, same_action)) in tombstones.into_iter().zip(actions) {
            assert_eq!((&key, action), (&same_key, same_action), "the encoding does not change who does what");
            let user: serde_json::Value = serde_json::from_str(&whole.unwrap()).unwrap();
            assert_eq!(user["id"].to_string(), key);
            assert!(user["name"].is_string() && user["email"].is_string());
            let was_online = online.insert(key, action == Action::Login).unwrap_or(false);
            assert_eq!(was_online, action == Action::Logoff, "events of one user alternate");
            assert_eq!(user["action"], if action == Action::Login { "login" } else { "logoff" });
            assert_eq!(value.is_none(), action == Action::Logoff);
        }
        assert_eq!(online.len(), 20, "everyone takes part");
    }

    #[test]
    fn about_half_of_the_users_end_up_online() {
        let mut events = UserEvents::new(NonZeroU32::new(1000).unwrap(), Logoff::Tombstone, 5);
        assert_eq!(events.online(), 0);
        for _ in 0..20_000 {
            events.next_event();
        }
        assert!((430..570).contains(&events.online()), "{}", events.online());
    }
}
